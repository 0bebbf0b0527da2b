"""List the specimen files below a folder: names and sizes alone, so that 100,000 take about a second.

A file may be one specimen or a stack of them, which only its header says. Opening every file of a large folder
takes longer than all the rest, and files of one folder and one size are of one kind: so of many, some are asked.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from contextlib import suppress
from pathlib import Path

from napari_ctc.data.formats import is_specimen_file
from napari_ctc.data.specimens import Layout, describe
from napari_ctc.errors import SpecimenError

ASKED = 16  # files of one size that are opened before the others are believed to be like them


def list_folder(folder: Path) -> dict[str, int]:
    """List every specimen file below a folder, hidden ones left out.

    Returns
    -------
    dict
        The files' names relative to the folder, with forward slashes, in natural order ("2" before "10"), and
        their sizes in bytes; -1 for one that the system does not tell of.
    """
    found: list[tuple[str, int]] = []
    todo = [(str(folder), "")]
    while todo:
        place, prefix = todo.pop()
        with suppress(OSError), os.scandir(place) as entries:  # a folder that may not be opened is passed over
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append((entry.path, f"{prefix}{entry.name}/"))
                elif is_specimen_file(entry.name):
                    found.append((prefix + entry.name, _size(entry)))
    return dict(sorted(found, key=_natural))


def keys_of_files(
    files: dict[str, int], folder: Path, layout: Layout
) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Give the keys of all specimens in files, the name of the file that owns each, and notes.

    A file that cannot be read keeps its place under its name: whoever reads it is told why.

    Parameters
    ----------
    files : dict
        Names relative to the folder, or whole paths, with their sizes; -1 where it is not known.
    folder : Path
    layout : Layout

    Raises
    ------
    SpecimenError
        If none of the files can be read.
    """
    alike = _alike(files, folder, layout)
    keys: list[str] = []
    owners: list[str] = []
    broken: list[str] = []
    for name, size in files.items():
        if size in alike:
            keys.append(name)
            owners.append(name)
            continue
        try:
            count = describe(folder / name, layout).count
        except SpecimenError as problem:
            broken.append(str(problem))
            count = None
        found = [name] if count is None else [f"{name}#{index}" for index in range(count)]
        keys += found
        owners += [name] * len(found)
    if len(broken) == len(files):
        more = f" So it is with all {len(files)} files." if len(files) > 1 else ""
        raise SpecimenError(broken[0] + more)
    notes = (f"{len(broken)} of {len(files)} files cannot be read. The first: {broken[0]}",) if broken else ()
    return keys, owners, notes


def _alike(files: dict[str, int], folder: Path, layout: Layout) -> set[int]:
    """Find the sizes of which many files are there, and those that were asked are single specimens."""
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, size in files.items():
        by_size[size].append(name)
    alike = set()
    for size, names in by_size.items():
        if size < 0 or len(names) <= 2 * ASKED:
            continue
        try:
            some = {describe(folder / name, layout) for name in names[:: len(names) // ASKED]}
        except SpecimenError:
            continue  # then each is asked
        if len(some) == 1 and next(iter(some)).count is None:
            alike.add(size)
    return alike


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size
    except OSError:  # such as a link to nowhere
        return -1


def _natural(found: tuple[str, int]) -> str:
    return re.sub(r"\d+", _padded, found[0])


def _padded(digits: re.Match[str]) -> str:
    return digits[0].zfill(20)
