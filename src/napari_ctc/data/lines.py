"""A file of JSON objects, one a line, that is only ever added to: on disk before `append` returns.

What the objects mean is not known here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from napari_ctc.data.files import write_whole
from napari_ctc.errors import JournalError

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True)
class Read:
    """What a file of lines holds.

    Parameters
    ----------
    entries : tuple of (int, dict)
        Line numbers from 1, and the objects.
    damaged : tuple of int
        Numbers of the lines that are no JSON object.
    torn : bytes
        What follows the last line end: the write that a crash cut short. Empty for a sound file.
    """

    entries: tuple[tuple[int, dict[str, Any]], ...] = ()
    damaged: tuple[int, ...] = ()
    torn: bytes = b""


def read_lines(path: Path) -> Read:
    """Read a file of lines; one that does not exist is empty.

    Raises
    ------
    JournalError
        If the file is there and cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Read()
    except OSError as problem:
        raise JournalError(f"{path.name} cannot be read: {problem.strerror}. Check its rights.") from problem
    whole, _, torn = content.rpartition(b"\n")
    entries: list[tuple[int, dict[str, Any]]] = []
    damaged: list[int] = []
    number = 0
    for number, line in enumerate(whole.split(b"\n"), 1):
        entry = _object(line)
        if entry is not None:
            entries.append((number, entry))
        elif line.strip():
            damaged.append(number)
    if (entry := _object(torn)) is not None:  # nothing but its line end is missing
        entries.append((number + 1, entry))
        torn = b""
    return Read(tuple(entries), tuple(damaged), torn)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        entry = json.loads(line.decode())
    except (ValueError, RecursionError):  # covers what is no UTF-8, too
        return None
    return entry if isinstance(entry, dict) else None


class Lines:
    """The writing end of a file of lines. The file is made by the first line, not before.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def append(self, entries: Sequence[Mapping[str, Any]]) -> None:
        """Add objects in one write, and wait until they are on the disk.

        Raises
        ------
        JournalError
            If that is not possible; the file is then as it was before.
        """
        lines = [json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n" for entry in entries]
        try:
            handle = self._open()
            before = os.fstat(handle).st_size
            try:
                whole = _ends_whole(handle, before)
                _write_all(handle, ("" if whole else "\n").encode() + "".join(lines).encode())
                os.fsync(handle)
            except OSError:
                with suppress(OSError):  # should this fail, too, the next line starts on a line of its own
                    os.ftruncate(handle, before)
                raise
        except OSError as problem:
            raise JournalError(
                f"{self.path} cannot be written: {problem.strerror}. The last step was not kept; free space or "
                f"check your rights there, and do it again."
            ) from problem

    def set_aside(self, torn: bytes) -> dict[str, str]:
        """Cut off the part of a line that a crash left, and give an object that keeps its text.

        Raises
        ------
        OSError
            If the file cannot be written to.
        """
        handle = self._open()
        os.ftruncate(handle, max(0, os.fstat(handle).st_size - len(torn)))
        return {"entry": "torn", "text": torn.decode(errors="replace")}

    def check(self) -> None:
        """Open the file for writing, if it exists.

        Raises
        ------
        OSError
            If it cannot be written to.
        """
        if self.path.exists():
            self._open()

    def close(self) -> None:
        """Close the file."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _open(self) -> int:
        """Give the open descriptor of the file that has the name now."""
        if self._handle is None:
            new = not self.path.exists()
            self._handle = os.open(self.path, _FLAGS, 0o666)
            if new:
                _sync_folder(self.path.parent)
            return self._handle
        try:
            same = os.path.samestat(os.fstat(self._handle), self.path.stat())
        except FileNotFoundError:  # deleted while open: what it held can still be read, and gets its name back
            write_whole(self.path, _read_all(self._handle))
            self.close()
            return self._open()
        if not same:
            raise JournalError(
                f"{self.path.name} was replaced by another program. The last step was not kept; close these "
                f"specimens and open them again."
            )
        return self._handle


def _ends_whole(handle: int, size: int) -> bool:
    if size:
        os.lseek(handle, size - 1, os.SEEK_SET)
    return not size or os.read(handle, 1) == b"\n"


def _write_all(handle: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(handle, rest) :]


def _read_all(handle: int) -> bytes:
    os.lseek(handle, 0, os.SEEK_SET)
    parts = iter(lambda: os.read(handle, 1 << 20), b"")
    return b"".join(parts)


def _sync_folder(folder: Path) -> None:
    """Let a new file's name survive a power cut; Windows has no such call and needs none."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
