"""List the specimen files below a folder: names and sizes alone, so that 100,000 take about a second.

A file may be one specimen or a stack of them, which only its header says. Opening every file of a large folder
takes longer than all the rest, and files of one folder and one size are of one kind: so of many, some are asked.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from napari_ctc.data.formats import is_specimen_file
from napari_ctc.data.specimens import Contents, Layout, describe
from napari_ctc.errors import SpecimenError

_AS_ZERO = str.maketrans("123456789", "000000000")

ASKED = 16  # files of one size that are opened before the others are believed to be like them


def list_folder(folder: Path) -> dict[str, int]:
    """List every specimen file below a folder, hidden ones left out, and what is no file, such as a pipe.

    Returns
    -------
    dict
        The files' names relative to the folder, with forward slashes, in natural order ("2" before "10"), and
        their sizes in bytes; -1 for one that the system does not tell of.
    """
    found: list[tuple[str, str, int]] = []  # what it is sorted by, name, size
    todo = [(str(folder), "")]
    while todo:
        place, prefix = todo.pop()
        names: list[str] = []
        sizes: list[int] = []
        folders = 0
        with suppress(OSError), os.scandir(place) as entries:  # a folder that may not be opened is passed over
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    todo.append((entry.path, f"{prefix}{name}/"))
                    folders += 1
                elif is_specimen_file(name) and (entry.is_file(follow_symlinks=False) or entry.is_symlink()):
                    names.append(name)
                    try:
                        sizes.append(entry.stat().st_size)
                    except OSError:  # such as a link to nowhere
                        sizes.append(-1)
        # Padding each number takes longer than all the rest. Where the names of a folder are all built alike, they
        # are in natural order by themselves.
        keys = names if not folders and _built_alike(names) else map(_natural, names)
        before = _natural(prefix)
        found.extend(
            (before + key, prefix + name, size) for key, name, size in zip(keys, names, sizes, strict=True)
        )
    found.sort()
    return {name: size for _, name, size in found}


def _built_alike(names: list[str]) -> bool:
    """Tell whether names differ in digits only, each at its place; one by one takes its time."""
    return len(set("/".join(names).translate(_AS_ZERO).split("/"))) == 1


def sizes_of(names: Iterable[str], folder: Path) -> dict[str, int]:
    """Give the sizes in bytes of files named relative to a folder, or by whole paths; -1 for one that is gone."""
    sizes: dict[str, int] = {}
    join, stat, root = os.path.join, os.stat, str(folder)  # a Path for each of 100,000 would take a second
    for name in names:
        try:
            sizes[name] = stat(join(root, name)).st_size
        except OSError:
            sizes[name] = -1
    return sizes


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
    found_by_size = contents_by_size(files, folder, layout)
    alike = {size for size, contents in found_by_size.items() if contents.count is None}
    keys: list[str] = []
    owners: list[str] = []
    broken: list[str] = []
    if alike.issuperset(files.values()):
        return list(files), list(files), ()
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
        more = f" So it is with all {len(files):,} files." if len(files) > 1 else ""
        raise SpecimenError(broken[0] + more)
    notes = (f"{len(broken):,} of {len(files):,} files cannot be read. The first: {broken[0]}",) if broken else ()
    return keys, owners, notes


def contents_by_size(
    files: dict[str, int], folder: Path, layout: Layout, asked: int = ASKED
) -> dict[int, Contents]:
    """Say what is in files of one size in bytes, where many files have it and those that were asked are alike.

    Parameters
    ----------
    files : dict
        Names relative to the folder, with their sizes; -1 where it is not known.
    folder : Path
    layout : Layout
    asked : int
        How many files of each size are opened.
    """
    by_size: dict[int, list[str]] = defaultdict(list)
    for name, size in files.items():
        by_size[size].append(name)
    found = {}
    for size, names in by_size.items():
        if size < 0 or len(names) <= 2 * asked:
            continue
        try:
            some = {describe(folder / name, layout) for name in names[:: len(names) // asked]}
        except SpecimenError:
            continue  # then each is asked
        if len(some) == 1:
            found[size] = some.pop()
    return found


def _natural(name: str) -> str:
    return re.sub(r"[0-9]+", _padded, name)


def _padded(digits: re.Match[str]) -> str:
    return digits[0].zfill(20)
