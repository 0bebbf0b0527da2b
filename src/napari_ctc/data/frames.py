"""Fit specimens of any size and type into frames of one size and type, for the view only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from napari_ctc.data.formats import Array


def fit_to_frame(specimen: Array, height: int, width: int, dtype: DTypeLike) -> Array:
    """Centre a specimen in a frame: pad it with each channel's border median, or crop it.

    Parameters
    ----------
    specimen : (h, w, channels) array
    height, width : int, pixels
    dtype : dtype
        Of the frame; values that it cannot hold are clipped.

    Returns
    -------
    (channels, height, width) array, contiguous
    """
    image = _clipped(specimen.transpose(2, 0, 1), np.dtype(dtype))  # (C, h, w)
    if image.shape[1:] == (height, width):
        return np.ascontiguousarray(image)
    edges = np.concatenate((image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]), axis=1)
    middle = edges.shape[1] // 2
    background = np.partition(edges, middle, axis=1)[:, middle]  # the median, as a value that occurs
    frame = np.empty((len(image), height, width), dtype)
    frame[:] = background[:, None, None]
    into, out_of = zip(
        *(_centred(have, want) for have, want in zip(image.shape[1:], (height, width), strict=True)),
        strict=True,
    )
    frame[:, *into] = image[:, *out_of]
    return frame


def _clipped(image: Array, dtype: np.dtype[Any]) -> Array:
    """Convert values to another type, the nearest where it cannot hold them."""
    if image.dtype == dtype or np.can_cast(image.dtype, dtype):
        return image.astype(dtype, copy=False)
    limits = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    above, below = image >= limits.max, image <= limits.min
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is replaced below
        converted = image.astype(dtype)
    converted[above], converted[below] = limits.max, limits.min
    return converted


def _centred(have: int, want: int) -> tuple[slice, slice]:
    """Where in the frame a side goes, and which part of it."""
    if have <= want:
        start = (want - have) // 2
        return slice(start, start + have), slice(None)
    start = (have - want) // 2
    return slice(None), slice(start, start + want)
