"""Work on a Dask cluster whose scheduler runs somewhere. The only file that names Dask.

The scheduler retries the tasks of workers that die, and hands what is shared to each worker that joins, also late.
"""

from __future__ import annotations

import logging
import os
from asyncio import CancelledError as AsyncCancelledError
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from importlib import metadata
from threading import Event, Lock, Thread
from time import monotonic, sleep
from typing import Any, TypeVar
from uuid import uuid4
from weakref import WeakSet

from distributed import Client, KilledWorker, WorkerPlugin
from distributed.comm.core import CommClosedError

from napari_ctc import __version__
from napari_ctc.apply.workers import (
    Shared,
    TaskLost,
    cannot_see,
    cores,
    hold,
    let_go,
    not_seen,
    perform,
    use_threads,
)
from napari_ctc.errors import PlaceError

T = TypeVar("T")
R = TypeVar("R")

CONNECT = 10.0  # seconds to reach the scheduler, and then for its first worker
ANSWER = 60.0  # seconds for all workers to answer a question before the work begins
PATIENCE = 600.0  # seconds without any worker until the job is ended
LOOK = 1.0  # seconds between two looks at the workers
FAREWELL = 0.7  # seconds to say goodbye
TRIES = 10


class Cluster:
    """Runs tasks on the workers of a Dask scheduler.

    Parameters
    ----------
    address : str
    shared : Shared
        Handed to each worker once, by the scheduler, when it joins.

    Raises
    ------
    PlaceError
        If the scheduler does not answer or has no workers, or a worker lacks napari-ctc or cannot see the images.
    """

    def __init__(self, address: str, shared: Shared) -> None:
        self._address, self._shared = address, shared
        self._name = f"napari-ctc {shared.digest[:8]} {uuid4().hex[:8]}"
        self._ended = Event()
        self._told = False
        self._suspects = Lock()
        self._asked: WeakSet[Any] = WeakSet()  # futures of Dask
        logging.getLogger("distributed.client").addFilter(_worth_saying)
        try:
            self._client = Client(address, timeout=CONNECT, set_as_default=False, name="napari-ctc")
        except (OSError, ValueError) as problem:
            raise PlaceError(
                f"No Dask scheduler answers at {address}. Start one with 'dask scheduler', and give the address "
                f"that it prints ({problem})."
            ) from problem
        try:
            self.slots = self._first_workers()
            self._check_workers()
            self._hand_out()
        except BaseException:
            self.close()
            raise
        self._seen = monotonic()
        Thread(target=self._watch, name="napari-ctc watch", daemon=True).start()

    def submit(self, function: Callable[[Any, T], R], task: T, suspect: bool = False) -> Future[R]:
        """Take a task; a suspect waits until no other one is at work."""
        answer: Future[R] = Future()
        if suspect:
            self._once_more(function, task, answer)
            return answer
        asked = self._ask_for(function, task)
        asked.add_done_callback(lambda done: self._pass_on(done, answer, (function, task)))
        return answer

    def look(self) -> str:
        """Tell once that no worker is there; raises when the scheduler is gone, or workers do not come back."""
        if self._client.status != "running":
            raise self._vanished()
        if self.slots:
            self._told = False
            return ""
        if monotonic() - self._seen > PATIENCE:
            raise PlaceError(
                f"The scheduler at {self._address} has had no worker for {PATIENCE / 60:.3g} minutes. Start "
                f"workers with 'dask worker {self._address}', and then the same job again."
            )
        if self._told:
            return ""
        self._told = True
        return f"The scheduler at {self._address} has no worker left; waiting for one to come back."

    def close(self) -> None:
        """Cancel what is not done, and say goodbye without waiting long."""
        self._ended.set()
        farewell = Thread(target=self._farewell, name="napari-ctc farewell", daemon=True)
        farewell.start()
        farewell.join(FAREWELL)

    # ---------------------------------------------------------------------------------- before the work

    def _first_workers(self) -> int:
        with suppress(TimeoutError):
            self._client.wait_for_workers(1, timeout=CONNECT)
        slots: int = sum(self._client.nthreads().values())
        if slots:
            return slots
        raise PlaceError(
            f"The scheduler at {self._address} has no workers. Start some with 'dask worker {self._address}' on "
            f"the machines that are to compute."
        )

    def _check_workers(self) -> None:
        """Refuse workers that lack napari-ctc, or do not see the images."""
        for worker, version in self._ask(metadata.version, "napari-ctc").items():
            if isinstance(version, OSError):
                continue  # it has just died; another one is asked for its task
            if version != __version__:
                has = "is not installed" if isinstance(version, Exception) else f"is version {version}"
                raise PlaceError(
                    f"On the worker {worker}, napari-ctc {has}; here it is {__version__}. Install the same "
                    f"version for all workers: pip install 'napari-ctc[cluster]=={__version__}'"
                )
        for worker, unseen in self._ask(not_seen, self._shared.paths).items():
            if unseen and isinstance(unseen, str):
                raise PlaceError(cannot_see(worker, unseen))

    def _hand_out(self) -> None:
        """Give what is shared to the scheduler, for all workers of now and later."""
        for tries_left in reversed(range(TRIES)):
            try:
                self._client.register_plugin(_Holds(self._shared), self._name)
                return
            except OSError as problem:  # a worker died meanwhile, and the scheduler then tells nobody
                if not tries_left or self._client.status != "running":
                    raise self._vanished() from problem
                sleep(LOOK)

    def _ask(self, function: Callable[..., Any], *args: Any) -> dict[str, Any]:
        """Ask every worker a question; an exception of a worker is its answer."""
        try:
            answers: dict[str, Any] = self._client.sync(
                self._client.run, function, *args, on_error="return", callback_timeout=ANSWER
            )
        except TimeoutError:
            raise PlaceError(
                f"The workers of {self._address} did not all answer within {ANSWER:.0f} seconds. Look whether one "
                f"of them hangs."
            ) from None
        return answers

    # ---------------------------------------------------------------------------------------- meanwhile

    def _watch(self) -> None:
        """Count the workers now and then, in a thread: a scheduler that hangs must not hold up the job."""
        while not self._ended.wait(LOOK):
            with suppress(Exception):  # a scheduler that is gone is noticed by `look`
                self.slots = sum(self._client.nthreads().values())
                if self.slots:
                    self._seen = monotonic()

    def _ask_for(self, function: Callable[[Any, T], R], task: T) -> Future[R]:
        """Give a task to the scheduler."""
        asked: Future[R] = Future()
        remote = self._client.submit(perform, function, self._shared.digest, task, pure=False)
        self._asked.add(remote)
        loop = self._client.loop
        assert loop is not None  # it runs as long as the client is open
        loop.add_callback(_bring, remote, asked)
        return asked

    def _pass_on(
        self, asked: Future[R], answer: Future[R], again: tuple[Callable[[Any, T], R], T] | None = None
    ) -> None:
        problem = asked.exception()
        if problem is None:
            answer.set_result(asked.result())
        elif isinstance(problem, KilledWorker) and again:
            self._once_more(*again, answer)
        elif isinstance(problem, KilledWorker):
            answer.set_exception(
                TaskLost(
                    f"{problem.allowed_failures + 1} workers ended while they worked on it. A damaged file can do "
                    f"this, or too little memory: look at the messages of the workers."
                )
            )
        else:
            # Whichever comes first: the client gives its tasks up, or the fetching of a result is cut off.
            gone = isinstance(problem, (CancelledError, AsyncCancelledError, CommClosedError))
            answer.set_exception(self._vanished() if gone else problem)

    def _once_more(self, function: Callable[[Any, T], R], task: T, answer: Future[R]) -> None:
        Thread(
            target=self._try_alone, args=(function, task, answer), name="napari-ctc once more", daemon=True
        ).start()

    def _try_alone(self, function: Callable[[Any, T], R], task: T, answer: Future[R]) -> None:
        """Try a suspect, one at a time: Dask blames each task that a dying worker had, the innocent too."""
        with self._suspects:
            if self._ended.is_set():
                return
            asked = self._ask_for(function, task)
            while not wait([asked], timeout=LOOK).done:
                if self._ended.is_set():
                    return
        self._pass_on(asked, answer)

    def _vanished(self) -> PlaceError:
        return PlaceError(
            f"The scheduler at {self._address} no longer answers. What is done is kept; start the scheduler and "
            f"its workers, and then the same job again."
        )

    def _farewell(self) -> None:
        with suppress(Exception):
            if self._client.status == "running":
                self._client.cancel(list(self._asked))
                self._client.unregister_worker_plugin(self._name)
        with suppress(Exception):
            self._client.close(timeout=FAREWELL)


