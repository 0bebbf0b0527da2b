"""Keep a table for one window: a lock of the operating system, which ends with the process that holds it.

A lock file whose mere presence counts would outlive a killed process; this one does not.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from napari_ctc.errors import LockedError

_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP}

if sys.platform == "win32":
    import msvcrt

    def _lock(handle: int) -> None:
        # Windows forbids reading locked bytes: lock one far behind the text that says who holds the lock.
        os.lseek(handle, 1 << 30, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        os.lseek(handle, 0, os.SEEK_SET)

else:
    import fcntl

    def _lock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class Lock:
    """A lock that this process holds until `release`, or until it ends in whatever way.

    Parameters
    ----------
    path : Path
        The lock file; it says in JSON who holds the lock, and is removed on release.
    handle : int
        Its open descriptor.
    sure : bool
        False where the file system knows no locks, so that nothing keeps a second window out.
    """

    def __init__(self, path: Path, handle: int, sure: bool) -> None:
        self.path = path
        self.sure = sure
        self._handle: int | None = handle

    @classmethod
    def take(cls, path: Path, who: str) -> Lock:
        """Take the lock at once, or say who holds it.

        Raises
        ------
        LockedError
            If another window or process holds it.
        OSError
            If the lock file cannot be made.
        """
        while True:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            sure = True
            try:
                _lock(handle)
            except OSError as problem:
                if problem.errno not in _UNSUPPORTED:
                    os.close(handle)
                    raise LockedError(holder(path)) from None
                sure = False
            if _is_still(path, handle):
                break
            os.close(handle)  # whoever held it removed the file after we had opened it; make a new one
        about = {"who": who, "host": socket.gethostname(), "pid": os.getpid(), "since": _now()}
        with suppress(OSError):  # on a full disk the lock holds, and only its explanation is missing
            os.ftruncate(handle, 0)
            os.write(handle, json.dumps(about, ensure_ascii=False).encode())
        return cls(path, handle, sure)

    def release(self) -> None:
        """Give the lock back; a second time does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        if sys.platform == "win32":  # which does not remove an open file
            os.close(handle)
            with suppress(OSError):
                self.path.unlink()
        else:  # removed while it is held: afterwards it could be another's
            with suppress(OSError):
                self.path.unlink()
            os.close(handle)


def holder(path: Path) -> str:
    """Say who holds a lock, as far as its file tells."""
    try:
        about = json.loads(path.read_text("utf-8"))
        return f"{about['who']} on {about['host']} (process {about['pid']}, since {about['since']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another window"


def _is_still(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
