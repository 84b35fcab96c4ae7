"""qBittorrent: `client` calls it, `wire` names what it says, `mirror` keeps one up-to-date copy of its torrents.

One client program is looked after by several objects, and it answers slowly at many torrents; so all of them share one
session and one list, which is kept current by deltas.
"""