def _worth_saying(record: logging.LogRecord) -> bool:
    """Leave out of Dask's log that it gave up a task of its own, which it prints with 30 lines of calls.

    It does so where a scheduler has vanished, just before the sentence that says it.
    """
    return not (record.exc_info and isinstance(record.exc_info[1], AsyncCancelledError))


async def _bring(remote: Any, asked: Future[Any]) -> None:
    """Bring the outcome of a task, whatever it is.

    The executor that Dask offers forgets a task whose worker ends before its result was fetched, if those that try
    it next end too: its future is never done, and whoever waits for it waits for ever.
    """
    try:
        asked.set_result(await remote)
    except BaseException as problem:  # of the task, of the workers, or of a client that is being closed
        asked.set_exception(problem)


class _Holds(WorkerPlugin):
    """Brings what is shared to a worker, and takes it away."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared

    def setup(self, worker: Any) -> None:
        """Come to a worker, and divide its cores among its threads, unless it was told how many each may use."""
        if not os.environ.get("OMP_NUM_THREADS"):  # `dask worker` says 1 by itself, save with --no-nanny
            use_threads(max(1, cores() // worker.state.nthreads))
        hold(self.shared)

    def teardown(self, worker: Any) -> None:
        """Leave it."""
        let_go(self.shared.digest)
