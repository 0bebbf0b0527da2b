"""What is still to be labelled before a classifier can be trained and judged, in words. No Qt here.

The numbers are those of `data.splits`, which deals the specimens when training begins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from napari_ctc.data.splits import enough_for
from napari_ctc.settings import TrainSettings

HELD_OUT = 2  # of each class, for a recall that is more than yes or no
ENOUGH = enough_for(HELD_OUT, TrainSettings.model_fields["validation_fraction"].default)


def needed(names: Sequence[str], counts: Mapping[str, int], sources: Mapping[str, Collection[str]]) -> str:
    """Say what is still to be labelled; empty if enough is.

    Parameters
    ----------
    names : sequence of str
        The classes in the order of their keys.
    counts : mapping of str to int
        Labelled specimens of each.
    sources : mapping of str to collection of str
        The slides, patients or runs that the labelled specimens of a class are from; "" where it is not known.
    """
    if len(names) < 2:
        return "Name two classes or more with +." if not names else "Name another class with +."
    fewest = min(names, key=lambda name: counts[name])
    missing = ENOUGH - counts[fewest]
    if missing > 0:
        return f"{missing} more of class {names.index(fewest) + 1} before training can hold two out."
    of = {name: set(sources.get(name, ())) for name in names}
    known = set().union(*of.values()) - {""}
    if len(known) < 2:  # no source is held out whole
        return ""
    alone = [name for name in names if len(of[name]) == 1 and "" not in of[name]]
    if not alone:
        return ""
    only = next(iter(of[alone[0]]))
    return (
        f"Class {names.index(alone[0]) + 1} of another source than {only}, too, before training can hold any out: "
        f"a source is held out whole."
    )
