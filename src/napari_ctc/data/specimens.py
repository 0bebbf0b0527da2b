"""Read specimens: which files hold them, what is in a file, and one specimen of it.

`READERS` is the one place to add a file format. Every reading function returns specimens as `(height, width,
channels)` in the file's own dtype, native byte order, and raises `SpecimenError` with a sentence for everything
that cannot be read. Tables of specimens live in `manifest`, lazy stacks for the viewer in `stacks`.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.errors import SpecimenError
from napari_ctc.settings import ChannelAxis

Array = NDArray[Any]


@dataclass(frozen=True)
class ArrayFile:
    """What a file's header says, and how to read the rest.

    Parameters
    ----------
    shape : tuple of int
    dtype : numpy.dtype
        As stored; of either byte order.
    read : callable
        ``read(None)`` returns the whole array, ``read(i)`` entry `i` of its first axis.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    read: Callable[[int | None], Array]


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


# ---------------------------------------------------------------------------------------------- formats


def open_npy(path: Path) -> ArrayFile:
    """Open a NumPy `.npy` file without reading its pixels; a pickled one is refused unread.

    Raises
    ------
    SpecimenError
        If the file is no `.npy` file, is cut short, or holds Python objects.
    """
    with path.open("rb") as file:
        start = file.read(128)
        size = os.fstat(file.fileno()).st_size
        _refuse_foreign(path.name, start)
        length = int.from_bytes(start[8:10], "little") + 10
        if start[6] > 1:
            length = int.from_bytes(start[8:12], "little") + 12
        if length > 65_536:
            raise SpecimenError(f"{path.name} has a damaged header. Please save the specimen again.")
        header = start[:length] if length <= 128 else start + file.read(length - 128)
    try:
        shape, fortran, dtype = _parse_header(header)
    except (ValueError, SyntaxError, EOFError, TypeError, tokenize.TokenError) as problem:
        raise SpecimenError(f"{path.name} has a damaged header. Please save the specimen again.") from problem
    if dtype.hasobject:
        raise SpecimenError(
            f"{path.name} holds pickled Python objects, which can run code when opened, so it is never opened. "
            f"Save the specimen as an array of plain numbers."
        )
    expected = length + dtype.itemsize * math.prod(shape)
    if size < expected:
        raise SpecimenError(
            f"{path.name} is cut short: it has {size:,} bytes of {expected:,}. Copy or save it again."
        )
    return ArrayFile(shape, dtype, partial(_read_npy, path, shape, dtype, fortran, length))


def _refuse_foreign(name: str, start: bytes) -> None:
    if not start:
        raise SpecimenError(f"{name} is empty (0 bytes). Copy or save it again.")
    if start[:1] == b"\x80":
        raise SpecimenError(
            f"{name} is a Python pickle, which can run code when opened, so it is never opened. "
            f"Save the specimen with numpy.save."
        )
    if start[:6] != b"\x93NUMPY" or len(start) < 16:
        raise SpecimenError(
            f"{name} is not a NumPy file, whatever its name says. Save the specimen with numpy.save."
        )


@lru_cache(maxsize=256)
def _parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Parse an `.npy` header. Cached, since the files of a folder mostly share one header, byte for byte."""
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(side < 0 for side in shape):
        raise ValueError("a negative shape")
    return shape, fortran, dtype


def _read_npy(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool, start: int, index: int | None
) -> Array:
    if index is None:
        flat = np.fromfile(path, dtype=dtype, count=math.prod(shape), offset=start)
        return flat.reshape(shape, order="F" if fortran else "C")
    if fortran:  # one entry is scattered over the file: map it rather than read it all
        entry: Array = np.array(np.load(path, mmap_mode="r", allow_pickle=False)[index])
        return entry
    pixels = math.prod(shape[1:])
    flat = np.fromfile(path, dtype=dtype, count=pixels, offset=start + index * pixels * dtype.itemsize)
    return flat.reshape(shape[1:])


READERS: dict[str, Callable[[Path], ArrayFile]] = {".npy": open_npy}
"""File formats: suffix in lower case -> a function that opens one file (add its pattern to napari.yaml)."""


# ---------------------------------------------------------------------------------------- files and keys


def is_specimen_file(path: str | os.PathLike[str]) -> bool:
    """Tell from its name whether a file may hold specimens."""
    return Path(path).suffix.lower() in READERS


def find_files(folder: Path) -> list[Path]:
    """List every specimen file below a folder, in natural order ("2" before "10"), hidden ones left out."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            os.path.join(parent, name)  # noqa: PTH118 - a Path for each of 100,000 names takes a second
            for name in names
            if not name.startswith(".") and is_specimen_file(name)
        ]
    found.sort(key=_natural)
    return [Path(name) for name in found]


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def split_key(key: str) -> tuple[str, int | None]:
    """Split a specimen's key into its file's path and its index inside a stack (None without one)."""
    path, mark, index = key.rpartition("#")
    if mark and index.isdigit() and is_specimen_file(path):
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
    return _contents(path.name, open_file(path), layout)


