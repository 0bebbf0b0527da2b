"""What a run has seen of the specimens that are to judge it: before it began, or in training under another name.

A network does better on pixels that it was trained on, so figures on them promise too much. They are told by their
digests, whatever their files are called. Who is held out instead is decided in `data.splits`.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import closing

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.digests import read_digests
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import Job, Said, Skipped, StepDone


def seen_before(manifest: Manifest, trained: Collection[str]) -> Job[NDArray[np.bool_]]:
    """Read the specimens that may be trained on, to tell which of them a classifier was trained on already.

    Parameters
    ----------
    manifest : Manifest
    trained : collection of str
        The classifier's `training_digests`.

    Returns
    -------
    (rows,) of bool
        Of the rows of `manifest`. What cannot be read was not seen; it is told when the run itself reads it.
    """
    table = manifest.table
    rows = np.flatnonzero(((table["label"] != "") & (table["split"] != "test")).to_numpy())
    yield Said(text=f"Reading {len(rows):,} specimens, to tell which the classifier to start from has seen.")
    with closing(read_digests(manifest.rows(rows))) as job:
        while True:
            try:
                event = next(job)
            except StopIteration as end:
                digests = end.value
                break
            if not isinstance(event, Skipped):
                yield StepDone(epoch=0, epochs=0)
    seen = np.zeros(len(manifest), dtype=bool)
    known = frozenset(trained)
    seen[rows] = [digest in known for digest in digests]
    if number := int(seen.sum()):
        yield Said(
            text=f"It was trained on {number:,} of them. Those to validate with are chosen among the others, "
            f"wherever there are any."
        )
    return seen


def copies(training: Collection[str], held: Collection[str]) -> tuple[NDArray[np.bool_], str]:
    """Tell which validation specimens to leave out, since the same pixels are trained on, and say so.

    Parameters
    ----------
    training, held : collection of str
        The digests of both sides.

    Returns
    -------
    (held,) of bool
        Which to leave out: none where nothing else would be left.
    str
        A sentence for the person, empty where no pixels are on both sides.
    """
    known = frozenset(training)
    same = np.array([digest in known for digest in held], dtype=bool)
    number = int(same.sum())
    if number == len(same):
        return np.zeros_like(same), (
            f"All {number:,} validation specimens have the same pixels as training specimens, so their scores "
            f"promise too much. Label others."
        )
    told = (
        f"Left out of validation, since they would promise too much: {number:,} of {len(same):,} specimens, which "
        f"have the same pixels as training specimens."
    )
    return same, told if number else ""


def promises_too_much(trained: Collection[str], held: Collection[str]) -> list[str]:
    """Say how many validation specimens the classifier to start from was trained on; an empty list if none.

    Parameters
    ----------
    trained : collection of str
        The classifier's `training_digests`.
    held : collection of str
        The digests of the validation specimens.
    """
    known = frozenset(trained)
    number = sum(digest in known for digest in held)
    if not number:
        return []
    were = "was" if number == 1 else "were"
    return [
        f"{number:,} of the {len(held):,} validation specimens {were} trained on by the classifier that this one "
        f"starts from, so its scores promise too much. Label some that it has not seen."
    ]
