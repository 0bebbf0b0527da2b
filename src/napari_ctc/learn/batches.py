"""The specimens of a run: `Moments` measures them, `Pool` keeps them where they fit, `ahead` reads on."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.formats import Array
from napari_ctc.errors import SpecimenError
from napari_ctc.learn.augment import Changes, moved
from napari_ctc.learn.canvas import Form

if TYPE_CHECKING:
    import torch

T = TypeVar("T")
Floats = NDArray[np.float64]

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
        """Measure one specimen.

        From its first pixel on, which keeps small contrasts on large offsets: the sums lose digits only where that
        pixel is far from the mean, and then the spread is large as well.
        """
        height, width, channels = specimen.shape
        first = specimen[0, 0].astype(np.float64)  # (C,)
        rows = specimen.reshape(height, width * channels)  # long rows: sums over them are several times as fast
        rows = np.subtract(rows, np.tile(first, width), dtype=np.float64)
        sums, squares = (
            one.reshape(width, channels).sum(axis=0)
            for one in (rows.sum(axis=0), np.einsum("rc,rc->c", rows, rows))
        )
        step = sums / (height * width)
        return cls(height * width, first + step, np.maximum(squares - sums * step, 0))

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
    pixels : (B, side, side, C) array
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
    """The specimens of a run in their form: in memory where they fit, else read again each time.

    Parameters
    ----------
    readers : sequence of callables
        Each reads one specimen.
    form : Form
    channels : int
    """

    def __init__(self, readers: Sequence[Callable[[], Array]], form: Form, channels: int) -> None:
        self.readers = readers
        self.form = form
        self.shape = (form.side, form.side, channels)
        wanted = len(readers) * math.prod(self.shape) * form.dtype.itemsize
        self.kept: Array | None = None
        if wanted <= memory_for_specimens():
            self.kept = np.empty((len(readers), *self.shape), dtype=form.dtype)

    def read(self, place: int) -> Array:
        """Read one specimen, and keep it where there is room."""
        specimen = self.readers[place]()
        if self.kept is not None:
            self.kept[place] = self.form.kept(specimen)
        return specimen

    def batch(self, rows: NDArray[np.int64], changes: Changes | None = None) -> Batch:
        """Gather a batch; a specimen that can no longer be read is left out of it."""
        problems = []
        if self.kept is not None:
            pixels = self.kept[rows] if changes is None else moved(self.kept, changes, rows)
        else:
            pixels = np.empty((len(rows), *self.shape), dtype=self.form.dtype)
            for place, row in enumerate(rows):
                try:
                    pixels[place] = self.form.kept(self.readers[row]())
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

    def workers(self, device: torch.device) -> int:
        """Choose how many threads read ahead, of a network on a device: several wait for a disk.

        One copies from memory beside a graphics card, and none beside a network that computes on the processor:
        the network's threads wait for one another, and so for each that a copy takes a core from.
        """
        if self.kept is None:
            return 4
        return 0 if device.type == "cpu" else 1


def memory_for_specimens() -> int:
    """Say how many bytes of specimens may be kept: a quarter of the computer's memory, 8 GB at most."""
    most = 8 * 1024**3
    try:
        return min(most, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4)
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return 2 * 1024**3


def ahead(make: Iterable[Callable[[], T]], workers: int) -> Generator[T]:
    """Call functions and give their results in order; in so many threads, some ahead of what is asked for."""
    if not workers:
        yield from (call() for call in make)
        return
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
