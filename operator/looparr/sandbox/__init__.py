"""A throw-away Kubernetes and real parts around it, for `looparr demo`, for authors of loops and for the tests.

No Docker, no cluster, no root: the programs are found or built (`binaries`), one supervisor owns every process
(`supervisor`), and one folder holds all that a sandbox made, so that nothing of it is left afterwards.
"""
