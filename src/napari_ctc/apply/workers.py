"""What a worker does with a task, wherever it is: look whether it can, open what it was sent once, and compute.

Knows no transport: `processes` and `cluster` bring the tasks here and the answers back.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from napari_ctc.errors import PlaceError
from napari_ctc.learn.memory import reuse_memory

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Shared:
    """What every worker needs for all tasks alike, sent to each once: a classifier, for instance.

    Parameters
    ----------
    data : bytes
    opened_by : callable
        A function of a module that makes of the bytes what the tasks are given; it refuses bytes that are wrong.
    paths : tuple of str
        Files and folders that each worker must see under the same names.
    """

    data: bytes
    opened_by: Callable[[bytes], Any]
    paths: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass
class _Held:
    shared: Shared
    jobs: int = 1
    opened: Any = None


class TaskLost(Exception):
    """A task whose workers ended again and again; the message is a sentence."""


_held: dict[str, _Held] = {}
_lock = Lock()  # a worker of a cluster may compute in several threads


def hold(shared: Shared) -> None:
    """Keep for the tasks of a job what they share, and the memory that they free."""
    with _lock:
        reuse_memory()
        if shared.digest in _held:
            _held[shared.digest].jobs += 1
        else:
            _held[shared.digest] = _Held(shared)


def let_go(digest: str) -> None:
    """Forget it, when the last job that needs it has ended."""
    with _lock:
        held = _held.get(digest)
        if held is not None:
            held.jobs -= 1
            if held.jobs <= 0:
                del _held[digest]
            reuse_memory(False)


def perform(function: Callable[[Any, T], R], digest: str, task: T) -> R:
    """Do one task with what was sent before it under this digest.

    Raises
    ------
    PlaceError
        If this worker does not see the images, or was not given what the job shares.
    """
    with _lock:
        held = _held.get(digest)
    if held is None:
        raise PlaceError(f"The worker {here()} was not given what this job shares. Start the job again.")
    if unseen := not_seen(held.shared.paths):
        raise PlaceError(cannot_see(here(), unseen))
    with _lock:
        if held.opened is None:
            if hashlib.sha256(held.shared.data).hexdigest() != digest:
                raise PlaceError(f"What this job shares arrived damaged at the worker {here()}. Start it again.")
            held.opened = held.shared.opened_by(held.shared.data)
    return function(held.opened, task)


def not_seen(paths: tuple[str, ...]) -> str:
    """Name the first of these paths that does not exist here; nothing if all do."""
    for path in paths:
        try:
            Path(path).stat()
        except OSError:  # also where its folder may not be entered
            return path
    return ""


def cannot_see(worker: str, path: str) -> str:
    """Say that a worker does not see a path."""
    return (
        f"The worker {worker} does not see {path}. Workers read the images themselves: put them in a folder that "
        f"all of them see under the same name, such as a shared drive, and open them from there."
    )


def here() -> str:
    """Name this worker for a sentence: its process and its machine."""
    return f"{os.getpid()} on {platform.node() or 'this machine'}"


def cores() -> int:
    """How many CPU cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))  # a batch system may have lent fewer than there are
    return os.cpu_count() or 1


def use_threads(count: int) -> None:
    """Let the network compute in so many threads here, whether torch is loaded yet or not."""
    os.environ["OMP_NUM_THREADS"] = str(count)
    if (torch := sys.modules.get("torch")) is not None and torch.get_num_threads() != count:
        torch.set_num_threads(count)
