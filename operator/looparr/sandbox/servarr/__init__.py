"""A stand-in for Radarr (Sonarr and Lidarr later), for the demo and the tests.

It drives a real qBittorrent as its download client and decides imports and failures from what it sees there. Tests set
its world (movies, releases, faults), never its answers: otherwise they would pass a tool that destroys data.

    arrtype      what differs between the Arrs, as data
    state        what it remembers
    titles       what a release name says           metainfo     what a .torrent or magnet says
    decisions    how a torrent becomes a row        monitor      tracked downloads and the queue
    imports      into the library, on disk          failures     history, blocklist, redownload
    search       searches and grabs                 commands     the command queue
    arr          all of it under one lock           qbittorrent  its hand on the client
    api, resources, paging, wire                    the HTTP API as the Arr has it
    world, control                                  what tests may change, in Python and under /__world
    faults, app, server                             what can go wrong, and the web server around it
"""

from looparr.sandbox.servarr.faults import Fault, Faults, FaultType
from looparr.sandbox.servarr.qbittorrent import ClientUnavailable, GrabRefused
from looparr.sandbox.servarr.server import ServarrServer, serve
from looparr.sandbox.servarr.state import BlocklistEntry, Config, HistoryEvent, Movie, Release, Tracked
from looparr.sandbox.servarr.world import World

__all__ = [
    "BlocklistEntry",
    "ClientUnavailable",
    "Config",
    "Fault",
    "FaultType",
    "Faults",
    "GrabRefused",
    "HistoryEvent",
    "Movie",
    "Release",
    "ServarrServer",
    "Tracked",
    "World",
    "serve",
]
