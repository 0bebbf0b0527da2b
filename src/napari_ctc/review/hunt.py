"""Which class is hunted where nobody named one."""

from __future__ import annotations

from collections.abc import Mapping

from napari_ctc.data.history import History

SURE_FROM = 10
"""With so many labels, the class with the fewest of them is taken for the rare one for good."""


def hunted_class(history: History, counts: Mapping[str, int]) -> str:
    """Give the class to hunt: the one that had the fewest labels when the hunt began.

    It stays the same from the first specimen that was shown as likely rare, once `SURE_FROM` labels were given:
    the hunt finds so many of a rare class that another one has fewer labels before long. Until then it is the one
    with the fewest now. The history alone says it, so it is the same tomorrow, also where a class was
    renamed or merged.

    Parameters
    ----------
    history : History
    counts : mapping of str to int
        How many labels each class has now, in the order of their keys.
    """
    then = dict(counts)
    steps = history.steps_as_named_now()
    for step in reversed(steps):
        for change in step.changes:
            _move(then, change.now.name, change.was.name)
    for step in steps:
        if step.pick.how == "rare" and sum(then.values()) >= SURE_FROM:
            return fewest(then)
        for change in step.changes:
            _move(then, change.was.name, change.now.name)
    return fewest(counts)


def fewest(counts: Mapping[str, int]) -> str:
    """Give the class with the fewest labels, and the last of equals; empty where there is no class."""
    return min(reversed(list(counts)), key=counts.__getitem__, default="")


def _move(counts: dict[str, int], old: str, new: str) -> None:
    if old in counts:
        counts[old] -= 1
    if new in counts:
        counts[new] += 1
