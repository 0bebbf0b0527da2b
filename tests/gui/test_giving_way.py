"""Work that nobody waits for gives way to a person at work, but not for ever, and can be stopped meanwhile."""

from __future__ import annotations

import pytest

from napari_ctc.errors import Stopped
from napari_ctc.events import Event
from napari_ctc.gui import giving_way as module
from napari_ctc.gui.giving_way import Hands, giving_way


def steps(count):
    """A job of so many steps, each telling of itself; stopped, it gives what it has."""
    done = []
    try:
        for step in range(count):
            done.append(step)
            yield Event(done=step + 1, total=count)
    except Stopped:
        pass
    return done


def test_a_job_goes_on_as_it_would_while_the_hands_are_at_rest():
    job, seen = giving_way(steps(3), Hands()), []
    with pytest.raises(StopIteration) as end:
        while True:
            seen.append(next(job))
    assert [event.done for event in seen] == [1, 2, 3]
    assert end.value.value == [0, 1, 2]


def test_no_step_is_begun_while_a_person_is_at_it(monkeypatch):
    monkeypatch.setattr(module, "REST", 60.0)
    monkeypatch.setattr(module, "_SIGN", 0.01)
    hands = Hands()
    job = giving_way(steps(3), hands)
    hands.moved()
    assert [next(job).total for _ in range(3)] == [0, 0, 0]  # signs of life alone
    monkeypatch.setattr(module, "REST", 0.0)
    assert next(job).done == 1


def test_a_person_who_never_rests_does_not_hold_a_job_up_for_ever(monkeypatch):
    monkeypatch.setattr(module, "REST", 60.0)
    monkeypatch.setattr(module, "_SIGN", 0.01)
    monkeypatch.setattr(module, "PATIENCE", 0.05)
    hands = Hands()
    hands.moved()
    assert max(event.done for event, _ in zip(giving_way(steps(3), hands), range(50), strict=False)) == 3


def test_a_job_that_gives_way_can_be_stopped(monkeypatch):
    monkeypatch.setattr(module, "_SIGN", 0.01)
    hands = Hands()
    job = giving_way(steps(5), hands)
    assert next(job).done == 1
    monkeypatch.setattr(module, "REST", 60.0)
    hands.moved()
    assert next(job).total == 0
    with pytest.raises(StopIteration) as end:
        job.throw(Stopped())
    assert end.value.value == [0]
