"""Read many specimens at once, pixels and SHA-256 from one pass over the bytes.

Files that are alike go straight into one array, headers and all, without a copy on the way and without a Python
object a pixel row; opening, reading and hashing let other threads run meanwhile. What is unusual (another byte
order, a damaged header, a format of its own) is read as `specimens` reads it, one by one, and says the same.

Of a stack, only the specimens that are asked for are read, and each is digested by itself: its first rows come at
once, however large the file, and their digests stay true when specimens are added after them. A stack is not
memory-mapped: that would save 35 us of a specimen of 224 pixels, 1 % of what classifying it takes, and where a
mapped file is cut short by someone else, the system ends the whole program; where a read comes back short, one
specimen fails.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from io import FileIO
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.files import facts_of
from napari_ctc.data.formats import Array, ArrayFile, open_file, parse_header
from napari_ctc.data.room import Room
from napari_ctc.data.specimens import Layout, contents_of, read_specimen, split_key
from napari_ctc.errors import SpecimenError, UnreachableError

HEAD = 128  # bytes; the header of nearly every `.npy` is just so long


@dataclass
class Bulk:
    """Specimens that were read together, and what is known of each one's file.

    Parameters
    ----------
    images : (n, height, width, C) array, or list of (height, width, C) arrays
        Of those that could be read: one array where all are alike, else a list.
    readable : (n,) integers
        Their places among the keys.
    sizes : list of int or None
        Bytes of each file; none where the system did not give it, so that it is read again another time.
    modified, digests, reasons : lists of str
        When each file was modified (UTC, ISO 8601), empty where there is no size; SHA-256 of the file, or of the
        specimen in a stack (of its pixels as stored, ``numpy.load(file)[index].tobytes()``); why it could not be
        read: empty if it could.
    """

    images: Array | list[Array] = field(repr=False)
    readable: NDArray[np.intp]
    sizes: list[int | None]
    modified: list[str]
    digests: list[str]
    reasons: list[str]


def read_bulk(root: str | Path, keys: Sequence[str], layout: Layout = Layout(), room: Room | None = None) -> Bulk:
    """Read specimens and digest their files; what cannot be read has its reason, and the rest goes on.

    Parameters
    ----------
    root : path
        The folder that relative keys start from.
    keys : sequence of str
    layout : Layout
    room : Room, optional
        For the pixels, which are then true until it is used again.
    """
    reading = _Reading(str(root), keys, layout, room or Room())
    places = range(len(keys))
    named = [split_key(key) for key in keys]
    for name, group in groupby(places, lambda place: named[place][0]):
        reading.read_file(name, [(place, named[place][1]) for place in group])
    return reading.result()


class _Changed(Exception):
    """A file is another than it was a moment ago."""


@dataclass(frozen=True)
class _Plan:
    """Where the pixels of a file lie, as its header says.

    Parameters
    ----------
    count : int or None
        Of a stack.
    shape : tuple of 3 int
        Of one specimen as stored.
    bytes : int
        Of one specimen.
    total : int
        Bytes of a file that is whole.
    """

    count: int | None
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    channels_first: bool
    bytes: int
    total: int

    @property
    def kind(self) -> tuple[object, ...]:
        """What specimens must share to go into one array."""
        return self.shape, self.dtype, self.channels_first


@lru_cache(maxsize=1024)
def _plan(head: bytes, layout: Layout) -> _Plan | None:
    """Plan how to read a file that begins so; None if it is unusual."""
    if head[:6] != b"\x93NUMPY" or head[6] != 1 or int.from_bytes(head[8:10], "little") + 10 != HEAD:
        return None
    try:
        shape, fortran, dtype = parse_header(head)
        contents = contents_of("", ArrayFile(shape, dtype, _unread), layout)
    except Exception:  # whatever is wrong with it: the reader of single specimens says so in words
        return None
    if fortran or dtype != contents.dtype or not dtype.isnative:
        return None
    single = shape[1:] if contents.count is not None else shape
    if len(single) == 2:
        single = (*single, 1)
    size = math.prod(single) * dtype.itemsize
    return _Plan(contents.count, single, dtype, contents.channels_first, size, HEAD + size * (contents.count or 1))


def _unread(_: int | None) -> Array:
    raise NotImplementedError


class _Reading:
    """One array that is filled file by file."""

    def __init__(self, root: str, keys: Sequence[str], layout: Layout, room: Room) -> None:
        n = len(keys)
        self.root, self.layout, self.room = root, layout, room
        self.plan: _Plan | None = None  # of all that go into one array
        self.rows: Any = None  # (n, HEAD + bytes): each file as it is
        self.pixels: Array | None = None  # the same as (n, ...) pixels as stored, without the heads
        self.filled = np.zeros(n, dtype=bool)
        self.others: dict[int, Array] = {}
        self.channels_first = False
        self.sizes: list[int | None] = [None] * n
        self.modified, self.digests, self.reasons = [""] * n, [""] * n, [""] * n
        self.head = b""

    def read_file(self, name: str, wanted: list[tuple[int, int | None]]) -> None:
        """Read the specimens of one file: places among the keys, with indices inside a stack."""
        path = os.path.join(self.root, name)  # noqa: PTH118 - asked of every file; a Path costs as much as reading
        try:
            with FileIO(path) as file:
                before = os.fstat(file.fileno())
                size, modified = facts_of(before)
                for place, _ in wanted:
                    self.sizes[place], self.modified[place] = size, modified
                if not self._read_alike(file, path, size, wanted):
                    self._read_each(file, path, size, wanted)
                after = os.fstat(file.fileno())
                if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                    raise _Changed
        except FileNotFoundError:
            self._fail(wanted, f"{Path(path).name} does not exist (looked in {Path(path).parent}).")
        except _Changed:
            self._fail(
                wanted,
                f"{Path(path).name} was changed while it was read. Classify it again when it is written wholly.",
            )
        except OSError as problem:
            why = problem.strerror or str(problem)
            self._fail(wanted, f"{Path(path).name} cannot be read: {why}. Check the file and its rights.")

    def _read_alike(self, file: FileIO, path: str, size: int, wanted: list[tuple[int, int | None]]) -> bool:
        """Read a file that is as the one before it, in one go; False, and nothing lost, if it turns out not to be.

        Each call of the system lets go of Python's lock, and has to wait for it again where other threads compute.
        """
        plan, (place, index) = self.plan, wanted[0]
        if plan is None or index is not None or plan.count is not None or path[-4:].lower() != ".npy":
            return False
        row = self.rows[place]
        if size != plan.total or _fill(file, row) != size or row[:HEAD].tobytes() != self.head:
            file.seek(0)
            return False
        self.digests[place] = hashlib.sha256(row).hexdigest()
        if not self._sound(plan, place):
            file.seek(0)
            return False
        self.filled[place] = True
        return True

    def _sound(self, plan: _Plan, place: int) -> bool:
        return plan.dtype.kind != "f" or self.pixels is None or _fine(self.pixels[place])

    def _read_each(self, file: FileIO, path: str, size: int, wanted: list[tuple[int, int | None]]) -> None:
        head, plan = bytearray(HEAD), None
        if path[-4:].lower() == ".npy" and file.readinto(head) == HEAD:
            plan = _plan(bytes(head), self.layout)
        for place, index in wanted:
            try:
                self._read_one(file, Path(path), size, bytes(head), plan, place, index)
            except SpecimenError as problem:
                self.reasons[place] = str(problem)
                if isinstance(problem, UnreachableError):
                    self._forget(place)

    def _begin(self, plan: _Plan, head: bytes) -> None:
        """Make one array for all files that are as this one."""
        n = len(self.sizes)
        self.plan, self.head, self.channels_first = plan, head, plan.channels_first
        self.rows = self.room.array((n, HEAD + plan.bytes), np.uint8)
        self.pixels = self.rows[:, HEAD:].view(plan.dtype).reshape(n, *plan.shape)

    def _read_one(
        self, file: FileIO, path: Path, size: int, head: bytes, plan: _Plan | None, place: int, index: int | None
    ) -> None:
        usual = (
            plan is not None
            and size >= plan.total
            and (index is None) == (plan.count is None)
            and (index is None or index < (plan.count or 0))
        )
        if plan is not None and usual and self.plan is None:
            self._begin(plan, head)
        if plan is None or not usual or self.plan is None or plan.kind != self.plan.kind:
            self.others[place] = read_specimen(path, index, self.layout)
            self.digests[place] = _unusual_digest(path, index)
            return
        slot = self.rows[place, HEAD:]
        if index is not None:
            file.seek(HEAD + index * plan.bytes)
        if _fill(file, slot) != plan.bytes:
            raise _Changed
        digest = hashlib.sha256(head if index is None else b"")
        digest.update(slot)
        while more := file.read(1 << 20) if index is None and size > plan.total else b"":
            digest.update(more)
        self.digests[place] = digest.hexdigest()
        if not self._sound(plan, place):
            read_specimen(path, index, self.layout)  # says which channel is wrong
            raise _Changed
        self.filled[place] = True

    def _fail(self, wanted: list[tuple[int, int | None]], reason: str) -> None:
        for place, _ in wanted:
            self.reasons[place] = reason
            self.digests[place] = ""
            self.filled[place] = False
            self.others.pop(place, None)
            self._forget(place)

    def _forget(self, place: int) -> None:
        """Leave out size and time: a row without them is never taken for one of an unchanged file."""
        self.sizes[place], self.modified[place] = None, ""

    def result(self) -> Bulk:
        """Put together what was read."""
        good = self.filled.copy()
        good[list(self.others)] = True
        readable = np.flatnonzero(good)
        for place in np.flatnonzero(~good).tolist():
            self.digests[place] = ""
        images: Array | list[Array] = []
        if self.pixels is not None:
            pixels = np.moveaxis(self.pixels, 1, -1) if self.channels_first else self.pixels
            if self.others:
                images = [
                    self.others[place] if place in self.others else pixels[place] for place in readable.tolist()
                ]
            else:
                images = pixels if good.all() else pixels[readable]
        elif self.others:
            images = [self.others[place] for place in readable.tolist()]
        return Bulk(images, readable, self.sizes, self.modified, self.digests, self.reasons)


def _fill(file: FileIO, slot: Any) -> int:
    """Read until the slot is full or the file ends; one read takes 2 GB at most, and a network disk less."""
    got = file.readinto(slot) or 0
    while got < len(slot):
        more = file.readinto(slot[got:])
        if not more:
            break
        got += more
    return got


def _fine(pixels: Array) -> bool:
    """Tell whether a network could take all values as float32."""
    with np.errstate(invalid="ignore"):
        return bool((np.abs(pixels) <= np.finfo(np.float32).max).all())


def _unusual_digest(path: Path, index: int | None) -> str:
    if index is not None:
        return hashlib.sha256(open_file(path).read(index).tobytes()).hexdigest()
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
