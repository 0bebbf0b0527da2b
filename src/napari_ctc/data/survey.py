"""Look at the headers of a set: how large a view must be that shows all its specimens, and of which dtype."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from napari_ctc.data.listing import contents_by_size, sizes_of
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import describe, split_key
from napari_ctc.errors import CTCError, SpecimenError

MOST_LOOKED_AT = 20_000
"""Files that the size of the view is found from; of more files, this many spread over the set."""

_ASKED_OF_A_SIZE = 256  # of many files with as many bytes, this many say what all are


@dataclass(frozen=True)
class View:
    """How large the view of a set must be, the dtype that holds its values, and what is worth telling of that."""

    height: int
    width: int
    dtype: np.dtype[Any]
    notes: tuple[str, ...]


def survey(manifest: Manifest) -> View:
    """Read headers: how large the view must be, and of which dtype.

    Raises
    ------
    SpecimenError
        If no file of the manifest can be read.
    """
    names = list(dict.fromkeys(split_key(key)[0] for key in manifest.keys))
    chosen = sizes_of([names[place] for place in spread(len(names), MOST_LOOKED_AT)], manifest.root)
    alike = contents_by_size(chosen, manifest.root, manifest.layout, _ASKED_OF_A_SIZE)
    seen = set(alike.values())
    problems: list[CTCError] = []
    for name, size in chosen.items():
        if size in alike:
            continue
        try:
            seen.add(describe(manifest.root / name, manifest.layout))
        except SpecimenError as problem:
            problems.append(problem)
    if not seen:
        raise refusal(problems)
    height, width = max(one.height for one in seen), max(one.width for one in seen)
    dtype = np.result_type(*{one.dtype for one in seen})
    if dtype == np.float16:
        dtype = np.dtype(np.float32)  # graphics cards take no half-precision textures from napari
    sides = {(one.height, one.width) for one in seen}
    notes: tuple[str, ...] = ()
    if len(names) > len(chosen):
        notes = (
            f"The size of the view comes from {len(chosen):,} of {len(names):,} files; "
            "larger ones are cropped in it.",
        )
    if len(sides) > 1:
        smallest = min(sides, key=lambda side: side[0] * side[1])
        notes = (
            *notes,
            f"The specimens differ in size, from {smallest[0]} x {smallest[1]} up to {height} x {width} pixels. "
            f"For the view only, they are centred, and the smaller ones filled up with their background.",
        )
    return View(height, width, dtype, notes)


def refusal(problems: Sequence[CTCError]) -> SpecimenError:
    """Say the first of the problems, and whether it is so with others."""
    more = f" So it is with all {len(problems):,} that were tried." if len(problems) > 1 else ""
    return SpecimenError(f"{problems[0]}{more}")


def spread(count: int, most: int) -> list[int]:
    """Pick up to `most` of `count` places, spread evenly and with both ends."""
    if count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most)]
