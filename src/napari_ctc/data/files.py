"""Write files whole or not at all, and tell whether one has changed."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from napari_ctc.errors import CTCError


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Give a temporary name in the same folder, and rename it to `path` when the block ends well.

    The file is on the disk before it gets its name, so that a crash leaves the old file or the new one, never
    a part of either.

    Parameters
    ----------
    path : Path
    durable : bool
        Wait for the disk, so that even a power cut leaves one whole file. A killed program needs no waiting.

    Raises
    ------
    CTCError
        If the folder cannot be written to or the disk is full.
    """
    path = Path(path).absolute()
    if is_folder(path):
        raise CTCError(f"{path} is a folder, so no file can have that name. Choose another name.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem[:40]}-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
    except OSError as problem:
        raise CTCError(_sentence(path, problem)) from problem
    temporary = Path(name)
    try:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        # mkstemp makes files for their owner alone; give this one the rights that any new file has.
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(path)
    except OSError as problem:
        raise CTCError(_sentence(path, problem)) from problem
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Refuse a place that cannot be written to, before hours are spent on what should go there.

    Raises
    ------
    CTCError
    """

    class Tried(Exception):
        pass

    with suppress(Tried), replacing(path):
        raise Tried


def beside(path: Path) -> Path:
    """Name the result of a stopped job, so that an older, whole result keeps its own name."""
    return path.with_name(f"{path.stem}.stopped{path.suffix}")


def checkpoint_path(path: Path) -> Path:
    """Name the checkpoint of the run that will save a classifier to `path`."""
    return path.with_name(f"{path.stem}.checkpoint.safetensors")


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, the whole of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def cache_folder() -> Path:
    """Name the folder, in the user's cache, of what can be made again; it need not exist yet.

    The environment variable NAPARI_CTC_CACHE names another one.
    """
    own = os.environ.get("NAPARI_CTC_CACHE")
    if own:
        return Path(own)
    try:
        home = Path.home()
    except RuntimeError:  # a user without one, as in some containers
        home = Path(tempfile.gettempdir())
    if sys.platform == "win32":
        root = Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "cache"
    elif sys.platform == "darwin":
        root = home / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return root / "napari-ctc"


def exists(path: Path) -> bool:
    """Tell whether a path is there.

    Not of one whose folder may not be entered, where `Path.exists` raises an error: whoever opens it is told why.
    """
    return os.path.exists(path)  # noqa: PTH110 - see above


def is_folder(path: Path) -> bool:
    """Tell whether a path is a folder; as `exists`, never an error."""
    return os.path.isdir(path)  # noqa: PTH112


def is_file(path: Path) -> bool:
    """Tell whether a path is a file; as `exists`, never an error."""
    return os.path.isfile(path)  # noqa: PTH113


def size_and_time(path: Path) -> tuple[int, str]:
    """Tell a file's size in bytes and when it was modified, as tables of predictions have them.

    Returns
    -------
    bytes : int
    modified : str
        UTC, ISO 8601, to the microsecond.

    Raises
    ------
    OSError
        If the file is gone.
    """
    return facts_of(path.stat())


def facts_if_there(path: Path) -> tuple[int, str]:
    """Tell size and time of modification, as `size_and_time` does; -1 and an empty text if the file is gone."""
    try:
        return size_and_time(path)
    except OSError:
        return -1, ""


def facts_of(status: os.stat_result) -> tuple[int, str]:
    """Tell size and time of modification, as `size_and_time` does, of a file that was asked already."""
    moment = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
    return status.st_size, moment.isoformat(timespec="microseconds")


def _sentence(path: Path, problem: OSError) -> str:
    why = problem.strerror or str(problem)
    return f"{path} cannot be written: {why}. Choose another place, or free space and check your rights there."
