"""Work in several processes of this machine: one thread here for each process there, which asks and waits.

A process that ends takes one task with it, and the thread knows which: it starts another process and asks again.
Tasks and answers go through pipes that nobody else can open; nothing of it is ever written to a file.
"""

from __future__ import annotations

import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from pickle import PicklingError
from typing import Any, TypeVar

from napari_ctc.apply.workers import Shared, TaskLost, cores, hold, perform, use_threads
from napari_ctc.errors import PlaceError

T = TypeVar("T")
R = TypeVar("R")

TRIES = 2  # as often is a task tried whose process ends
_spawn = multiprocessing.get_context("spawn")  # a fork would copy locks that threads of napari and torch hold


class Processes:
    """Runs tasks in processes of this machine, which share its cores evenly.

    Parameters
    ----------
    count : int
    shared : Shared
        Sent to each process as it starts.
    """

    def __init__(self, count: int, shared: Shared) -> None:
        self.slots = count
        self._shared = shared
        self._mine = threading.local()
        self._lock = threading.Lock()
        self._running: set[_Process] = set()
        self._closed = False
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="napari-ctc process")

    def submit(self, function: Callable[[Any, T], R], task: T, suspect: bool = False) -> Future[R]:
        """Take a task; a suspect is nothing special, since a process has one task at a time."""
        return self._threads.submit(self._ask, function, task)

    def look(self) -> str:
        """Say nothing: a process that ends is told of with its task."""
        return ""

    def close(self) -> None:
        """End the processes at once."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for process in running:
            process.kill()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for process in list(self._running):
            process.buried()

    # ------------------------------------------------------------------- in the thread of one process

    def _ask(self, function: Callable[[Any, T], R], task: T) -> R:
        for _ in range(TRIES):
            process = self._process()
            try:
                value, problem = process.answer(function, task)
            except (EOFError, OSError):
                code = self._bury(process)
                continue
            if problem is not None:
                raise problem
            return value  # type: ignore[no-any-return]
        raise TaskLost(
            f"The process that worked on it ended {TRIES} times ({_ending(code)}). A damaged file can do this, or "
            f"too little memory: try fewer processes."
        )

    def _process(self) -> _Process:
        process: _Process | None = getattr(self._mine, "process", None)
        if process is None:
            with self._lock:
                if self._closed:
                    raise TaskLost("The job was given up.")
                process = self._mine.process = _Process(self._shared, max(1, cores() // self.slots))
                self._running.add(process)
        if not process.ready():
            code = self._bury(process)
            if self._closed:
                raise TaskLost("The job was given up.")
            killed = code is not None and code < 0
            remedy = (
                "There may be too little memory: try fewer processes."
                if killed
                else "If this is a script of your own, put what it does below: if __name__ == '__main__':"
            )
            raise PlaceError(f"A process ended as soon as it started ({_ending(code)}). {remedy}")
        return process

    def _bury(self, process: _Process) -> int | None:
        self._mine.process = None
        with self._lock:
            self._running.discard(process)
        return process.buried()


class _Process:
    """One process, and the pipe to it."""

    def __init__(self, shared: Shared, threads: int) -> None:
        self._pipe, theirs = _spawn.Pipe()
        # What is shared goes through the pipe: if one ends before it has taken large arguments, Python waits on.
        self._shared = shared
        self._process = _spawn.Process(
            target=_serve, args=(theirs, threads), name="napari-ctc process", daemon=True
        )
        with _without_interrupts():
            self._process.start()
        theirs.close()  # so that the pipe ends when the process does
        self._begun = False

    def ready(self) -> bool:
        """Wait until it has started; False if it ended instead."""
        if not self._begun:
            with suppress(EOFError, OSError):
                self._pipe.send(self._shared)
                self._begun = self._pipe.recv() == _READY
        return self._begun

    def answer(self, function: Callable[[Any, T], R], task: T) -> tuple[Any, Exception | None]:
        """Ask, and wait for what it returned or raised; EOFError or OSError if the process ends instead."""
        self._pipe.send((function, task))
        answer: tuple[Any, Exception | None] = self._pipe.recv()
        return answer

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def buried(self) -> int | None:
        """Give its exit code, when it has ended."""
        self._process.kill()
        self._process.join(5)
        self._pipe.close()
        return self._process.exitcode


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Keep Ctrl+C from what is started, from its first moment on: while Python begins there, it would complain."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # it lets interrupts through again when it begins
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_READY = "ready"


def _serve(pipe: Connection[Any, Any], threads: int) -> None:
    """Answer until the pipe ends, as it does when the process at its other end is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the job, which then ends this process
    use_threads(threads)
    with suppress(EOFError, BrokenPipeError):
        shared = pipe.recv()
        hold(shared)
        pipe.send(_READY)
        while True:
            function, task = pipe.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = perform(function, shared.digest, task), None
            except Exception as problem:
                answer = None, problem
            try:
                pipe.send(answer)
            except (TypeError, AttributeError, PicklingError) as problem:
                pipe.send((None, RuntimeError(f"An answer could not be sent back: {problem}")))


def _ending(code: int | None) -> str:
    """Say how a process ended."""
    if code is not None and code < 0:
        with suppress(ValueError):
            return f"by {signal.Signals(-code).name}"
    return f"with code {code}"
