"""Threads in which the network runs: two batches at once on a processor, each on half of its cores.

Within one batch, all cores wait for the slowest after every layer, and any that reads or hashes meanwhile holds
the others up. Two batches wait for nothing of each other.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier

import torch

PREFIX = "napari-ctc compute"


def streams(device: torch.device) -> tuple[int, int]:
    """Choose how many batches are computed at once, and on how many cores each.

    An odd core is left to reading; a graphics card takes one batch at a time.
    """
    cores = torch.get_num_threads()
    return (2, cores // 2) if device.type == "cpu" and cores > 1 else (1, cores)


def started(device: torch.device) -> ThreadPoolExecutor:
    """Start the threads, each of which computes on its own cores alone.

    How many cores PyTorch uses is each thread's own matter, and what was said last is also what it takes for
    threads that begin later. So that is said again as it was: other work in this process keeps all cores.
    """
    count, cores = streams(device)
    before = torch.get_num_threads()
    together = Barrier(count)

    def begin() -> None:
        torch.set_num_threads(cores)
        torch.get_num_threads()  # a thread that asks for the first time takes what was said last, by any thread
        together.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix=PREFIX, initializer=begin)
    wait([pool.submit(int) for _ in range(count)])  # each begins a thread, since none is idle before all began
    torch.set_num_threads(before)
    return pool