def read_specimen(path: Path, index: int | None = None, layout: Layout = Layout()) -> Array:
    """Read one specimen.

    Parameters
    ----------
    path : Path
    index : int or None
        Which specimen of a stack; None for a file that is one specimen.
    layout : Layout

    Returns
    -------
    (height, width, channels) array
        In the file's own dtype and native byte order (booleans as 0 and 1; long doubles as float64).

    Raises
    ------
    SpecimenError
        If the file or the index cannot be read, or the pixels are not all finite numbers.
    """
    file = open_file(path)
    contents = _contents(path.name, file, layout)
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
    except (OSError, ValueError, EOFError, MemoryError) as problem:
        raise SpecimenError(f"{path.name} cannot be read: {problem}. Copy or save it again.") from problem
    if array.ndim == 2:
        array = array[:, :, None]
    elif contents.channels_first:
        array = np.moveaxis(array, 0, -1)
    with np.errstate(over="ignore"):  # a long double beyond float64 becomes infinite, and is refused as that
        array = array.astype(contents.dtype, copy=False)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(np.count_nonzero(~np.isfinite(array)))
        raise SpecimenError(
            f"{path.name} has {bad:,} pixel values that are not numbers (NaN or infinite). "
            f"Replace them before saving, for instance with numpy.nan_to_num."
        )
    return array


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


def open_file(path: Path) -> ArrayFile:
    """Open a file with the reader of its format.

    Raises
    ------
    SpecimenError
        If it cannot be opened.
    """
    try:
        return READERS[path.suffix.lower()](path)
    except KeyError:
        known = ", ".join(READERS)
        raise SpecimenError(f"{path.name} is of a format that is not read here (known: {known}).") from None
    except FileNotFoundError:
        raise SpecimenError(f"{path.name} does not exist (looked in {path.parent}).") from None
    except OSError as problem:
        why = problem.strerror or problem
        raise SpecimenError(f"{path.name} cannot be opened: {why}. Check the file and its rights.") from problem


def _contents(name: str, file: ArrayFile, layout: Layout) -> Contents:
    shape, channels = file.shape, layout.channels
    if file.dtype.kind not in "biuf":
        kind = "complex numbers" if file.dtype.kind == "c" else f"values of type {file.dtype}"
        raise SpecimenError(
            f"{name} holds {kind}; a specimen needs real numbers or integers. Save its real part or magnitude."
        )
    wanted = (
        f"a specimen needs {channels} channels: (height, width, {channels}) or ({channels}, height, width), "
        f"or (number, height, width, {channels}) for a stack"
    )
    if 0 in shape:
        raise SpecimenError(f"{name} holds no pixels: its array has the shape {shape}; {wanted}.")
    if len(shape) == 2 and channels == 1:
        return Contents(None, *shape, 1, _native(file.dtype), False)
    if len(shape) not in (3, 4):
        raise SpecimenError(f"{name} holds an array of shape {shape}; {wanted}.")
    image = shape[-3:]
    first, last = image[0] == channels, image[-1] == channels
    if first and last and layout.axis == "auto":
        raise SpecimenError(
            f"{name} holds an array of shape {shape}, where {channels} channels may stand first or last. "
            f"Say which with the setting channel_axis (first or last)."
        )
    channels_first = layout.axis == "first" or (layout.axis == "auto" and first)
    if not (first if channels_first else last):
        raise SpecimenError(
            f"{name} holds an array of shape {shape}; {wanted}. If your specimens have another number of "
            f"channels, set it (setting channels)."
        )
    height, width = image[1:] if channels_first else image[:2]
    return Contents(
        shape[0] if len(shape) == 4 else None, height, width, channels, _native(file.dtype), channels_first
    )


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind == "b":
        return np.dtype(np.uint8)
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")
