"""Kopf glue only: watch events poke loops, timers carry turns, the operator starts and stops both.

An exception that leaves a Kopf timer, or a status that Kopf itself fails to patch, ends that loop for ever without a
word: nothing here raises into Kopf, and nothing is ever put into Kopf's patch.

Kopf imports `kubernetes` and `pykube` wherever they are installed, to recognise their models in what handlers return.
Ours return nothing: the operator's process goes without them and their 20 MiB.
"""

from looparr.runtime.lean import without

with without("kubernetes", "pykube"):
    import kopf as kopf
