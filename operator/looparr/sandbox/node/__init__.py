"""Sandbox level `node`: a kubelet with containerd in namespaces of its own, so that real pods run without Docker."""
