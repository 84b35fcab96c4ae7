"""The process: its one event loop, its services, tasks, signals, threads, logs and metrics.

Nothing here knows Kubernetes, Kopf or torrents. Only this room makes event loops and touches signals, so that there is
one place to read when a process does not start, does not stop, or stops with the wrong exit code.
"""
