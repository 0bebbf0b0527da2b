"""Where work runs: here, in several processes of this machine, or on a Dask cluster.

`Place` is the choice; `execute` sends tasks there and gives their results back in order. A task is plain data and
is worked on by a function of a module, so that both can travel. How they travel is in `processes` and `cluster`,
which are loaded only when asked for.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from threading import Thread
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeVar

from napari_ctc.apply.workers import Shared, TaskLost, not_seen
from napari_ctc.errors import PlaceError
from napari_ctc.events import Event, Job, Said

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest

T = TypeVar("T")
R = TypeVar("R")

PULSE = 0.2  # seconds between signs of life
AHEAD = 3  # tasks sent for each that can be computed at once: none waits for the caller, and memory stays flat
MOST_PROCESSES = 256
MOST_LOST = (
    20  # tasks until what ends its workers is no longer tried in smaller pieces: it is hardly the files then
)


@dataclass(frozen=True)
class Place:
    """Where work runs.

    Parameters
    ----------
    kind : "here", "processes" or "cluster"
    processes : int
        How many, where kind is "processes".
    address : str
        Of the scheduler, where kind is "cluster": tcp://HOST:PORT.
    """

    kind: Literal["here", "processes", "cluster"] = "here"
    processes: int = 1
    address: str = ""

    @classmethod
    def parse(cls, text: str | Place) -> Place:
        """Understand `here`, `processes:N` or `tcp://HOST:PORT`.

        Raises
        ------
        PlaceError
            With what was expected instead.
        """
        if isinstance(text, Place):
            return text
        asked = text.strip()
        kind, _, rest = asked.partition(":")
        if asked.lower() == "here":
            return cls()
        if kind.lower() == "processes":
            if not rest.strip().isdecimal() or not 1 <= int(rest) <= MOST_PROCESSES:
                raise PlaceError(
                    f"'{asked}' does not say how many processes. Write a number from 1 to {MOST_PROCESSES}, as in "
                    f"processes:4; one for each CPU core is most often the fastest."
                )
            return cls("processes", int(rest))
        if re.fullmatch(r"(tcp|tls)", kind, re.IGNORECASE):
            found = re.fullmatch(r"//([^\s/:\[\]]+|\[[0-9a-fA-F:.]+\]):(\d{1,5})/?", rest)
            if found is None or not 1 <= int(found[2]) <= 65535:
                raise PlaceError(
                    f"'{asked}' is not the address of a Dask scheduler. Write {kind.lower()}://HOST:PORT, as "
                    f"'dask scheduler' prints it when it starts, for instance tcp://192.168.1.7:8786."
                )
            return cls("cluster", address=f"{kind.lower()}://{found[1]}:{found[2]}")
        raise PlaceError(
            f"'{asked}' is no place where work can run. Write here, processes:N (N processes of this machine), or "
            f"tcp://HOST:PORT (a Dask scheduler that runs)."
        )

    def __str__(self) -> str:
        return {"here": "here", "processes": f"processes:{self.processes}"}.get(self.kind, self.address)

    @property
    def words(self) -> str:
        """The place in a sentence: "in 2 processes"."""
        several = f"in {self.processes} process{'es' * (self.processes > 1)}"
        return {"here": "here", "processes": several}.get(self.kind, f"on the cluster at {self.address}")


def must_see(manifest: Manifest) -> tuple[str, ...]:
    """Name what workers must see of specimens: their folder, and the first and last file that are here."""
    ends = (manifest.locate(row)[0] for row in (0, len(manifest) - 1))
    return tuple(dict.fromkeys(str(path) for path in (manifest.root, *ends) if not not_seen((str(path),))))


@dataclass(frozen=True)
class Done(Generic[R]):
    """A task that was worked on: its number, from 0, and what its function returned."""

    number: int
    value: R


@dataclass(frozen=True)
class Lost(Generic[T]):
    """A task that ended its workers each time it was tried: its number, from 0, why in a sentence, and itself."""

    number: int
    reason: str
    task: T


class Executor(Protocol):
    """What a place must be able to do."""

    @property
    def slots(self) -> int:
        """How many tasks it computes at once."""

    def submit(self, function: Callable[[Any, T], R], task: T, suspect: bool = False) -> Future[R]:
        """Take a task. The future raises `TaskLost` if its workers end each time that it is tried.

        A suspect may well end its worker: no other task should suffer by it.
        """

    def look(self) -> str:
        """Say what is worth telling meanwhile, or nothing; raises `PlaceError` if the place has vanished."""

    def close(self) -> None:
        """Give up whatever is not done, within a second."""


def execute(
    place: Place,
    function: Callable[[Any, T], R],
    tasks: Iterable[T],
    shared: Shared,
    smaller: Callable[[T], Sequence[T]] = lambda task: (),
) -> Generator[Event | Done[R] | Lost[T]]:
    """Work on tasks elsewhere, a bounded number at once.

    Parameters
    ----------
    place : Place
        Processes or a cluster.
    function : callable
        Of a module, so that it can travel: takes what `shared` is opened to, and a task.
    tasks : iterable
        Of plain data. Taken from as there is room, and never more than that.
    shared : Shared
    smaller : callable, optional
        Cuts a task that ends its workers into several, in order, which are then tried instead of it, and so on
        until it gives fewer than two. Their outcomes have the task's number, and come in its place.

    Yields
    ------
    Done or Lost
        For each task, in the order of the tasks.
    Event
        A sign of life every 200 ms, and `Said` if something is worth telling. Closing the generator between two
        of these gives up all that is not done within a second.

    Raises
    ------
    PlaceError
        If the place cannot be reached, cannot work, or has vanished.
    Exception
        Whatever the function raises.
    """
    executor = yield from _opened(place, shared)
    with closing(executor):
        numbered = enumerate(tasks)
        waiting: deque[tuple[int, T, Future[R]]] = deque()
        lost = 0
        while True:
            room = AHEAD * max(1, executor.slots) - len(waiting)
            waiting.extend(
                (number, task, executor.submit(function, task)) for number, task in islice(numbered, max(0, room))
            )
            if not waiting:
                return
            number, task, future = waiting[0]
            if not wait([future], timeout=PULSE).done:
                said = executor.look()
                yield Said(text=said, warning=True) if said else Event()
                continue
            waiting.popleft()
            try:
                yield Done(number, future.result(timeout=0))
                continue
            except TaskLost as problem:
                reason = str(problem)
            pieces = smaller(task)
            if len(pieces) > 1 and lost < MOST_LOST:
                tried = [(number, piece, executor.submit(function, piece, suspect=True)) for piece in pieces]
                waiting.extendleft(reversed(tried))
                yield Said(text="Something ends whoever works on it: trying it in smaller pieces.", warning=True)
                continue
            lost += 1
            yield Lost(number, f"{reason} It was tried with others." if len(pieces) > 1 else reason, task)


def _opened(place: Place, shared: Shared) -> Job[Executor]:
    """Reach a place, in a thread that is left behind if the job is given up meanwhile."""

    def reach() -> None:
        try:
            future.set_result(_executor(place, shared))
        except BaseException as problem:
            future.set_exception(problem)

    future: Future[Executor] = Future()
    Thread(target=reach, name="napari-ctc reach", daemon=True).start()
    try:
        while not wait([future], timeout=PULSE).done:
            yield Event()
    except BaseException:
        future.add_done_callback(_close_late)
        raise
    return future.result(timeout=0)


def _close_late(late: Future[Executor]) -> None:
    if late.exception() is None:
        late.result().close()


def _executor(place: Place, shared: Shared) -> Executor:
    if place.kind == "processes":
        from napari_ctc.apply.processes import Processes

        return Processes(place.processes, shared)
    if place.kind == "cluster":
        try:
            from napari_ctc.apply.cluster import Cluster
        except ImportError:
            raise PlaceError(
                "To run on a cluster, the package distributed is needed, and it is not installed. Run: "
                "pip install 'napari-ctc[cluster]'"
            ) from None
        return Cluster(place.address, shared)
    raise ValueError(f"{place} needs no executor: call the function.")
