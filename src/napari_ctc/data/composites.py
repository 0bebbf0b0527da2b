"""Thumbnails of specimens: their channels as one colour picture, added up or side by side.

What the colours, limits and visible channels are is the business of whoever shows the specimens.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import ArrayLike, NDArray

from napari_ctc.data.formats import Array

GAP = 2
"""Pixels between channels that stand side by side."""
LEVELS = 256
"""How many steps of lightness a channel is shown in."""


def ramps(colours: ArrayLike) -> NDArray[np.float32]:
    """Go from black to a colour, evenly, for each channel.

    Parameters
    ----------
    colours : (channels, 3) floats in [0, 1]
        The colour of each channel where it is lightest; black leaves a channel out.

    Returns
    -------
    (channels, 256, 3) float32
    """
    steps = np.linspace(0, 1, LEVELS, dtype=np.float32)[None, :, None]
    tables: NDArray[np.float32] = steps * np.asarray(colours, np.float32)[:, None, :]
    return tables


def composite(image: Array, colours: ArrayLike, limits: ArrayLike) -> NDArray[np.uint8]:
    """Add up the channels of a specimen, each in its colour.

    Parameters
    ----------
    image : (channels, height, width) array
    colours : (channels, 256, 3) floats in [0, 1]
        The colour of each level of each channel, such as `ramps` gives; all black leaves a channel out.
    limits : (channels, 2) floats
        The values of each channel that are shown as its first and as its last colour.

    Returns
    -------
    (height, width, 3) uint8
        Red, green and blue. The same as additive layers with these colormaps show.
    """
    coloured = (table[level] for table, level in zip(_tables(colours), _levels(image, limits), strict=True))
    picture = functools.reduce(np.add, coloured)  # (h * w, 3)
    return _as_bytes(np.clip(picture, 0, 1).reshape(*image.shape[1:], 3))


def side_by_side(image: Array, colours: ArrayLike, limits: ArrayLike) -> NDArray[np.uint8]:
    """Put the channels of a specimen beside each other, each in its colour, with `GAP` between them.

    Parameters
    ----------
    image, colours, limits
        As for `composite`.

    Returns
    -------
    (height, channels * width + (channels - 1) * GAP, 3) uint8
    """
    channels, height, width = image.shape
    levels = _levels(image, limits).reshape(image.shape)
    picture = np.zeros((height, channels * (width + GAP) - GAP, 3), np.uint8)
    for place, (level, table) in enumerate(zip(levels, _tables(colours), strict=True)):
        start = place * (width + GAP)
        picture[:, start : start + width] = _as_bytes(table[level])
    return picture


def shrink(image: Array, side: int) -> Array:
    """Average blocks of pixels of a large image; a small one stays as it is.

    Parameters
    ----------
    image : (channels, height, width) array
    side : int, pixels
        Neither height nor width is larger afterwards. What fills no whole block at the far edges is left out.

    Returns
    -------
    (channels, height // n, width // n) array
        float32 (float64 where the values need it) where anything was averaged.
    """
    height, width = image.shape[1:]
    block = max(1, -(-max(height, width) // side))
    down, across = min(block, height), min(block, width)
    if block == 1:
        return image
    rows, columns = height // down * down, width // across * across
    floats = _float_for(image)
    lines = (image[:, row:rows:down, :columns].astype(floats) for row in range(down))
    sums: Array = functools.reduce(np.add, lines)
    sums = functools.reduce(np.add, (sums[:, :, column::across] for column in range(across)))
    shrunk: Array = sums / (down * across)
    return shrunk


def _tables(colours: ArrayLike) -> NDArray[np.float32]:
    return np.asarray(colours, np.float32)


def _levels(image: Array, limits: ArrayLike) -> NDArray[np.uint8]:
    """Say how light each pixel is, from 0 to 255: (channels, height * width)."""
    low, high = np.asarray(limits, _float_for(image)).T[:, :, None]
    levels: Array = image.reshape(len(image), -1) - low
    levels /= np.where(high > low, high - low, 1)
    np.clip(levels, 0, 1, out=levels)
    return _as_bytes(levels.astype(np.float32, copy=False))


def _float_for(image: Array) -> type[np.float32] | type[np.float64]:
    """Choose the smallest floats that tell the image's values apart."""
    return np.float32 if image.dtype.itemsize <= 2 or image.dtype == np.float32 else np.float64


def _as_bytes(picture: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture * np.float32(255) + np.float32(0.5), dtype=np.uint8)
