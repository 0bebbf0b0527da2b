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
_KEPT = (
    2**29,
    2**25,
)  # bytes that may lie free before some are given back; what is fetched, and given back, alone
_USUAL = (2**26, 2**25)  # what glibc comes to by itself once something large was freed
_OF_DASK = (2**16, 2**17)

_asked: list[None] = []  # for each who needs it now
_lock = Lock()


def reuse_memory(reuse: bool = True) -> None:
    """Keep memory that was freed, or give it back to the system as before.

    A batch needs much memory for a moment. Left to itself, glibc gives it back as often as not, and fetches it
    anew for the next. Dask starts its workers with a setting by which it always does: a network then takes up to
    twice as long. Whoever chose another value than Dask's keeps it.

    It is kept until everyone who asked for it has said that they no longer need it.
    """
    with _lock:
        _asked.append(None) if reuse else _asked.pop()
        kept = bool(_asked)
    told = os.environ.get("MALLOC_TRIM_THRESHOLD_")
    if sys.platform == "linux" and told in (None, _TRIM_OF_DASK):
        usual = _USUAL if told is None else _OF_DASK
        with suppress(OSError, AttributeError):  # another C library has no such setting
            change = ctypes.CDLL(None).mallopt
            for what, value in zip((_TRIM, _MAP), _KEPT if kept else usual, strict=True):
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
