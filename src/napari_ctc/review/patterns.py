"""Local binary patterns of many images at once: how a pixel compares with those around it."""

from __future__ import annotations

from math import floor, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

REACH, NEIGHBOURS = 2, 8  # pixels; on a circle around each
PATTERNS = NEIGHBOURS + 2
PIXELS_AT_ONCE = 2**15  # with what is worked out of them, they fit into a processor's cache

_DIAGONAL = round(REACH * sqrt(0.5), 5)


def pattern_shares(images: NDArray[np.integer[Any]]) -> NDArray[np.float32]:
    """Give the share of each uniform local binary pattern (Ojala, Pietikäinen and Mäenpää 2002).

    Parameters
    ----------
    images : (n, height, width) integers

    Returns
    -------
    (n, 10) float32
        Of pixels with 0 to 8 neighbours that are at least as bright, where bright and dark ones lie in at most
        three runs; and last, of all other pixels. Outside of the image all is 0.

    Notes
    -----
    The numbers are those of scikit-image's ``local_binary_pattern(image, 8, 2, "uniform")``, which takes one image
    at a time and four times as long.
    """
    count, height, width = images.shape
    together = max(1, PIXELS_AT_ONCE // max(1, height * width))
    found = np.zeros((count, PATTERNS), np.float32)
    for first in range(0, count, together):
        for row, codes in enumerate(_codes(images[first : first + together]), first):
            found[row] = np.bincount(codes.ravel(), minlength=PATTERNS) / codes.size
    return found


def _codes(images: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Give the pattern of each pixel."""
    wide = np.pad(images.astype(np.float64), ((0, 0), (REACH, REACH), (REACH, REACH)))
    inside, before, after = slice(REACH, -REACH), slice(None, -2 * REACH), slice(2 * REACH, None)
    left, right = _moved(wide, -_DIAGONAL, axis=2), _moved(wide, _DIAGONAL, axis=2)
    around = (  # counter-clockwise from the right
        wide[:, inside, after],
        _moved(right, -_DIAGONAL, axis=1),
        wide[:, before, inside],
        _moved(left, -_DIAGONAL, axis=1),
        wide[:, inside, before],
        _moved(left, _DIAGONAL, axis=1),
        wide[:, after, inside],
        _moved(right, _DIAGONAL, axis=1),
    )
    middle = wide[:, inside, inside]
    bright = np.array([neighbour >= middle for neighbour in around]).view(np.uint8)
    codes: NDArray[np.uint8] = np.add.reduce(bright, axis=0, dtype=np.uint8)
    changes = np.add.reduce(bright[1:] ^ bright[:-1], axis=0, dtype=np.uint8)
    codes[changes > 2] = PATTERNS - 1
    return codes


def _moved(wide: NDArray[np.float64], by: float, axis: int) -> NDArray[np.float64]:
    """Interpolate between the two pixels that lie around `by` pixels farther on; takes the margin off."""
    size = wide.shape[axis] - 2 * REACH
    at = np.arange(size) + by
    part = at - np.floor(at)
    first = REACH + floor(by)
    one, two = [slice(None)] * 3, [slice(None)] * 3
    one[axis], two[axis] = slice(first, first + size), slice(first + 1, first + 1 + size)
    if axis == 1:
        part = part[:, None]
    found: NDArray[np.float64] = (1 - part) * wide[tuple(one)]
    found += part * wide[tuple(two)]
    return found
