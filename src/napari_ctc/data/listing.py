"""List the specimen files below a folder: names and sizes alone, so that 100,000 take about a second.

A file may be one specimen or a stack of them, which only its header says. Opening every file of a large folder
takes longer than all the rest, and files of one folder and one size are of one kind: so of many, some are asked.
"""

from __future__ import annotations

import os
import re
import stat
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from napari_ctc.data.formats import is_specimen_file
from napari_ctc.data.specimens import Contents, Layout, describe
from napari_ctc.errors import SpecimenError

_AS_ZERO = str.maketrans("123456789", "000000000")

NAMED = 10  # folders that cannot be listed, of which is told one by one
ASKED = 16  # files of one size that are opened before the others are believed to be like them


@dataclass(frozen=True)
class Listing:
    """What is below a folder.

    Parameters
    ----------
    files : dict
        The files' names relative to the folder, with forward slashes, in natural order ("2" before "10"), and
        their sizes in bytes; -1 for one that the system does not tell of.
    unlisted : tuple of str
        A sentence for each folder whose files, or some of them, are missing since it could not be listed.
    """

    files: dict[str, int]
    unlisted: tuple[str, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to tell a person of the folders that are missing: of many, the first."""
        more = len(self.unlisted) - NAMED
        return (*self.unlisted[:NAMED], *([f"{more:,} more folders cannot be listed."] if more > 0 else []))


@dataclass
class _Scanned:
    """The entries of one folder."""

    names: list[str] = field(default_factory=list)  # of specimen files
    sizes: list[int] = field(default_factory=list)
    folders: list[tuple[str, str]] = field(default_factory=list)  # path, and prefix of the names in it
    linked: list[tuple[str, str]] = field(default_factory=list)  # folders that are links, likewise
    unlisted: list[str] = field(default_factory=list)


def list_folder(folder: Path) -> Listing:
    """List every specimen file below a folder, hidden ones left out, and what is no file, such as a pipe.

    Folders that are links are followed, and a folder that is reached twice counts once: under its own name where
    it lies below the one that is listed, else under the first link.
    """
    found: list[tuple[str, str, int]] = []  # what it is sorted by, name, size
    unlisted: list[str] = []
    todo, linked = [(str(folder), "")], list[tuple[str, str]]()
    walked: list[str] = []
    seen: set[object] = set()  # empty until the first link: only from there on is each folder asked who it is
    while todo or linked:
        if not todo:
            seen = seen or set(map(_identity, walked))
            todo, linked = sorted(linked, key=lambda one: _natural(one[1]), reverse=True), []
        place, prefix = todo.pop()
        if seen:
            identity = _identity(place)
            if identity in seen:
                continue
            seen.add(identity)
        else:
            walked.append(place)
        scanned = _scan(place, prefix)
        todo += scanned.folders
        linked += scanned.linked
        unlisted += scanned.unlisted
        # Padding each number takes longer than all the rest. Where the names of a folder are all built alike, they
        # are in natural order by themselves.
        alone = not scanned.folders and not scanned.linked
        keys = scanned.names if alone and _built_alike(scanned.names) else map(_natural, scanned.names)
        before = _natural(prefix)
        found.extend(
            (before + key, prefix + name, size)
            for key, name, size in zip(keys, scanned.names, scanned.sizes, strict=True)
        )
    found.sort()
    return Listing({name: size for _, name, size in found}, tuple(sorted(unlisted, key=_natural)))


def _scan(place: str, prefix: str) -> _Scanned:
    scanned = _Scanned()
    names, sizes = scanned.names, scanned.sizes
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == ".":
                    continue
                if entry.is_dir(follow_symlinks=False):
                    scanned.folders.append((entry.path, f"{prefix}{name}/"))
                elif is_specimen_file(name) and entry.is_file(follow_symlinks=False):
                    names.append(name)
                    try:
                        sizes.append(entry.stat().st_size)
                    except OSError:  # such as a file that was removed just now
                        sizes.append(-1)
                elif entry.is_symlink():
                    _follow(entry, prefix, scanned)
    except OSError as problem:
        scanned.unlisted.append(_not_listed(prefix[:-1] or place, problem))
    return scanned


def _follow(entry: os.DirEntry[str], prefix: str, scanned: _Scanned) -> None:
    """Take a link as what it leads to."""
    try:
        status = entry.stat()
    except OSError as problem:
        if is_specimen_file(entry.name):  # whoever reads it is told why
            scanned.names.append(entry.name)
            scanned.sizes.append(-1)
        else:  # it may have led to a folder, such as one on a disk that is away
            scanned.unlisted.append(_not_listed(prefix + entry.name, problem))
        return
    if stat.S_ISDIR(status.st_mode):
        scanned.linked.append((entry.path, f"{prefix}{entry.name}/"))
    elif stat.S_ISREG(status.st_mode) and is_specimen_file(entry.name):
        scanned.names.append(entry.name)
        scanned.sizes.append(status.st_size)


def _identity(place: str) -> object:
    """Tell by what a folder is known again under another name."""
    try:
        status = os.stat(place)  # noqa: PTH116 - as elsewhere here, a Path takes its time
    except OSError:
        return place
    return status.st_dev, status.st_ino


def _not_listed(name: str, problem: OSError) -> str:
    readable = os.fsencode(name).decode(errors="replace")
    why = problem.strerror or problem
    return f"{readable} cannot be listed: {why}. Specimens in it are left out. Check the folder and its rights."


def _built_alike(names: list[str]) -> bool:
    """Tell whether names differ in digits only, each at its place; one by one takes its time."""
    return len(set("/".join(names).translate(_AS_ZERO).split("/"))) == 1


def sizes_of(names: Iterable[str], folder: Path) -> dict[str, int]:
    """Give the sizes in bytes of files named relative to a folder, or by whole paths; -1 for one that is gone."""
    sizes: dict[str, int] = {}
    join, ask, root = os.path.join, os.stat, str(folder)  # a Path for each of 100,000 would take a second
    for name in names:
        try:
            sizes[name] = ask(join(root, name)).st_size
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
