"""The envelope that both kinds share: names, durations, quantities, conditions, common spec and status.

Pure data. Nothing here knows Kubernetes clients, loops or torrents; everything above builds on it.
"""
