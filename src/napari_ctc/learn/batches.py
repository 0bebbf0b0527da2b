"""From specimens of any size and dtype to the network's input, at one scale for the whole set.

`Canvas` crops and pads integers on the host and scales on the device. `Pool` reads the specimens of a run,
measures them, and keeps them in memory where they fit.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.data.formats import Array
from napari_ctc.errors import SpecimenError
from napari_ctc.learn.augment import Changes, add_noise, moved

T = TypeVar("T")
Floats = NDArray[np.float64]

ON_DEVICE = {np.dtype(name) for name in ("uint8", "int8", "int16", "uint16", "float16", "float32")}


@dataclass(frozen=True)
class Canvas:
    """The square that every specimen is put on, and how its values are scaled.

    Parameters
    ----------
    native : int, pixels
        Side of the square at the specimens' own scale: they are cropped or padded to it, about their centre.
    size : int, pixels
        Side of the square that the network sees; ``size / native`` is the one scale factor of the whole set.
    mean, sd : tuples of C float, in the specimens' units
    """

    native: int
    size: int
    mean: tuple[float, ...]
    sd: tuple[float, ...]

    def fit(self, specimen: Array) -> Array:
        """Crop or pad a specimen about its centre; the padding is each channel's median along the border.

        Parameters
        ----------
        specimen : (height, width, C) array

        Returns
        -------
        (native, native, C) array of the same dtype; the specimen itself where it fits already.
        """
        return fit(specimen, self.native)

    def batch(self, specimens: Sequence[Array]) -> Array:
        """Fit several specimens into one (B, native, native, C) array, of the dtype that holds all of theirs."""
        dtype = np.result_type(*{one.dtype for one in specimens})
        side = self.native
        batch = np.empty((len(specimens), side, side, len(self.mean)), dtype=dtype)
        for place, specimen in enumerate(specimens):
            batch[place] = self.fit(specimen)
        return batch

    def to_input(self, batch: Array, device: torch.device, changes: Changes | None = None) -> Tensor:
        """Bring a batch to the device and scale it there.

        Parameters
        ----------
        batch : (B, native, native, C) array
        device : torch.device
        changes : Changes, optional
            Whose gains, offsets and noise are applied.

        Returns
        -------
        (B, C, size, size) float32
            In channels-last memory order, without a transpose on the way.
        """
        mean, factor = np.array(self.mean), 1 / np.array(self.sd)
        shift = np.zeros((1, 1))
        if changes is not None:
            factor, shift = factor * changes.gain, changes.offset
        factor, shift = np.atleast_2d(factor), np.atleast_2d(shift)
        if batch.dtype in ON_DEVICE:
            pixels = torch.from_numpy(np.ascontiguousarray(batch)).to(device).permute(0, 3, 1, 2)
            shift = shift - mean * factor
            pixels = torch.addcmul(_columns(shift, device), pixels.to(torch.float32), _columns(factor, device))
        else:  # wide numbers are scaled in double precision, which keeps small contrasts on large offsets
            wide = (batch.astype(np.float64) - mean) * factor[:, None, None] + shift[:, None, None]
            pixels = torch.from_numpy(wide.astype(np.float32)).to(device).permute(0, 3, 1, 2)
        if self.size != self.native:
            pixels = F.interpolate(
                pixels, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False
            )
        if changes is not None:
            add_noise(pixels, changes)
        return pixels  # (B, C, size, size)


def _columns(values: Floats, device: torch.device) -> Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)[:, :, None, None]


def fit(specimen: Array, side: int) -> Array:
    """Crop or pad a specimen to a square about its centre; see `Canvas.fit`."""
    height, width, channels = specimen.shape
    if height == side and width == side:
        return specimen
    top, left = max(height - side, 0) // 2, max(width - side, 0) // 2
    middle = specimen[top : top + side, left : left + side]
    if middle.shape[:2] == (side, side):
        return middle
    square = np.empty((side, side, channels), dtype=specimen.dtype)
    square[:] = _background(specimen)
    down, right = (side - middle.shape[0]) // 2, (side - middle.shape[1]) // 2
    square[down : down + middle.shape[0], right : right + middle.shape[1]] = middle
    return square


def _background(specimen: Array) -> Array:
    border = np.concatenate([specimen[0], specimen[-1], specimen[1:-1, 0], specimen[1:-1, -1]])  # (n, C)
    middle = len(border) // 2
    # The upper median: a value that occurs, so that no rounding is needed for any dtype.
    background: Array = np.partition(border, middle, axis=0)[middle]
    return background


# ------------------------------------------------------------------------------------------ measuring


@dataclass
class Moments:
    """Mean and spread of each channel, gathered one specimen at a time (Chan, Golub and LeVeque 1979).

    Parameters
    ----------
    count : int, pixels
    mean, squares : (C,) float64
        Mean, and the sum of squared deviations from it.
    """

    count: int
    mean: Floats
    squares: Floats

    @classmethod
    def of(cls, specimen: Array) -> Moments:
        """Measure one specimen."""
        pixels = np.ascontiguousarray(specimen.reshape(-1, specimen.shape[-1]).T, dtype=np.float64)  # (C, n)
        mean = pixels.mean(axis=1)
        pixels -= mean[:, None]
        return cls(pixels.shape[1], mean, np.einsum("cn,cn->c", pixels, pixels))

    def add(self, other: Moments) -> None:
        """Gather another specimen's."""
        count = self.count + other.count
        step = other.mean - self.mean
        self.squares = self.squares + other.squares + step**2 * (self.count * other.count / count)
        self.mean = self.mean + step * (other.count / count)
        self.count = count

    def sd(self) -> Floats:
        """Give the standard deviation of each channel; 0 for a constant one."""
        spread: Floats = np.sqrt(self.squares / self.count)
        # What rounding leaves of a constant channel is no spread.
        spread[spread <= 1e-12 * np.abs(self.mean)] = 0
        return spread


