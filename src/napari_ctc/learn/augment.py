"""Show specimens turned, flipped and shifted, brighter or darker and noisier, or with a stain gone.

Geometry is exact: it works on integers before they reach the device, and changes no pixel's value. Gain and offset
come after scaling and cost nothing there, since the scaling multiplies and adds anyway; a channel that is left out
has a gain of zero. Noise is cut from one table of normal numbers, since new ones took a third of a training step;
the rows of a batch overlap there, so that the processor's cache holds all that the batch needs.

Nothing is made larger or smaller: a tumour cell is told partly by its size, and a network that saw each specimen
at several scales would learn to pass over it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_ctc.data.formats import Array
from napari_ctc.settings import LARGEST_BATCH

GAIN = 0.1  # gains from 0.9 to 1.1
OFFSET = 0.1  # in standard deviations of the channel
NOISE = 0.1  # standard deviation of the noise, up to so many of the channel
SHIFT = 16  # up to 1/16 of the side
WINDOWS = 2**16  # places in the table of noise at which a batch's may begin
APART = 293  # places from one row's noise to the next's: what both have is that many / C pixels further left there

_PIXELS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}


@dataclass(frozen=True)
class Changes:
    """What to do with each specimen of a batch.

    Parameters
    ----------
    turn, flip : (B,) bool, (B, 2) bool
        Swap rows and columns; then flip rows, columns. Together the eight turns and reflections of a square.
    shift : (B, 2) integers, pixels
    gain, offset, noise : (B, C) float64
        Gain dimensionless; offset, and the standard deviation of the noise, in standard deviations of the channel.
        All three are 0 for a channel that is left out: it then has the channel's mean everywhere.
    window : int
        Where in the table of noise the batch's begins.
    """

    turn: NDArray[np.bool_]
    flip: NDArray[np.bool_]
    shift: NDArray[np.int64]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]
    noise: NDArray[np.float64]
    window: int

    def of(self, places: NDArray[np.int64]) -> Changes:
        """Give the changes of some specimens of the batch."""
        each = ("turn", "flip", "shift", "gain", "offset", "noise")
        return replace(self, **{name: getattr(self, name)[places] for name in each})


def draw_changes(
    random: np.random.Generator, specimens: int, side: int, channels: int, dropout: float = 0.0
) -> Changes:
    """Draw the changes of a batch at random.

    Parameters
    ----------
    random : numpy.random.Generator
    specimens, channels : int
    side : int, pixels
    dropout : float
        Share of the specimens that are shown with one channel left out; none where there is only one.
    """
    most = side // SHIFT
    changes = Changes(
        turn=random.random(specimens) < 0.5,
        flip=random.random((specimens, 2)) < 0.5,
        shift=random.integers(-most, most + 1, (specimens, 2)),
        gain=1 + random.uniform(-GAIN, GAIN, (specimens, channels)),
        offset=random.uniform(-OFFSET, OFFSET, (specimens, channels)),
        noise=random.uniform(0, NOISE, (specimens, channels)),
        window=int(random.integers(WINDOWS)),
    )
    if channels > 1:
        failed = np.flatnonzero(random.random(specimens) < dropout)
        stain = random.integers(channels, size=len(failed))
        for values in (changes.gain, changes.offset, changes.noise):
            values[failed, stain] = 0
    return changes


def moved(specimens: Array, changes: Changes, rows: NDArray[np.int64] | None = None) -> Array:
    """Turn, flip and shift the specimens of a batch; what a shift uncovers repeats the edge.

    Parameters
    ----------
    specimens : (N, side, side, C) array
    changes : Changes
    rows : (B,) integers, optional
        Which of the specimens are the batch; without them, all are.

    Returns
    -------
    (B, side, side, C) array of the same dtype
    """
    specimens = np.ascontiguousarray(specimens)
    rows = np.arange(len(specimens)) if rows is None else rows
    result = np.empty((len(rows), *specimens.shape[1:]), specimens.dtype)
    source, target = _as_pixels(specimens), _as_pixels(result)
    for place, row in enumerate(rows):
        image = source[row]
        if changes.turn[place]:
            image = image.swapaxes(0, 1)
        flip_rows, flip_columns = changes.flip[place]
        image = image[:: -1 if flip_rows else 1, :: -1 if flip_columns else 1]
        _shift(image, target[place], *changes.shift[place].tolist())
    return result


def _as_pixels(batch: Array) -> NDArray[Any]:
    """View each pixel's channels as one number where there is one of that width: copies are faster so."""
    pixel = _PIXELS.get(batch.shape[-1] * batch.dtype.itemsize)
    return batch if pixel is None else batch.view(pixel)[..., 0]


def _shift(image: NDArray[Any], out: NDArray[Any], down: int, right: int) -> None:
    side = len(image)
    top, bottom = max(down, 0), side + min(down, 0)
    left, end = max(right, 0), side + min(right, 0)
    out[top:bottom, left:end] = image[top - down : bottom - down, left - right : end - right]
    out[:top, left:end] = out[top, left:end]
    out[bottom:, left:end] = out[bottom - 1, left:end]
    out[:, :left] = out[:, left : left + 1]
    out[:, end:] = out[:, end - 1 : end]


# ----------------------------------------------------------------------------------------------- noise


Noise = tuple[Tensor, Tensor]
"""Of a batch: normal numbers, (B, side, side * C), and the standard deviation of each, (B, 1, side * C)."""


def noise_of(changes: Changes, side: int, device: torch.device) -> Noise:
    """Give the noise of a batch whose specimens have a side of so many pixels."""
    specimens, channels = changes.noise.shape
    table = noise_table(side, channels, device)
    # Without a copy: a specimen's first row lies where the second of the one before it does.
    drawn = table.as_strided((specimens, side, side * channels), (APART, APART, 1), changes.window)
    return drawn, in_rows(changes.noise, side, device)[:, None]


def in_rows(values: NDArray[np.float64], side: int, device: torch.device) -> Tensor:
    """Repeat what belongs to specimens and channels, (B, C), along a row of pixels: (B, side * C) float32.

    Long loops over plain rows are several times as fast as short ones over the channels of each pixel.
    """
    return torch.from_numpy(values.astype(np.float32)).to(device).repeat(1, side)


@lru_cache(maxsize=2)
def noise_table(side: int, channels: int, device: torch.device) -> Tensor:
    """Draw the table of noise, alike for every run: where in it a batch begins is drawn for each."""
    rows = LARGEST_BATCH + side
    count = WINDOWS + APART * rows + side * channels
    return torch.randn(count, generator=torch.Generator().manual_seed(0), dtype=torch.float32).to(device)


def forget_noise() -> None:
    """Give back the memory of the table of noise."""
    noise_table.cache_clear()
