"""Kopf glue only: watch events poke loops, timers carry turns, the operator starts and stops both.

An exception that leaves a Kopf timer, or a status that Kopf itself fails to patch, ends that loop for ever without a
word: nothing here raises into Kopf, and nothing is ever put into Kopf's patch.

Kopf imports `kubernetes` and `pykube` wherever they are installed, to recognise their models in what handlers return.
Ours return nothing: the operator's process goes without them and their 20 MiB.
"""

import sys

_UNUSED = [name for name in ("kubernetes", "pykube") if name not in sys.modules]
for _name in _UNUSED:
    sys.modules[_name] = None  # type: ignore[assignment]  # so an import fails as if it were not installed
try:
    import kopf as kopf
finally:
    for _name in _UNUSED:
        del sys.modules[_name]
