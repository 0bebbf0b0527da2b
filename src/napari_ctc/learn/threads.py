"""How many threads compute a training step where other programs want the cores, too.

The threads of a step wait for each other after every operation, hundreds of times. If another program takes a
single core, each of these waits lasts until the system gives it back, and a training on two cores keeps an eighth
of its rate or less. One thread waits for nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from time import monotonic, perf_counter, thread_time

import torch

SPAN = 0.5  # seconds of steps that are looked at together
SHARED = 0.8  # of the time; a thread that computed for less than this did not have its core to itself
FASTER = 0.95  # times the seconds a step must another number of threads take, to be kept
FIRST_WAIT, LONGEST_WAIT = 10.0, 160.0  # seconds from one trial to the next


class Threads:
    """The threads that compute within it: all, or fewer while the cores are shared and fewer are faster.

    While the cores are free nothing is tried, so that the numbers are those of a fixed count to the last bit.

    Parameters
    ----------
    fixed : int
        So many whatever happens; 0 begins with all.
    adapts : bool
        Whether there may be fewer, if none are fixed.
    """

    def __init__(self, fixed: int = 0, adapts: bool = True) -> None:
        self._fixed, self._adapts = fixed, adapts and not fixed
        self.count = self._usual = 1  # until it begins
        self._tried_from = 0  # threads, while another number is on trial; else 0
        self._before = 0.0  # seconds a step with those
        self._wait, self._next = FIRST_WAIT, 0.0
        self._fresh = True  # PyTorch prepares itself in the first step with so many threads
        self._steps, self._wall, self._busy = 0, 0.0, 0.0  # of the span: seconds in all, and of this thread

    def __enter__(self) -> Threads:
        """Begin, in the thread that will compute."""
        self._usual = torch.get_num_threads()
        self.count = self._fixed or self._usual
        self._use(self.count)
        return self

    def __exit__(self, *_: object) -> None:
        """Let this thread compute as before again."""
        self._use(self._usual)

    @contextmanager
    def step(self) -> Iterator[None]:
        """Compute one step within it. All steps of a run are equally long."""
        if not self._adapts or self._usual == 1:
            yield
            return
        wall, busy = perf_counter(), thread_time()
        yield
        self.took(perf_counter() - wall, thread_time() - busy)

    def took(self, wall: float, busy: float) -> None:
        """Take note of a step, and change the number of threads for the next where that may be faster.

        Parameters
        ----------
        wall, busy : float, seconds
            How long it took, and for how long of that this thread computed.
        """
        fresh, self._fresh = self._fresh, False
        if fresh and wall < SPAN:
            return
        self._steps, self._wall, self._busy = self._steps + 1, self._wall + wall, self._busy + busy
        if self._wall < SPAN:
            return
        each, shared = self._wall / self._steps, self._busy < SHARED * self._wall
        if self._tried_from:
            self._judge(each, shared)
        elif monotonic() >= self._next:
            if shared and self.count > 1:
                self._try(self.count // 2, each)
            elif self.count < self._usual:
                self._try(min(2 * self.count, self._usual), each)
        self._steps, self._wall, self._busy = 0, 0.0, 0.0

    def _try(self, count: int, each: float) -> None:
        self._tried_from, self._before = self.count, each
        self._compute_with(count)

    def _judge(self, each: float, shared: bool) -> None:
        faster, more = each < FASTER * self._before, self.count > self._tried_from
        if not faster and not more and shared and self.count > 1:  # still too many
            self._compute_with(self.count // 2)
            return
        if not faster:
            self._compute_with(self._tried_from)
        # More in vain costs much: each step waits for whoever has the cores.
        self._wait = min(2 * self._wait, LONGEST_WAIT) if more and not faster else FIRST_WAIT
        self._tried_from, self._next = 0, monotonic() + self._wait

    def _compute_with(self, count: int) -> None:
        self.count, self._fresh = count, True
        self._use(count)

    def _use(self, count: int) -> None:
        if count == torch.get_num_threads():
            return
        torch.set_num_threads(count)
        # What was said last, by any thread, is what new ones take: work beside this one keeps all cores.
        other = Thread(target=torch.set_num_threads, args=(self._usual,))
        other.start()
        other.join()
