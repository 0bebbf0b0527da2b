"""Memory that was freed: whether it is given back to the system, or kept to be used again."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Lock

_TRIM, _MAP = -1, -3  # what glibc calls M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_TRIM_OF_DASK = "65536"
# Bytes that may lie free before some are given back; and of one array that is fetched and given back by itself.
_KEPT = (2**29, 2**25)
_USUAL = (2**26, 2**25)  # what glibc comes to by itself once something large was freed
_OF_DASK = (2**16, 2**17)


class _Wanted:
    """How many jobs want freed memory to be kept; they may run in several threads."""

    def __init__(self) -> None:
        self.jobs, self.lock = 0, Lock()


_wanted = _Wanted()


def reuse_memory(reuse: bool = True) -> None:
    """Keep memory that was freed, or give it back to the system as before, when nobody else wants it kept.

    A batch needs much memory for a moment. Left to itself, glibc gives it back as often as not, and fetches it
    anew for the next. Dask starts its workers with a setting by which it always does: a network then takes up to
    twice as long. Whoever chose another value than Dask's keeps it.
    """
    told = os.environ.get("MALLOC_TRIM_THRESHOLD_")
    with _wanted.lock:
        _wanted.jobs += 1 if reuse else -1
        if sys.platform == "linux" and told in (None, _TRIM_OF_DASK):
            usual = _USUAL if told is None else _OF_DASK
            with suppress(OSError, AttributeError):  # another C library has no such setting
                change = ctypes.CDLL(None).mallopt
                for what, value in zip((_TRIM, _MAP), _KEPT if _wanted.jobs else usual, strict=True):
                    change(what, value)


@contextmanager
def reused_memory() -> Iterator[None]:
    """Keep memory that was freed within it, and give it back at the end."""
    reuse_memory()
    try:
        yield
    finally:
        reuse_memory(False)
        give_back()


def give_back() -> None:
    """Give back what was freed, once, after something large that does not come again."""
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
