"""A stack that grows on the disk under temporary names, with a log of its parts, until it is whole.

Whatever ends a program, what the log says is there: the next one goes on behind it, as far as the specimens' files
are what they were. What comes into the stack is decided in `packing`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pandas as pd

from napari_ctc.data.files import size_and_time, write_whole
from napari_ctc.data.formats import Array
from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.specimens import content_digest, split_key
from napari_ctc.errors import CTCError, SpecimenError
from napari_ctc.events import Event, Job

_MAGIC = "napari-ctc pack 2"


@dataclass(frozen=True)
class Part:
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
    files : str
        What `state_of` said of the files that were to come into it.
    """

    stop: int
    rows: list[int]
    pixels: list[str]
    sha256: str
    files: str


def state_of(inputs: Manifest, span: range) -> str:
    """Digest size and time of the files of some rows, to tell later whether one has changed."""
    names = dict.fromkeys(split_key(key)[0] for key in inputs.table["path"].iloc[span.start : span.stop])
    facts: list[object] = []
    for name in names:
        try:
            facts.append(size_and_time(inputs.root / name))
        except OSError:  # gone; that is told where it is read
            facts.append(None)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class GrowingStack:
    """A stack that grows, under temporary names: its bytes, and the log of its parts.

    Parameters
    ----------
    out : Path
        What it is called when it is whole; its manifest gets the same name with .csv.
    inputs : Manifest
        The specimens that may come into it.

    Attributes
    ----------
    parts : list of Part
        Those that are on the disk.
    """

    def __init__(self, out: Path, inputs: Manifest) -> None:
        self.out = out
        self.bytes = out.with_name(f".{out.stem}.packing.npy.part")
        self.log = out.with_name(f".{out.stem}.packing.log")
        self.parts: list[Part] = []
        self._inputs = inputs
        self._shape: tuple[int, ...] = ()  # of one specimen
        self._dtype = np.dtype(np.uint8)
        what = [str(inputs.layout), str(inputs.root.absolute()), *inputs.keys]
        self._of = hashlib.sha256("\n".join(what).encode()).hexdigest()
        self._file: BinaryIO | None = None
        self._lines: BinaryIO | None = None

    def resume(self, total: int) -> Job[int]:
        """Open the files, new ones or those of a killed run; returns the row to go on at."""
        begun = self._recognise()
        halfway = begun and not self.bytes.exists() and self._is_whole()  # killed between its last steps
        for path, ours in ((self.out, halfway), (self.out.with_suffix(".csv"), begun)):
            if path.exists() and not ours:
                raise CTCError(f"{path} exists already and is not written over. Choose another name, or move it.")
        if halfway and self.out.exists():
            self.out.replace(self.bytes)
        self._file = self.bytes.open("r+b" if self.bytes.exists() else "w+b")
        self._lines = self.log.open("r+b" if begun else "w+b")
        try:
            for part in self._sound_parts():
                self.parts.append(part)
                yield Event(done=part.stop, total=total)
        except BaseException:
            self.close()
            raise
        self._file.seek(0, os.SEEK_END)
        return self.parts[-1].stop if self.parts else 0

    def _recognise(self) -> bool:
        """Tell whether a pack of these specimens was begun here; refuses one of others, and touches nothing."""
        try:
            with self.log.open("rb") as lines:
                line = lines.readline()
        except FileNotFoundError:
            return False
        if not line.endswith(b"\n"):
            return False
        try:
            head = json.loads(line)
            kind, of = head["kind"], head["of"]
            self._shape, self._dtype = tuple(head["shape"]), np.dtype(head["dtype"])
        except (ValueError, KeyError, TypeError):
            kind = of = ""
        if kind != _MAGIC or of != self._of:
            raise CTCError(
                f"{self.log.name} in {self.out.parent} is of an unfinished pack of other specimens. Choose "
                f"another name, or remove it and {self.bytes.name}."
            )
        return True

    def _is_whole(self) -> bool:
        """Tell whether the file that has the stack's name is what the log tells of, from beginning to end."""
        try:
            with self.log.open("rb") as lines, self.out.open("rb") as file:
                lines.readline()
                file.seek(len(self._header(0)))
                return bool(list(self._as_noted(lines, file))) and not lines.read(1) and not file.read(1)
        except FileNotFoundError:
            return False

    def _as_noted(self, lines: BinaryIO, file: BinaryIO) -> Iterator[Part]:
        """Give the parts of a log, as long as a file holds their bytes."""
        while self._shape and (line := lines.readline()).endswith(b"\n"):
            try:
                part = Part(**json.loads(line))
            except (ValueError, TypeError):
                return
            content = file.read(len(part.rows) * self._length)
            if hashlib.sha256(content).hexdigest() != part.sha256:
                return
            yield part

    def _sound_parts(self) -> Iterator[Part]:
        """Check the log against bytes and files, part by part; what follows the last sound part is cut off."""
        assert self._file is not None
        assert self._lines is not None
        self._lines.readline()  # its head, which was read
        good, place = self._lines.tell() if self._shape else 0, len(self._header(0)) if self._shape else 0
        self._file.seek(place)
        start = 0
        for part in self._as_noted(self._lines, self._file):
            if part.files != state_of(self._inputs, range(start, part.stop)):
                break
            good, place, start = self._lines.tell(), self._file.tell(), part.stop
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

    def append(self, span: range, state: str, answers: list[Array | SpecimenError]) -> list[tuple[int, str]]:
        """Write a part, wait for the disk, note it in the log; returns the rows left out, with reasons.

        Parameters
        ----------
        span : range
            Rows of the input.
        state : str
            What `state_of` said of them before they were read.
        answers : list
            What came of reading them.
        """
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
                name = str(self._inputs.table["path"].iat[row]).rpartition("/")[2]
                reasons.append((row, _unlike(name, answer, self._shape, self._dtype)))
                continue
            kept.append(answer)
            rows.append(row)
        block = np.ascontiguousarray(np.stack(kept)) if kept else np.empty(0, np.uint8)  # (n, H, W, C)
        self._file.write(block.data)
        self._file.flush()
        os.fsync(self._file.fileno())
        pixels = [content_digest(one) for one in kept]
        part = Part(span.stop, rows, pixels, hashlib.sha256(block.data).hexdigest(), state)
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

    def finish(self) -> None:
        """Write the count into the header and the manifest beside, and give the stack its name."""
        rows = [row for part in self.parts for row in part.rows]
        with self.bytes.open("r+b") as file:
            file.write(self._header(len(rows)))
            file.flush()
            os.fsync(file.fileno())
        used = self._inputs.table.iloc[rows]
        table = pd.DataFrame({"path": [f"{self.out.name}#{place}" for place in range(len(rows))]})
        table["label"] = used["label"].to_numpy()
        for name in ("source", "split", "by"):
            if (used[name] != "").any():
                table[name] = used[name].to_numpy()
        table["origin"] = rebase(used["path"], self._inputs.root, self.out.parent)
        table["pixels"] = [digest for part in self.parts for digest in part.pixels]
        self.bytes.replace(self.out)
        write_whole(self.out.with_suffix(".csv"), table.to_csv(index=False, lineterminator="\n").encode())
        self.log.unlink()

    def close(self) -> None:
        """Close the files."""
        for file in (self._file, self._lines):
            if file is not None:
                with suppress(OSError):  # on a full disk; what counts was written and waited for
                    file.close()

    def discard(self) -> None:
        """Leave no trace."""
        self.bytes.unlink(missing_ok=True)
        self.log.unlink(missing_ok=True)


def _unlike(name: str, specimen: Array, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str:
    here, there = (" x ".join(map(str, one)) for one in (specimen.shape, shape))
    return (
        f"{name} is {here} {specimen.dtype}, and the first was {there} {dtype}: a stack holds specimens of one "
        f"size and type. Pack those of another size apart."
    )
