"""File formats: open a file that holds specimens without reading its pixels.

`READERS` is the one place to add a format. What the arrays mean is in `specimens`.
"""

from __future__ import annotations

import errno
import io
import math
import os
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_ctc.errors import SpecimenError, UnreachableError

Array = NDArray[Any]

_NO_HEADER = (  # what NumPy and Python's parser raise at a damaged header; the last two at one nested very deeply
    ValueError,
    SyntaxError,
    EOFError,
    TypeError,
    tokenize.TokenError,
    RecursionError,
    MemoryError,
)


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
        shape, fortran, dtype = parse_header(header)
    except _NO_HEADER as problem:
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
def parse_header(header: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Parse an `.npy` header: shape, whether in Fortran order, dtype.

    Cached, since the files of a folder mostly share one header, byte for byte.
    """
    file = io.BytesIO(header)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version[0] == 1 else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(type(side) is not int or side < 0 for side in shape):  # True counts as a whole number in Python
        raise ValueError("a shape that no array has")
    return shape, fortran, dtype


def _read_npy(
    path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], fortran: bool, start: int, index: int | None
) -> Array:
    if index is None:
        flat = _values(path, dtype, math.prod(shape), start)
        return flat.reshape(shape, order="F" if fortran else "C")
    if fortran:  # one entry is scattered over the file: map it rather than read it all
        entry: Array = np.array(np.load(path, mmap_mode="r", allow_pickle=False)[index])
        return entry
    pixels = math.prod(shape[1:])
    flat = _values(path, dtype, pixels, start + index * pixels * dtype.itemsize)
    return flat.reshape(shape[1:])


def _values(path: Path, dtype: np.dtype[Any], count: int, start: int) -> Array:
    values = np.fromfile(path, dtype=dtype, count=count, offset=start)
    if len(values) < count:  # the file was long enough a moment ago, and NumPy does not say that a disk failed
        raise OSError(errno.EIO, "only a part of it could be read")
    return values


READERS: dict[str, Callable[[Path], ArrayFile]] = {".npy": open_npy}
"""File formats: suffix in lower case -> a function that opens one file (add its pattern to napari.yaml)."""


def is_specimen_file(path: str | os.PathLike[str]) -> bool:
    """Tell from its name whether a file may hold specimens."""
    name = os.fspath(path)  # asked of 100,000 names at once, which `os.path.splitext` takes its time for
    return name[name.rfind(".") :].lower() in READERS


def open_file(path: Path) -> ArrayFile:
    """Open a file with the reader of its format.

    Raises
    ------
    SpecimenError
        If it cannot be opened; an `UnreachableError` where that lies with the system, not with the file.
    """
    try:
        return READERS[path.suffix.lower()](path)
    except KeyError:
        known = ", ".join(READERS)
        raise SpecimenError(f"{path.name} is of a format that is not read here (known: {known}).") from None
    except FileNotFoundError:
        raise UnreachableError(f"{path.name} does not exist (looked in {path.parent}).") from None
    except OSError as problem:
        why = problem.strerror or problem
        kind = SpecimenError if problem.errno is None else UnreachableError
        raise kind(f"{path.name} cannot be opened: {why}. Check the file and its rights.") from problem
