"""Kopf glue: watch events poke loops, timers carry turns, the operator starts and stops both.

Beside it only the census, which finds by a list of its own what no watch event told.

An exception that leaves a Kopf timer, or a status that Kopf itself fails to patch, ends that loop for ever without a
word: nothing here raises into Kopf, and nothing is ever put into Kopf's patch.

Kopf imports `kubernetes` and `pykube` wherever they are installed, to recognise their models in what handlers return.
Ours return nothing: the operator's process goes without them and their 20 MiB.
"""

from looparr.runtime.lean import without

with without("kubernetes", "pykube"):
    import kopf as kopf
