"""Imported first by a process, for what it does: while modules are loaded nothing is garbage, so Python's collector rests.

It would look at everything that has been loaded, again and again, and once more at the end: a quarter of what a short process costs.
Afterwards what is there stays for good, and is not looked at any more.
"""

import gc

gc.disable()


def over() -> None:
    """Everything is loaded."""
    gc.freeze()
    gc.enable()
