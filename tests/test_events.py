from __future__ import annotations

import subprocess
import sys

import pytest

from napari_ctc.errors import Stopped
from napari_ctc.events import Event, run


def counting(closed: list[str]):
    try:
        for done in range(5):
            yield Event(done=done, total=5)
        return "whole"
    except Stopped:
        return "stopped"
    finally:
        closed.append("closed")


def test_run_returns_what_the_job_returns():
    seen: list[int] = []
    assert run(counting([]), lambda event: seen.append(event.done)) == "whole"
    assert seen == [0, 1, 2, 3, 4]


def test_an_interrupt_stops_the_job_and_keeps_its_result():
    def show(event):
        if event.done == 2:
            raise KeyboardInterrupt

    assert run(counting([]), show) == "stopped"


def test_a_failing_listener_closes_the_job():
    closed: list[str] = []
    with pytest.raises(ZeroDivisionError):
        run(counting(closed), lambda event: 1 / event.done)
    assert closed == ["closed"]


@pytest.mark.parametrize(
    "code", ["import napari_ctc", "from napari_ctc import Manifest, TrainSettings, run", "import napari_ctc.cli"]
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    check = f"import sys; {code}; assert 'torch' not in sys.modules and 'napari' not in sys.modules"
    subprocess.run([sys.executable, "-c", check], check=True)
