"""How many threads compute where other programs want the cores, with machines whose times are made up."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from napari_ctc.learn import threads
from napari_ctc.learn.threads import Threads


class Machine:
    """So many cores, some of which other programs keep busy; time passes with the steps."""

    def __init__(self, monkeypatch, others=0):
        self.others, self.now, self.counts = others, 0.0, []
        monkeypatch.setattr(threads, "monotonic", lambda: self.now)

    def train(self, ours: Threads, seconds: float) -> list[int]:
        """Take steps for so long; the numbers of threads that they had."""
        end, counts = self.now + seconds, []
        while self.now < end:
            counts.append(torch.get_num_threads())
            waits = counts[-1] > max(4 - self.others, 1)
            wall = 2.0 if waits else 0.1 / counts[-1]
            ours.took(wall, wall * (0.5 if waits else 0.97))
            self.now += wall
        assert set(counts) <= {1, 2, 4}
        return counts


def threads_of_a_new_one():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_while_the_cores_are_free_all_compute_and_nothing_is_tried(monkeypatch, four_cores):
    with Threads() as ours:
        assert set(Machine(monkeypatch).train(ours, 100)) == {4}


@pytest.mark.parametrize(("others", "count"), [(1, 2), (2, 2), (3, 1), (8, 1)])
def test_beside_busy_programs_fewer_compute(monkeypatch, four_cores, others, count):
    with Threads() as ours:
        steps = Machine(monkeypatch, others).train(ours, 100)
    assert steps[0] == 4
    assert steps.count(count) > 0.9 * len(steps)


def test_more_compute_again_when_the_others_end(monkeypatch, four_cores):
    machine = Machine(monkeypatch, others=3)
    with Threads() as ours:
        assert machine.train(ours, 60)[-1] == 1
        machine.others = 0
        assert machine.train(ours, 200)[-1] == 4


def test_more_are_tried_the_less_often_the_more_it_was_in_vain(monkeypatch, four_cores):
    machine = Machine(monkeypatch, others=3)
    with Threads() as ours:
        machine.train(ours, 60)
        steps = machine.train(ours, 900)
    tried = sum(count > 1 for count in steps)
    assert 3 <= tried <= 10


def test_fewer_that_are_not_faster_are_given_up(monkeypatch, four_cores):
    monkeypatch.setattr(threads, "monotonic", lambda: 0.0)
    with Threads() as ours:
        counts = []
        for _ in range(40):
            counts.append(torch.get_num_threads())
            ours.took(0.4 / counts[-1], 0.1 / counts[-1])  # it waits for something else, such as Python's lock
        assert counts[-1] == 4
        assert 2 in counts


def test_a_fixed_number_stays(monkeypatch, four_cores):
    with Threads(fixed=2) as ours:
        for _ in range(50):
            with ours.step():
                pass
        assert torch.get_num_threads() == ours.count == 2
    assert torch.get_num_threads() == 4


def test_other_threads_keep_all_cores(monkeypatch, four_cores):
    with Threads() as ours:
        Machine(monkeypatch, others=3).train(ours, 60)
        assert torch.get_num_threads() == 1
        assert threads_of_a_new_one() == 4
    assert torch.get_num_threads() == threads_of_a_new_one() == 4


def test_a_single_thread_is_not_watched():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with Threads() as ours:
        for _ in range(3):
            with ours.step():
                pass
        assert ours.count == 1
    torch.set_num_threads(before)