# -------------------------------------------------------------------------------------------- reading


@dataclass(frozen=True)
class Batch:
    """Some specimens, ready for the device.

    Parameters
    ----------
    pixels : (B, native, native, C) array
    rows : (B,) integers
        Their places in the pool.
    changes : Changes or None
    problems : tuple of (place, sentence)
        Those that could not be read; not in `rows`.
    """

    pixels: Array
    rows: NDArray[np.int64]
    changes: Changes | None = None
    problems: tuple[tuple[int, str], ...] = ()


class Pool:
    """The specimens of a run on their canvas: in memory where they fit, else read again each time.

    Parameters
    ----------
    readers : sequence of callables
        Each reads one specimen.
    side : int, pixels
    channels : int
    dtype : numpy.dtype
        One that holds every specimen.
    """

    def __init__(
        self, readers: Sequence[Callable[[], Array]], side: int, channels: int, dtype: np.dtype[np.generic]
    ) -> None:
        self.readers = readers
        self.shape = (side, side, channels)
        self.dtype = dtype
        wanted = len(readers) * side * side * channels * dtype.itemsize
        self.kept: Array | None = None
        if wanted <= memory_for_specimens():
            self.kept = np.empty((len(readers), *self.shape), dtype=dtype)

    def read(self, place: int) -> Array:
        """Read one specimen, and keep it on the canvas where there is room."""
        specimen = self.readers[place]()
        if self.kept is not None:
            self.kept[place] = fit(specimen, self.shape[0])
        return specimen

    def batch(self, rows: NDArray[np.int64], changes: Changes | None = None) -> Batch:
        """Gather a batch; a specimen that can no longer be read is left out of it."""
        problems = []
        if self.kept is not None:
            pixels = self.kept[rows]
        else:
            pixels = np.empty((len(rows), *self.shape), dtype=self.dtype)
            for place, row in enumerate(rows):
                try:
                    pixels[place] = fit(self.readers[row](), self.shape[0])
                except SpecimenError as problem:
                    problems.append((place, str(problem)))
        if changes is not None:
            pixels = moved(pixels, changes)
        lost = tuple((int(rows[place]), why) for place, why in problems)
        if lost:
            good = np.setdiff1d(np.arange(len(rows)), [place for place, _ in problems])
            pixels, rows = pixels[good], rows[good]
            changes = changes and changes.of(good)
        return Batch(pixels, rows, changes, lost)

    @property
    def workers(self) -> int:
        """How many threads read ahead: one copies from memory, several wait for a disk."""
        return 1 if self.kept is not None else 4


def memory_for_specimens() -> int:
    """Say how many bytes of specimens may be kept: a quarter of the computer's memory, 8 GB at most."""
    most = 8 * 1024**3
    try:
        return min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return 2 * 1024**3


def ahead(make: Iterable[Callable[[], T]], workers: int) -> Generator[T]:
    """Call functions in threads, some ahead of what is asked for, and give their results in order."""
    calls = iter(make)
    waiting: deque[Future[T]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="read-ahead")
    try:
        for call in calls:
            waiting.append(pool.submit(call))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
