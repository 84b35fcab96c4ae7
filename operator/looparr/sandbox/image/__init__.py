"""Container images without a registry, and, where there is no Docker engine, without Docker.

builder    any Dockerfile to an archive, unless nothing of what goes into it has changed
engines    a Docker engine that answers, else buildah
bootstrap  the base image, a small Debian with Python, from the machine's own mirror
archives   images as one file, written in plain Python: the pause image, the base image
context    what `.dockerignore` leaves of a folder
reach      how this machine reaches its packages, handed to a build without a trace in the image
confined   programs that mount: in namespaces of their own, which end with us
system     what has to be installed for all this
"""

from looparr.sandbox.image.archives import PAUSE_TAG, archive, pause_archive
from looparr.sandbox.image.bootstrap import base
from looparr.sandbox.image.builder import build
from looparr.sandbox.image.system import find

__all__ = ["PAUSE_TAG", "archive", "base", "build", "find", "pause_archive"]
