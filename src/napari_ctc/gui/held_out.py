"""Finding the specimens behind a count of a confusion matrix among those that are open. No Qt here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_ctc.data.digests import read_digests
from napari_ctc.events import Event, Job
from napari_ctc.gui.session_parts import absolute_keys

if TYPE_CHECKING:
    from napari_ctc.data.calls import Calls
    from napari_ctc.data.manifest import Manifest


@dataclass(frozen=True)
class Cell:
    """One count of a confusion matrix, with what stands behind it.

    Parameters
    ----------
    said, called : str
        The class by a person, and by the classifier.
    calls : Calls
        All that was held out.
    """

    said: str
    called: str
    calls: Calls


@dataclass(frozen=True)
class Found:
    """Where the specimens of a cell are.

    Parameters
    ----------
    ids : frozenset of int
        Those that are open and still what was judged, by their ids in the window.
    missing : int
        How many of the cell are not open.
    changed : int
        How many are open, and hold other pixels than those that were judged.
    unreadable : int
        How many are open and cannot be read.
    not_open : Manifest
        Of all that was held out, what is not open.
    """

    ids: frozenset[int]
    missing: int
    changed: int
    unreadable: int
    not_open: Manifest


def find(cell: Cell, opened: Sequence[tuple[Manifest, Sequence[int]]]) -> Job[Found]:
    """Look for the specimens of a cell: by their keys, and by the digest of what the files hold now.

    Parameters
    ----------
    cell : Cell
    opened : sequence of (Manifest, ids)
        What is open, and the id of each specimen.
    """
    yield Event()
    ids_of: dict[str, list[int]] = {}
    for manifest, ids in opened:
        for key, identity in zip(absolute_keys(manifest), ids, strict=True):
            ids_of.setdefault(key, []).append(identity)
    every = cell.calls.manifest
    not_open = [row for row, key in enumerate(absolute_keys(every)) if key not in ids_of]
    wanted = cell.calls.of(cell.said, cell.called)
    keys = absolute_keys(wanted.manifest)
    here = [row for row, key in enumerate(keys) if key in ids_of]
    digests = yield from read_digests(wanted.manifest.rows(here))
    then = [wanted.digests[row] for row in here]
    same = [row for row, now, before in zip(here, digests, then, strict=True) if now == before]
    unreadable = digests.count("")
    return Found(
        frozenset(identity for row in same for identity in ids_of[keys[row]]),
        missing=len(wanted) - len(here),
        changed=len(here) - len(same) - unreadable,
        unreadable=unreadable,
        not_open=every.rows(np.array(not_open, np.intp)),
    )
