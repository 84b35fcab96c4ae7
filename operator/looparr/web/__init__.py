"""What the process shows over HTTP: probes and metrics for Kubernetes and Prometheus."""
