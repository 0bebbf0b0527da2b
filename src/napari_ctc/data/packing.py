"""Pack many specimens of one shape into one file: an `(N, H, W, C)` stack, and the manifest of who is where in it.

A million small files are what takes longest to list, open and copy; a stack is one file, read in place. The stack
is written as it goes, in parts, and each part is noted in a log once it is on the disk: after a kill, the same
call goes on behind the last part whose bytes are as the log says.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from napari_ctc.data.files import check_writable, write_whole
from napari_ctc.data.formats import Array
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.specimens import content_digest
from napari_ctc.errors import CTCError, SpecimenError, Stopped
from napari_ctc.events import Event, Job, Saved, Skipped

AT_ONCE = 256  # specimens in a part
READERS_AT_ONCE = 4
PULSE = 0.2  # seconds between signs of life
_MAGIC = "napari-ctc pack 1"


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


@dataclass(frozen=True)
class _Part:
    """Some specimens of the input that were written together.

    Parameters
    ----------
    stop : int
        The row of the input behind the part's last.
    rows : list of int
        The rows that are in it.
    pixels : list of str
        Their content digests.
    sha256 : str
        Of the part's bytes in the stack.
    """

    stop: int
    rows: list[int]
    pixels: list[str]
    sha256: str


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
    Event, Skipped, Saved

    Raises
    ------
    CTCError
        If one of the two files exists already, the disk is full, or an unfinished pack of other specimens is here.
    """
    out = Path(out).absolute()
    if out.suffix.lower() != ".npy":
        raise CTCError(f"{out.name} should end in .npy. Give --out a name such as {out.stem}.npy.")
    stack = _Stack(out, inputs)
    done = yield from stack.resume(len(inputs))
    stopped = False
    try:
        yield from _append(stack, inputs, done)
    except Stopped:
        stopped = True
    except OSError as problem:
        raise CTCError(
            f"{out.name} cannot be written: {problem.strerror or problem}. Free space or check your rights there, "
            f"then do the same again: it goes on from here."
        ) from problem
    finally:
        stack.close()
    count = sum(len(part.rows) for part in stack.parts)
    seen = stack.parts[-1].stop if stack.parts else 0
    if not stopped and not count:
        stack.discard()
        raise SpecimenError("No specimen could be read, so there is nothing to pack. Look at the reasons given.")
    if not stopped:
        stack.finish(inputs)
        with suppress(Stopped):  # too late: all is done
            yield Saved(path=out, done=len(inputs), total=len(inputs))
    return Packed(out, out.with_suffix(".csv"), count, seen - count, stopped)


def _append(stack: _Stack, inputs: Manifest, done: int) -> Job[None]:
    """Read ahead in threads, and write part after part."""
    total = len(inputs)
    spans = iter([range(start, min(start + AT_ONCE, total)) for start in range(done, total, AT_ONCE)])
    pool = ThreadPoolExecutor(READERS_AT_ONCE, thread_name_prefix="napari-ctc pack")
    waiting: deque[tuple[range, Future[list[Array | SpecimenError]]]] = deque()
    try:
        waiting.extend((span, pool.submit(_read, inputs, span)) for span in islice(spans, READERS_AT_ONCE + 1))
        while waiting:
            span, future = waiting.popleft()
            while not wait([future], timeout=PULSE).done:
                yield Event(done=done, total=total)
            answers = future.result()
            waiting.extend((next_, pool.submit(_read, inputs, next_)) for next_ in islice(spans, 1))
            reasons = stack.append(span, answers)
            done = span.stop
            for row, reason in reasons:
                yield Skipped(path=str(inputs.table["path"].iat[row]), reason=reason, done=done, total=total)
            yield Event(done=done, total=total)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(inputs: Manifest, rows: range) -> list[Array | SpecimenError]:
    answers: list[Array | SpecimenError] = []
    for row in rows:
        try:
            answers.append(inputs.specimen(row))
        except SpecimenError as problem:
            answers.append(problem)
    return answers


