"""A Dask cluster on this machine, of real processes, for the tests and figures that need one."""

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import napari_ctc

SETTINGS = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}  # starting workers again takes long
ERRANDS = Path(__file__).parent / "apply"


class LocalCluster:
    """`dask scheduler` and some `dask worker`, each a process of its own on the loopback address.

    Parameters
    ----------
    folder : Path
        For what they write: their messages, and what workers spill.
    workers : int
        How many at first, of one thread each.
    nanny : bool
        Whether each worker is started again when it dies, as `dask worker` does if not told otherwise.
    """

    def __init__(self, folder: Path, workers: int = 2, nanny: bool = True) -> None:
        self._folder = folder
        self._nanny = "--nanny" if nanny else "--no-nanny"
        self._processes = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        for _ in range(workers):
            self.add_worker()

    def add_worker(self, *first_paths: Path) -> subprocess.Popen:
        """Start a worker, which looks for packages in these folders first."""
        return self._start(
            *("worker", self.address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard"),
            *("--death-timeout", "60", self._nanny, "--local-directory", str(self._folder)),
            first_paths=first_paths,
        )

    @contextmanager
    def another_worker(self, *first_paths: Path):
        """Have one worker more, and then not any more."""
        before = self._workers()
        process = self.add_worker(*first_paths)
        self.wait(before + 1)
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)
            while self._workers() > before:
                time.sleep(0.05)

    def wait(self, workers: int) -> None:
        """Wait until so many workers are there."""
        with self._client() as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)

    def pids(self) -> list[int]:
        """Give the processes that compute, in no order."""
        with self._client() as client:
            return list(client.run(os.getpid).values())

    def end(self) -> None:
        """End all that was started."""
        for process in reversed(self._processes):
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def messages(self) -> str:
        """What scheduler and workers have said."""
        return "\n".join(path.read_text() for path in sorted(self._folder.glob("*.log")))

    def _workers(self) -> int:
        with self._client() as client:
            return len(client.nthreads())

    def _client(self):
        from distributed import Client

        return Client(self.address, timeout=60, set_as_default=False)

    def _start(self, *command: str, first_paths: tuple[Path, ...] = ()) -> subprocess.Popen:
        paths = [*first_paths, Path(napari_ctc.__file__).parents[1], ERRANDS]
        env = {**os.environ, **SETTINGS, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        with (self._folder / f"{len(self._processes)} {command[0]}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command], stdout=log, stderr=subprocess.STDOUT, env=env
            )
        self._processes.append(process)
        return process
