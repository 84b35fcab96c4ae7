"""One turn of a loop, whatever the loop is: due, slot, run with time-out, finalize, write.

Knows no domain, no Kopf and no cluster: the operator's timers and the library's manager both drive `engine.turn`.
"""
