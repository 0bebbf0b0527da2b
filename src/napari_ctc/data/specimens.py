"""Read specimens: which files hold them, what is in a file, and one specimen of it.

File formats are in `formats`. Every reading function returns specimens as `(height, width,
channels)` in the file's own dtype, native byte order, and raises `SpecimenError` with a sentence for everything
that cannot be read. Tables of specimens live in `manifest`, lazy stacks for the viewer in `stacks`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.data.formats import Array, ArrayFile, is_specimen_file, open_file
from napari_ctc.errors import SpecimenError, UnreachableError
from napari_ctc.settings import ChannelAxis

_LONGEST = 18  # digits of an index, which fits 64 bits then


@dataclass(frozen=True)
class Layout:
    """How many channels a specimen has and where they stand in the files.

    Parameters
    ----------
    channels : int, from 1
    axis : "auto", "first" or "last"
        "auto" takes the end of the shape that equals `channels`, and refuses a shape where both do.
    """

    channels: int = 4
    axis: ChannelAxis = "auto"


@dataclass(frozen=True)
class Contents:
    """What one file holds, as its header says.

    Parameters
    ----------
    count : int or None
        Number of specimens of a stack; None for a file that is one specimen.
    height, width, channels : int, pixels
    dtype : numpy.dtype
        In native byte order.
    channels_first : bool
    """

    count: int | None
    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    channels_first: bool


# ---------------------------------------------------------------------------------------- files and keys


def split_key(key: str) -> tuple[str, int | None]:
    """Split a specimen's key into its file's path and its index inside a stack (None without one)."""
    path, mark, index = key.rpartition("#")
    if mark and len(index) <= _LONGEST and index.isdecimal() and is_specimen_file(path):
        return path, int(index)
    return key, None


def keys_of(path: Path, name: str, layout: Layout) -> Iterator[str]:
    """Yield the keys of a file's specimens: its `name`, or ``name#0``, ``name#1``... for a stack.

    Raises
    ------
    SpecimenError
        If the file cannot be read with this layout.
    """
    count = describe(path, layout).count
    if count is None:
        yield name
    else:
        yield from (f"{name}#{index}" for index in range(count))


# -------------------------------------------------------------------------------------------- specimens


def describe(path: Path, layout: Layout = Layout()) -> Contents:
    """Say what a file holds, from its header alone.

    Raises
    ------
    SpecimenError
        If the file cannot be opened, or its array cannot be specimens of this layout.
    """
    return contents_of(path.name, open_file(path), layout)


def read_specimen(path: Path, index: int | None = None, layout: Layout = Layout()) -> Array:
    """Read one specimen.

    Parameters
    ----------
    path : Path
    index : int or None
        Which specimen of a stack; None for a file that is one specimen, or a stack of one.
    layout : Layout

    Returns
    -------
    (height, width, channels) array
        In the file's own dtype and native byte order (booleans as 0 and 1; long doubles as float64).

    Raises
    ------
    SpecimenError
        If the file or the index cannot be read, or the pixels are not all finite numbers; an `UnreachableError`
        where that lies with the system, not with the file.
    """
    file = open_file(path)
    contents = contents_of(path.name, file, layout)
    if index is None and contents.count == 1:
        index = 0  # the only one that the file's name can mean
    if (index is None) != (contents.count is None):
        what = "one specimen" if contents.count is None else f"a stack of {contents.count} specimens"
        raise SpecimenError(
            f"{path.name} holds {what}. Name specimens of a stack as {path.name}#0, {path.name}#1 and so on, "
            f"and a file of one specimen by its name alone."
        )
    if index is not None and contents.count is not None and not 0 <= index < contents.count:
        raise SpecimenError(
            f"{path.name} holds {contents.count} specimens, so there is no number {index}; count from 0."
        )
    try:
        array = file.read(index)
    except MemoryError as problem:
        raise UnreachableError(f"{path.name} cannot be read: memory is full. Close other programs.") from problem
    except (OSError, ValueError, EOFError) as problem:
        if isinstance(problem, OSError) and problem.errno is not None:  # a library that reads files sets none
            why = problem.strerror or problem
            raise UnreachableError(
                f"{path.name} cannot be read: {why}. Check the file and its rights."
            ) from problem
        raise SpecimenError(f"{path.name} cannot be read: {problem}. Copy or save it again.") from problem
    if array.ndim == 2:
        array = array[:, :, None]
    elif contents.channels_first:
        array = np.moveaxis(array, 0, -1)
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused as that
        array = array.astype(contents.dtype, copy=False)
    if array.dtype.kind == "f" and (bad := _not_numbers(array)).any():
        raise SpecimenError(
            f"{path.name} has {bad.sum():,} pixel values in {_listed(bad)} that are not numbers (NaN or "
            f"infinite, or beyond 1e38). "
            f"Replace them before saving, for instance with numpy.nan_to_num."
        )
    return array


def _not_numbers(array: Array) -> NDArray[np.int64]:
    """Count the pixels of each channel that a network could not take as float32; (C,)."""
    with np.errstate(invalid="ignore"):
        fine = np.abs(array) <= np.finfo(np.float32).max  # false of NaN
    bad: NDArray[np.int64] = np.count_nonzero(~fine, axis=(0, 1))
    return bad


def _listed(bad: NDArray[np.int64]) -> str:
    *others, last = (str(place + 1) for place in np.flatnonzero(bad))
    return f"channels {', '.join(others)} and {last}" if others else f"channel {last}"


def content_digest(specimen: Array) -> str:
    """Digest a specimen's pixels, the same for every file layout, byte order and name.

    Parameters
    ----------
    specimen : (height, width, channels) array

    Returns
    -------
    str
        16 hexadecimal digits (BLAKE2b over the shape, the dtype and the little-endian pixels).
    """
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{specimen.shape}{specimen.dtype.str[1:]}".encode())
    little = specimen.astype(specimen.dtype.newbyteorder("<"), copy=False)
    digest.update(np.ascontiguousarray(little).data)
    return digest.hexdigest()


def contents_of(name: str, file: ArrayFile, layout: Layout) -> Contents:
    """Say what an open file holds, as `describe` does."""
    shape, channels = file.shape, layout.channels
    if file.dtype.kind not in "biuf":
        kind = "complex numbers" if file.dtype.kind == "c" else f"values of type {file.dtype}"
        raise SpecimenError(
            f"{name} holds {kind}; a specimen needs real numbers or integers. Save its real part or magnitude."
        )
    wanted = _wanted(layout)
    another = (
        f"{name} holds an array of shape {shape}; {wanted}. If your specimens have another number of channels, "
        f"set it (--channels at a terminal; 'Open specimens…' in napari); a classifier takes as many as it was "
        f"trained on."
    )
    if 0 in shape:
        raise SpecimenError(f"{name} holds no pixels: its array has the shape {shape}; {wanted}.")
    if len(shape) == 2 and channels == 1:
        return Contents(None, *shape, 1, _native(file.dtype), False)
    if len(shape) not in (3, 4):
        raise SpecimenError(another)
    image = shape[-3:]
    first, last = image[0] == channels, image[-1] == channels
    if first and last and layout.axis == "auto":
        raise SpecimenError(
            f"{name} holds an array of shape {shape}, where {channels} channels may stand first or last. "
            f"Say which (--channel-axis at a terminal; 'Open specimens…' in napari)."
        )
    channels_first = layout.axis == "first" or (layout.axis == "auto" and first)
    if not (first if channels_first else last):
        raise SpecimenError(another)
    height, width = image[1:] if channels_first else image[:2]
    return Contents(
        shape[0] if len(shape) == 4 else None, height, width, channels, _native(file.dtype), channels_first
    )


def _wanted(layout: Layout) -> str:
    """Say which shapes a file may have."""
    count = layout.channels
    last, first = f"(height, width, {count})", f"({count}, height, width)"
    single = {"last": last, "first": first, "auto": f"{last} or {first}"}[layout.axis]
    stack = first if layout.axis == "first" else last
    return f"a specimen needs {count} channel{'s' * (count > 1)}: {single}, or (number, {stack[1:]} for a stack"


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")
