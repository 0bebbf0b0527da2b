"""The job that tells which files are no longer what they were when they were read.

Who read them, and what follows from a change, is the business of `background` and `measuring`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from napari_ctc.data.files import facts_if_there
from napari_ctc.events import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from napari_ctc.events import Job

    Facts = tuple[NDArray[np.int64], NDArray[np.object_]]  # sizes and times of modification, a row for each


@dataclass(frozen=True, kw_only=True)
class FilesChanged(Event):
    """Specimens whose files are others now: their places among those looked at, and what the files are now."""

    rows: tuple[int, ...]
    sizes: tuple[int, ...]
    modified: tuple[str, ...]


def look_for_changes(paths: Callable[[], Sequence[str]], known: Sequence[Facts]) -> Job[None]:
    """Compare files with what they were when they were read.

    Parameters
    ----------
    paths : callable
        Gives the file of each of n specimens.
    known : sequence of pairs of (n,) arrays
        For each reader, bytes and time of modification (UTC, ISO 8601) of each file; no time where it read none.

    Yields
    ------
    FilesChanged
        At most every 200 ms, and `Event` where nothing changed.
    """
    yield Event()
    names = paths()
    total = len(names)
    before = [(sizes.tolist(), modified.tolist()) for sizes, modified in known]
    seen: dict[str, tuple[int, str]] = {}
    changed: list[tuple[int, int, str]] = []
    last = time.monotonic()
    yield Event(total=total)
    for row, name in enumerate(names):
        if name not in seen:
            seen[name] = facts_if_there(Path(name))
        now = seen[name]
        if any(modified[row] and (sizes[row], modified[row]) != now for sizes, modified in before):
            changed.append((row, *now))
        if time.monotonic() - last > 0.2:
            last = time.monotonic()
            yield _changed(changed, row, total) if changed else Event(done=row, total=total)
            changed = []
    if changed:
        yield _changed(changed, total, total)


def _changed(changed: list[tuple[int, int, str]], done: int, total: int) -> FilesChanged:
    rows, sizes, modified = zip(*changed, strict=True)
    return FilesChanged(rows=rows, sizes=sizes, modified=modified, done=done, total=total)
