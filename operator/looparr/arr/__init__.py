"""ArrInstance: the download loop of one Radarr (Sonarr, Lidarr, ...) with its qBittorrent.

One turn is six phases, a module each, and data flows one way through them:

    fetch     what do client and Arr say now?                  effects: reads
    classify  whose is each torrent, and which state is it in? pure
    health    which rules does it break, for how long?         pure
    act       plan.py decides, act.py carries out and verifies effects: writes
    record    store, status, Events                            effects: own memory
    (sleep)   is the engine's: `engine.due`

Beside them: `spec` and `status` (the contract), `states` (the table), `rules`, `gates` and `limits` (what protects
people's data), `intents` (what was begun and how far it got), `history` (whose torrent it is), `memory` (what
outlives a turn). "Why was this torrent removed?" is answered by plan.py, and by `looparr why`.
"""
