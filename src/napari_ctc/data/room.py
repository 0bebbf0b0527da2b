"""Memory for one batch after the other, in one thread.

A large array that is fetched from the system and given back for each batch costs more than to fill it: the system
clears every page of it anew.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

PAGE = 4096  # bytes; arrays begin at one, since what lies across lines of the cache is fetched twice


class Room:
    """Bytes that are used again: what is asked for next lies where the array before it lay."""

    def __init__(self) -> None:
        self._bytes = np.empty(0, np.uint8)

    def array(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Give an array, not filled, that is true until the next is asked for."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if len(self._bytes) < size:
            room = np.empty(size + PAGE, np.uint8)
            self._bytes = room[-room.ctypes.data % PAGE :]
        return self._bytes[:size].view(dtype).reshape(shape)
