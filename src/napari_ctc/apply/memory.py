"""Memory that was freed: whether it is given back to the system, or kept to be used again."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

import pyarrow as pa

_TRIM, _MAP = -1, -3  # what glibc calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_TRIM_OF_DASK = "65536"


def reuse_memory(reuse: bool = True) -> None:
    """Let a worker of Dask use memory again that was freed, or give it back to the system as it was told to.

    Dask starts workers with a setting of glibc by which each tensor is fetched from the system and given back; a
    network then takes up to twice as long. Whoever chose another value than Dask's keeps it.
    """
    if sys.platform == "linux" and os.environ.get("MALLOC_TRIM_THRESHOLD_") == _TRIM_OF_DASK:
        with suppress(OSError, AttributeError):  # another C library has no such setting
            change = ctypes.CDLL(None).mallopt
            change(_TRIM, 2**28 if reuse else int(_TRIM_OF_DASK))
            change(_MAP, 2**25 if reuse else 2**17)


def give_back() -> None:
    """Give back what was freed, once, after something large that does not come again.

    Both allocators keep what a long listing needed for a moment, in pieces that a network cannot use.
    """
    pa.default_memory_pool().release_unused()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
