"""Pack many specimens of one shape into one file: an `(N, H, W, C)` stack, and the manifest of who is where in it.

A million small files are what takes longest to list, open and copy; a stack is one file, read in place. The stack
is written as it goes, in parts, and each part is noted in a log once it is on the disk: after a kill, the same
call goes on behind the last part whose bytes, and whose specimens' files, are as the log says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from napari_ctc.data.files import check_writable
from napari_ctc.data.formats import Array
from napari_ctc.data.growing import GrowingStack, state_of
from napari_ctc.data.locks import Lock
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import CTCError, LockedError, SpecimenError, Stopped
from napari_ctc.events import Event, Job, Said, Saved, Skipped

AT_ONCE = 256  # specimens in a part
READERS_AT_ONCE = 4
PULSE = 0.2  # seconds between signs of life


@dataclass(frozen=True)
class Packed:
    """What `pack` made.

    Parameters
    ----------
    path, manifest : Path
        The stack and its manifest.
    specimens : int
    left_out : int
        Those that cannot be read, or differ in shape or dtype.
    stopped : bool
        Whether a person stopped it: then neither file is there yet, and the same call goes on.
    """

    path: Path
    manifest: Path
    specimens: int
    left_out: int
    stopped: bool = False


def pack(inputs: Manifest, out: str | Path) -> Job[Packed]:
    """Write specimens of one shape and dtype into one stack, with a manifest beside it.

    Parameters
    ----------
    inputs : Manifest
        The first that can be read decides the shape and the dtype; those that differ are left out.
    out : path
        Ends in .npy. The manifest gets the same name with .csv: labels, sources and marks as in `inputs`, and the
        columns ``origin`` (the specimen's key before) and ``pixels`` (the digest of its pixels).

    Yields
    ------
    Said, Event, Skipped, Saved

    Raises
    ------
    CTCError
        If one of the two files exists already, the disk is full, an unfinished pack of other specimens is here, or
        another program is writing this one.
    """
    out = Path(out).absolute()
    if out.suffix.lower() != ".npy":
        raise CTCError(f"{out.name} should end in .npy. Give --out a name such as {out.stem}.npy.")
    check_writable(out)
    try:
        with _locked(out):
            return (yield from _packed(inputs, out))
    except OSError as problem:
        raise CTCError(
            f"{out.name} cannot be written: {problem.strerror or problem}. Free space or check your rights there, "
            f"then do the same again: it goes on from here."
        ) from problem


def _packed(inputs: Manifest, out: Path) -> Job[Packed]:
    for note in inputs.notes:
        yield Said(text=note, warning=True)
    stack = GrowingStack(out, inputs)
    done = yield from stack.resume(len(inputs))
    stopped = False
    try:
        yield from _append(stack, inputs, done)
    except Stopped:
        stopped = True
    finally:
        stack.close()
    count = sum(len(part.rows) for part in stack.parts)
    seen = stack.parts[-1].stop if stack.parts else 0
    if not stopped and not count:
        stack.discard()
        raise SpecimenError("No specimen could be read, so there is nothing to pack. Look at the reasons given.")
    if not stopped:
        stack.finish()
        with suppress(Stopped):  # too late: all is done
            yield Saved(path=out, done=len(inputs), total=len(inputs))
    return Packed(out, out.with_suffix(".csv"), count, seen - count, stopped)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep other programs from packing into the same file meanwhile."""
    try:
        lock = Lock.take(out.with_name(f".{out.stem}.packing.lock"), "napari-ctc pack")
    except LockedError as problem:
        raise CTCError(
            f"{out.name} is being written by {problem}. Wait until it is done, or choose another name."
        ) from None
    try:
        yield
    finally:
        lock.release()


def _append(stack: GrowingStack, inputs: Manifest, done: int) -> Job[None]:
    """Read ahead in threads, and write part after part."""
    total = len(inputs)
    spans = iter([range(start, min(start + AT_ONCE, total)) for start in range(done, total, AT_ONCE)])
    pool = ThreadPoolExecutor(READERS_AT_ONCE, thread_name_prefix="napari-ctc pack")
    waiting: deque[tuple[range, Future[tuple[str, list[Array | SpecimenError]]]]] = deque()
    try:
        waiting.extend((span, pool.submit(_read, inputs, span)) for span in islice(spans, READERS_AT_ONCE + 1))
        while waiting:
            span, future = waiting.popleft()
            while not wait([future], timeout=PULSE).done:
                yield Event(done=done, total=total)
            state, answers = future.result()
            waiting.extend((next_, pool.submit(_read, inputs, next_)) for next_ in islice(spans, 1))
            reasons = stack.append(span, state, answers)
            done = span.stop
            for row, reason in reasons:
                yield Skipped(path=str(inputs.table["path"].iat[row]), reason=reason, done=done, total=total)
            yield Event(done=done, total=total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(inputs: Manifest, rows: range) -> tuple[str, list[Array | SpecimenError]]:
    state = state_of(inputs, rows)  # before they are read: what changes meanwhile is read again another time
    answers: list[Array | SpecimenError] = []
    for row in rows:
        try:
            answers.append(inputs.specimen(row))
        except SpecimenError as problem:
            answers.append(problem)
    return state, answers
