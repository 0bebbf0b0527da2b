"""Show specimens turned, flipped and shifted without changing a pixel's value, and brighter or darker.

Geometry is exact and works on integers before they reach the device; gain and offset come after scaling and
cost nothing there, since the scaling multiplies and adds anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.formats import Array

GAIN = 0.1  # gains from 0.9 to 1.1
OFFSET = 0.1  # in standard deviations of the channel
SHIFT = 16  # up to 1/16 of the side

_PIXELS = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64, 16: np.complex128}


@dataclass(frozen=True)
class Changes:
    """What to do with each specimen of a batch.

    Parameters
    ----------
    turn, flip : (B,) bool, (B, 2) bool
        Swap rows and columns; then flip rows, columns. Together the eight turns and reflections of a square.
    shift : (B, 2) integers, pixels
    gain, offset : (B, C) float64
        Gain dimensionless; offset in standard deviations of the channel.
    """

    turn: NDArray[np.bool_]
    flip: NDArray[np.bool_]
    shift: NDArray[np.int64]
    gain: NDArray[np.float64]
    offset: NDArray[np.float64]

    def of(self, places: NDArray[np.int64]) -> Changes:
        """Give the changes of some specimens of the batch."""
        return Changes(
            self.turn[places],
            self.flip[places],
            self.shift[places],
            self.gain[places],
            self.offset[places],
        )


def draw_changes(random: np.random.Generator, specimens: int, side: int, channels: int) -> Changes:
    """Draw the changes of a batch at random.

    Parameters
    ----------
    random : numpy.random.Generator
    specimens, channels : int
    side : int, pixels
    """
    most = side // SHIFT
    return Changes(
        turn=random.random(specimens) < 0.5,
        flip=random.random((specimens, 2)) < 0.5,
        shift=random.integers(-most, most + 1, (specimens, 2)),
        gain=1 + random.uniform(-GAIN, GAIN, (specimens, channels)),
        offset=random.uniform(-OFFSET, OFFSET, (specimens, channels)),
    )


def moved(specimens: Array, changes: Changes) -> Array:
    """Turn, flip and shift the specimens of a batch; what a shift uncovers repeats the edge.

    Parameters
    ----------
    specimens : (B, side, side, C) array
    changes : Changes

    Returns
    -------
    (B, side, side, C) array of the same dtype
    """
    specimens = np.ascontiguousarray(specimens)
    result = np.empty_like(specimens)
    source, target = _as_pixels(specimens), _as_pixels(result)
    for place, image in enumerate(source):
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
