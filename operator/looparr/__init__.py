"""Looparr turns sleep-and-check loops into Kubernetes resources: ArrInstance and BackgroundLoop."""

__version__ = "0.1.0"