class _Stack:
    """A stack that grows, under temporary names: its bytes, and the log of its parts."""

    def __init__(self, out: Path, inputs: Manifest) -> None:
        self.out = out
        self.bytes = out.with_name(f".{out.stem}.packing.npy.part")
        self.log = out.with_name(f".{out.stem}.packing.log")
        self.parts: list[_Part] = []
        self._shape: tuple[int, ...] = ()  # of one specimen
        self._dtype = np.dtype(np.uint8)
        self._of = hashlib.sha256("\n".join([str(inputs.layout), *inputs.keys]).encode()).hexdigest()
        self._file: BinaryIO | None = None
        self._lines: BinaryIO | None = None

    def resume(self, total: int) -> Job[int]:
        """Open the files, new ones or those of a killed run; returns the row to go on at."""
        begun = self.log.exists()
        for path in () if begun else (self.out, self.out.with_suffix(".csv")):
            if path.exists():
                raise CTCError(f"{path} exists already and is not written over. Choose another name, or move it.")
        check_writable(self.log)
        if begun and not self.bytes.exists() and self.out.exists():
            self.out.replace(self.bytes)  # killed between its last two steps
        self._file = self.bytes.open("r+b" if self.bytes.exists() else "w+b")
        self._lines = self.log.open("r+b" if begun else "w+b")
        try:
            for part in self._sound_parts():
                self.parts.append(part)
                yield Event(done=part.stop, total=total)
        except Stopped:
            self.close()
            raise
        self._file.seek(0, os.SEEK_END)
        return self.parts[-1].stop if self.parts else 0

    def _sound_parts(self) -> Iterator[_Part]:
        """Check the log against the bytes, part by part; what follows the last sound part is cut off."""
        assert self._file is not None
        assert self._lines is not None
        line = self._lines.readline()
        if line.endswith(b"\n"):
            try:
                head = json.loads(line)
                kind, of = head["kind"], head["of"]
                self._shape, self._dtype = tuple(head["shape"]), np.dtype(head["dtype"])
            except (ValueError, KeyError, TypeError):
                kind = of = ""
            if kind != _MAGIC or of != self._of:
                self.close()
                raise CTCError(
                    f"{self.log.name} in {self.out.parent} is of an unfinished pack of other specimens. Choose "
                    f"another name, or remove it and {self.bytes.name}."
                )
        good, place = self._lines.tell() if self._shape else 0, len(self._header(0)) if self._shape else 0
        self._file.seek(place)
        while self._shape and (line := self._lines.readline()).endswith(b"\n"):
            try:
                part = _Part(**json.loads(line))
            except (ValueError, TypeError):
                break
            content = self._file.read(len(part.rows) * self._length)
            if hashlib.sha256(content).hexdigest() != part.sha256:
                break
            good, place = self._lines.tell(), self._file.tell()
            yield part
        self._lines.truncate(good)
        self._lines.seek(good)
        self._file.truncate(place)

    @property
    def _length(self) -> int:
        """Bytes of one specimen."""
        return int(np.prod(self._shape)) * self._dtype.itemsize

    def _header(self, count: int) -> bytes:
        """Make the head of the `.npy`; NumPy leaves room in it for the count to grow, so its length stays."""
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            head,
            {
                "shape": (count, *self._shape),
                "fortran_order": False,
                "descr": np.lib.format.dtype_to_descr(self._dtype),
            },
        )
        return head.getvalue()

    def append(self, span: range, answers: list[Array | SpecimenError]) -> list[tuple[int, str]]:
        """Write a part, wait for the disk, note it in the log; returns the rows left out, with reasons."""
        assert self._file is not None
        assert self._lines is not None
        kept: list[Array] = []
        rows, reasons = [], []
        for row, answer in zip(span, answers, strict=True):
            if isinstance(answer, SpecimenError):
                reasons.append((row, str(answer)))
                continue
            if not self._shape:
                self._begin(answer)
            if answer.shape != self._shape or answer.dtype != self._dtype:
                reasons.append((row, _unlike(answer, self._shape, self._dtype)))
                continue
            kept.append(answer)
            rows.append(row)
        block = np.ascontiguousarray(np.stack(kept)) if kept else np.empty(0, np.uint8)  # (n, H, W, C)
        self._file.write(block.data)
        self._file.flush()
        os.fsync(self._file.fileno())
        part = _Part(
            span.stop, rows, [content_digest(one) for one in kept], hashlib.sha256(block.data).hexdigest()
        )
        if self._shape:  # until then, there is nothing to go on from
            self._note(asdict(part))
        self.parts.append(part)
        return reasons

    def _begin(self, first: Array) -> None:
        assert self._file is not None
        self._shape, self._dtype = first.shape, first.dtype
        self._file.write(self._header(0))
        self._note({"kind": _MAGIC, "of": self._of, "shape": self._shape, "dtype": self._dtype.str})

    def _note(self, line: dict[str, object]) -> None:
        assert self._lines is not None
        self._lines.write(json.dumps(line).encode() + b"\n")
        self._lines.flush()
        os.fsync(self._lines.fileno())

    def finish(self, inputs: Manifest) -> None:
        """Write the count into the header and the manifest beside, and give the stack its name."""
        rows = [row for part in self.parts for row in part.rows]
        with self.bytes.open("r+b") as file:
            file.write(self._header(len(rows)))
            file.flush()
            os.fsync(file.fileno())
        used = inputs.table.iloc[rows]
        table = pd.DataFrame({"path": [f"{self.out.name}#{place}" for place in range(len(rows))]})
        table["label"] = used["label"].to_numpy()
        for name in ("source", "split", "by"):
            if (used[name] != "").any():
                table[name] = used[name].to_numpy()
        table["origin"] = rebase(used["path"], inputs.root, self.out.parent)
        table["pixels"] = [digest for part in self.parts for digest in part.pixels]
        self.bytes.replace(self.out)
        write_whole(self.out.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n").encode())
        self.log.unlink()

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._lines):
            if file is not None:
                file.close()

    def discard(self) -> None:
        """Leave no trace."""
        self.bytes.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)


def _unlike(specimen: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    here, there = (" x ".join(map(str, one)) for one in (specimen.shape, shape))
    return (
        f"It is {here} {specimen.dtype}, and the first was {there} {dtype}: a stack holds specimens of one size "
        f"and type. Pack those of another size apart."
    )
