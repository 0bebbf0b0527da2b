"""Lazy stacks: every specimen of a manifest as frames of one size, read one file at a time, for a viewer.

How a specimen is fitted to the view is in `frames`; what is trained on and classified comes from `specimens`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from napari_ctc.data.formats import Array
from napari_ctc.data.frames import fit_to_frame
from napari_ctc.data.listing import contents_by_size, sizes_of
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import describe, split_key
from napari_ctc.errors import CTCError, SpecimenError

MEMORY = 256 * 2**20
"""Bytes of frames that a stack keeps, of those shown last."""

MOST_LOOKED_AT = 20_000
"""Files that the size of the view is found from; of more files, this many spread over the set."""

_ASKED_OF_A_SIZE = 256  # of many files with as many bytes, this many say what all are

MOST_AT_ONCE = 2**30  # bytes that one index may read; more is a view of all at once, which nobody means

FLAT = "Specimens lie side by side, not in depth, so they are not shown in 3D."

_CONTRAST_SPECIMENS = 64
_CONTRAST_PIXELS = 16_384  # of each specimen: a million in all place the percentiles well enough

Problem = Callable[[str, str], object]


class SpecimenStack:
    """The specimens of a manifest as one lazy array of shape (specimens, height, width) for each channel.

    Parameters
    ----------
    manifest : Manifest
    channel_names : sequence of str, optional
        By default "Channel 1" and so on.
    memory : int, bytes
        How much of what was shown lately is kept.

    Attributes
    ----------
    shape : (specimens, height, width)
        The height and width of the view hold the largest specimen.
    dtype : numpy.dtype
        Holds the values of every specimen seen.
    notes : tuple of str
        Sentences worth telling the person who opened it, the manifest's among them.
    on_problem : list of callables
        Each is called once as ``problem(key, sentence)`` for a specimen that cannot be shown; its frame is
        empty.
    reads : int
        Specimens read so far, for whoever wants to know.

    Raises
    ------
    SpecimenError
        If no file of the manifest can be read.
    """

    def __init__(
        self, manifest: Manifest, channel_names: Sequence[str] | None = None, memory: int = MEMORY
    ) -> None:
        self.manifest = manifest
        self.channels = manifest.layout.channels
        self.channel_names = named_channels(self.channels, channel_names)
        view = _survey(manifest)
        self.shape = (len(manifest), view.height, view.width)
        self.dtype = view.dtype
        self.notes = (*manifest.notes, *view.notes)
        self.on_problem: list[Problem] = []
        self.reads = 0
        self._keys = manifest.keys
        self._memory = memory
        self._frames: OrderedDict[int, tuple[_Signature, Array]] = OrderedDict()
        self._told: set[tuple[int, _Signature]] = set()
        self._tones: NDArray[np.float64] | None = None
        self._lock = threading.RLock()  # napari may slice its layers in threads: they wait for one reading

    def __len__(self) -> int:
        """Return the number of specimens."""
        return self.shape[0]

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        return f"<SpecimenStack {size}, {self.channels} channels, {self.dtype}, {self.manifest.root}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> SpecimenStack:
        """Return itself: a duplicated layer shows the same files through the same cache."""
        return self

    @property
    def keys(self) -> list[str]:
        """The specimens' keys, in order."""
        return self._keys

    def channel(self, channel: int) -> ChannelView:
        """Return one channel of all specimens, as an array-like of `shape`."""
        return ChannelView(self, range(self.channels)[channel])

    @property
    def kept_bytes(self) -> int:
        """How much memory the frames take that are kept."""
        return sum(frame.nbytes for _, frame in self._frames.values())

    def frame(self, row: int) -> Array:
        """Return the frame of a specimen; empty (zeros) where it cannot be read.

        Returns
        -------
        (channels, height, width) array of `dtype`, read-only
        """
        row = range(len(self))[row]
        with self._lock:
            signature = self._signature(row)
            kept = self._frames.get(row)
            if kept is not None and kept[0] == signature:
                self._frames.move_to_end(row)
                return kept[1]
            frame, problem = self._read(row)
            self._frames[row] = signature, frame
            self._frames.move_to_end(row)
            while len(self._frames) > max(1, self._memory // frame.nbytes):
                self._frames.popitem(last=False)
            news = problem is not None and (row, signature) not in self._told
            self._told |= {(row, signature)} if news else set()
        if news:
            for tell in self.on_problem:
                tell(self._keys[row], str(problem))
        return frame

    def contrast(self) -> NDArray[np.float64]:
        """Measure each channel's contrast limits: the first and last of its `tones`, (channels, 2) float64."""
        return self.tones()[:, [0, 2]]

    def tones(self) -> NDArray[np.float64]:
        """Measure how dark and light each channel is, once, over up to 64 specimens spread over the set.

        Returns
        -------
        (channels, 3) float64
            The 0.1, 50 and 99.9 percentiles; the outer ones one unit apart for a channel of one value.

        Raises
        ------
        SpecimenError
            If none of these specimens can be read.
        """
        if self._tones is not None:
            return self._tones
        values: list[Array] = []
        problems: list[CTCError] = []
        for row in _spread(len(self), _CONTRAST_SPECIMENS):
            try:
                specimen = self.manifest.specimen(row)
            except CTCError as problem:
                problems.append(problem)
                continue
            step = max(1, round((specimen[:, :, 0].size / _CONTRAST_PIXELS) ** 0.5))
            values.append(specimen[::step, ::step].reshape(-1, self.channels))
        if not values:
            raise _refusal(problems)
        tones = np.percentile(np.concatenate(values).astype(np.float64), (0.1, 50, 99.9), axis=0).T
        flat = tones[:, 0] == tones[:, 2]
        tones[flat, 2] += np.maximum(1.0, np.abs(tones[flat, 2]) * 1e-6)
        self._tones = tones
        return tones

    def _signature(self, row: int) -> _Signature:
        try:
            status = (self.manifest.root / split_key(self._keys[row])[0]).stat()
        except OSError:
            return None
        return status.st_size, status.st_mtime_ns

    def _read(self, row: int) -> tuple[Array, CTCError | None]:
        self.reads += 1
        try:
            specimen = self.manifest.specimen(row)
        except CTCError as problem:
            frame: Array = np.zeros((self.channels, *self.shape[1:]), self.dtype)
            frame.flags.writeable = False
            return frame, problem
        frame = fit_to_frame(specimen, *self.shape[1:], self.dtype)
        frame.flags.writeable = False
        return frame, None


_Signature = tuple[int, int] | None  # size and time of change; None for a file that is gone


class ChannelView:
    """One channel of a stack, as far as an array needs to be one for napari to show it.

    Parameters
    ----------
    stack : SpecimenStack
    channel : int, from 0
    """

    def __init__(self, stack: SpecimenStack, channel: int) -> None:
        self.stack = stack
        self.index = channel
        self.shape = stack.shape
        self.dtype = stack.dtype
        self.ndim = 3
        self.size = int(np.prod(self.shape, dtype=np.int64))

    def __len__(self) -> int:
        """Return the number of specimens."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<{self.stack.channel_names[self.index]} of {self.stack!r}>"

    def __deepcopy__(self, memo: dict[int, Any]) -> ChannelView:
        """Return itself, as `SpecimenStack` does."""
        return self

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        """Read all specimens into memory."""
        if copy is False:
            raise ValueError("The specimens are on disk; an array of them is always a copy.")
        return np.asarray(self._images(np.arange(len(self)), (slice(None),) * 2), dtype=dtype)

    def __getitem__(self, index: Any) -> Any:
        """Read what is asked for, one file for each specimen named by the first index, up to `MOST_AT_ONCE`."""
        first, rest = self._split(index)
        if isinstance(first, (int, np.integer)):
            return self._image(int(first))[rest]
        rows = np.arange(len(self))[first]
        if rows.ndim != 1 or not all(isinstance(part, (int, np.integer, slice)) for part in rest):
            return np.asarray(self)[index]
        if len(rows) * self.size // len(self) * self.dtype.itemsize > MOST_AT_ONCE:
            raise SpecimenError(FLAT)
        return self._images(rows, rest)

    def _images(self, rows: NDArray[np.integer], rest: tuple[Any, ...]) -> Array:
        found = np.empty((len(rows), *np.empty(self.shape[1:], bool)[rest].shape), self.dtype)
        for place, row in enumerate(rows):
            found[place] = self._image(int(row))[rest]
        return found

    def _image(self, row: int) -> Array:
        image: Array = self.stack.frame(row)[self.index]
        return image

    def _split(self, index: Any) -> tuple[Any, tuple[Any, ...]]:
        """Split an index into that of the specimens and that of the pixels."""
        parts = index if isinstance(index, tuple) else (index,)
        for place, part in enumerate(parts):
            if part is Ellipsis:
                blank = (slice(None),) * (self.ndim - len(parts) + 1)
                parts = (*parts[:place], *blank, *parts[place + 1 :])
                break
        if len(parts) > self.ndim:
            raise IndexError(f"too many indices: {len(parts)} for {self.ndim} dimensions")
        if any(part is None for part in parts):
            raise IndexError("a stack of specimens takes no new axes; make an array of it first")
        return (parts[0], parts[1:]) if parts else (slice(None), ())


def named_channels(count: int, names: Sequence[str] | None = None) -> tuple[str, ...]:
    """Return the names where there is one for each channel, else "Channel 1" and so on."""
    if names is not None and len(names) == count:
        return tuple(names)
    return tuple(f"Channel {number}" for number in range(1, count + 1))


# --------------------------------------------------------------------------------------------- survey


@dataclass(frozen=True)
class _View:
    height: int
    width: int
    dtype: np.dtype[Any]
    notes: tuple[str, ...]


def _survey(manifest: Manifest) -> _View:
    """Read headers: how large the view must be, and of which dtype."""
    names = list(dict.fromkeys(split_key(key)[0] for key in manifest.keys))
    chosen = sizes_of([names[place] for place in _spread(len(names), MOST_LOOKED_AT)], manifest.root)
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
        raise _refusal(problems)
    height, width = max(one.height for one in seen), max(one.width for one in seen)
    dtype = np.result_type(*{one.dtype for one in seen})
    if dtype == np.float16:
        dtype = np.dtype(np.float32)  # graphics cards take no half-precision textures from napari
    sides = {(one.height, one.width) for one in seen}
    notes: tuple[str, ...] = ()
    if len(names) > len(chosen):
        notes = (
            f"The size of the view comes from {len(chosen)} of {len(names)} files; larger ones are cropped in it.",
        )
    if len(sides) > 1:
        smallest = min(sides, key=lambda side: side[0] * side[1])
        notes = (
            *notes,
            f"The specimens differ in size, from {smallest[0]} x {smallest[1]} up to {height} x {width} pixels. "
            f"For the view only, they are centred, and the smaller ones filled up with their background.",
        )
    return _View(height, width, dtype, notes)


def _refusal(problems: Sequence[CTCError]) -> SpecimenError:
    more = f" So it is with all {len(problems)} that were tried." if len(problems) > 1 else ""
    return SpecimenError(f"{problems[0]}{more}")


def _spread(count: int, most: int) -> list[int]:
    """Pick up to `most` of `count` places, spread evenly and with both ends."""
    if count <= most:
        return list(range(count))
    return [round(place) for place in np.linspace(0, count - 1, most)]
