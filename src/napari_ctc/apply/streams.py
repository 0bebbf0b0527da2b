"""Threads that each take a batch all the way, from files to rows, on their own share of a processor's cores.

Within one batch, all cores wait for the slowest after every layer, and any that reads or hashes meanwhile holds
the others up. Batches side by side wait for nothing of each other.

Reading and hashing files that the system holds in memory keeps a core busy, and hands Python's lock over several
times a file: only as many threads as compute are at work, and half of them read at a time. More would take turns,
and find what they work on out of the processor's cache. Where reading mostly waits for a slow or distant disk, all
may, and some more threads are let in. Beside a graphics card some always read.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import nullcontext
from threading import Barrier, Semaphore, local
from time import perf_counter, thread_time
from typing import TypeVar

import torch

from napari_ctc.data.room import Room

R = TypeVar("R")
S = TypeVar("S")

PREFIX = "napari-ctc compute"
MOST = 8  # batches at once, each of which takes some 100 MB; more cores are shared among so many
AHEAD = 2  # threads beyond those that compute, which read from a slow disk or beside a card meanwhile
SLOW = 3.0  # times the time that it keeps a core busy must reading take, to be called waiting


def streams(device: torch.device) -> tuple[int, int]:
    """Choose how many batches are computed at once, and on how many cores each.

    A graphics card takes one batch at a time.
    """
    cores = torch.get_num_threads()
    each = -(-cores // MOST)
    return (cores // each, each) if device.type == "cpu" else (1, cores)


class Streams:
    """The threads, of which so many compute at once as `streams` says, each on its own cores alone.

    How many cores PyTorch uses is each thread's own matter, and what was said last is also what it takes for
    threads that begin later. So that is said again as it was: other work in this process keeps all cores.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self.count, self._cores = streams(device)
        self.threads = self.count + AHEAD
        self._computing = Semaphore(self.count)
        if device.type != "cpu":
            self._reading = Semaphore(AHEAD)
        else:
            self._reading = Semaphore(self.count // 2) if self.count > 1 else self._computing
        self._slow = False  # whether reading mostly waits
        self._closing = False
        self._own = local()
        self._at_work = self.count if device.type == "cpu" else self.threads
        self._pools = [self._begun(self._at_work)]

    def _begun(self, threads: int) -> ThreadPoolExecutor:
        before = torch.get_num_threads()
        together = Barrier(threads)

        def begin() -> None:
            torch.set_num_threads(self._cores)
            torch.get_num_threads()  # whoever asks for the first time takes what was said last, by any thread
            self._own.rooms = Room(), Room()
            together.wait()

        pool = ThreadPoolExecutor(threads, thread_name_prefix=PREFIX, initializer=begin)
        wait([pool.submit(int) for _ in range(threads)])  # each begins one: none is idle yet
        torch.set_num_threads(before)
        return pool

    def submit(self, read: Callable[[Room], R], compute: Callable[[R, Room], S]) -> Future[S]:
        """Read and then compute, in one of the threads.

        Parameters
        ----------
        read, compute : callables
            Each with a room for its large array, which is used again for the next batch of this thread.
        """
        if self._slow and self._at_work < self.threads:
            self._at_work = self.threads
            self._pools.append(self._begun(self._at_work))
            self._pools[0].shutdown(wait=False)  # it does what it was given
        return self._pools[-1].submit(self._through, read, compute)

    def _through(self, read: Callable[[Room], R], compute: Callable[[R, Room], S]) -> S:
        first, second = self._own.rooms
        with nullcontext() if self._slow else self._reading:
            self._go_on()
            wall, busy = perf_counter(), thread_time()
            found = read(first)
            self._slow = perf_counter() - wall > SLOW * (thread_time() - busy)
        with self._computing:
            self._go_on()
            return compute(found, second)

    def _go_on(self) -> None:
        if self._closing:  # a thread that waited for its turn
            raise CancelledError

    def close(self) -> None:
        """Wait for what is computed now, forget the rest, and end the threads."""
        self._closing = True
        for pool in self._pools:
            pool.shutdown(wait=True, cancel_futures=True)
