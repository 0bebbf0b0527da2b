"""What "Classify folder" says of a run, by its events alone."""

from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("napari")
from napari_ctc.data.predictions import Predictions, columns
from napari_ctc.events import Classified, Event, Said, Saved
from napari_ctc.gui import classify_words
from napari_ctc.gui.classify_words import RunWords

GONE = "The scheduler at tcp://10.0.0.7:8786 no longer answers."


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets: a list with the time, in seconds."""
    now = [100.0]
    monkeypatch.setattr(classify_words, "monotonic", lambda: now[0])
    return now


def rows(done, total=1000):
    return Classified(rows=pd.DataFrame(), done=done, total=total)


def result(count, stopped=False):
    table = pd.DataFrame({"path": [f"{one}.npy" for one in range(count)]}).reindex(columns=columns(("a", "b")))
    return Predictions(table.assign(error=""), Path(), ("a", "b"), stopped)


def test_the_time_left_goes_by_the_last_seconds_and_not_by_what_an_earlier_run_did(clock):
    words = RunWords()
    words.hear(rows(600))  # from the disk
    for done in range(610, 810, 10):
        clock[0] += 1
        said = words.hear(rows(done))
    assert said == "800 of 1,000, 0:20 left"
    clock[0] += 30  # nothing comes any more
    assert words.hear(Event(done=800, total=1000)) == "800 of 1,000, 1:15 left"


def test_a_notice_is_said_until_rows_come(clock):
    words = RunWords()
    assert words.hear(Said(text="Reading.")) == "Reading."
    assert words.hear(Said(text=GONE, warning=True, done=5, total=10)) == f"5 of 10. {GONE}"
    assert words.hear(Event(done=5, total=10)) == f"5 of 10. {GONE}"
    assert words.hear(rows(6, 10)) == "6 of 10"


def test_the_end_says_what_was_warned_of_and_so_why_it_came(clock):
    words = RunWords()
    words.hear(Said(text="A note.", warning=True))
    words.hear(Said(text=GONE, warning=True))
    clock[0] += 4
    assert words.ended(result(7, stopped=True)) == (
        f"Stopped: 7 specimens in 0:04. Not written to a file. A note. {GONE}"
    )
    words.hear(Saved(path=Path("table.stopped.csv")))
    assert words.ended(result(7, stopped=True)) == (
        f"Stopped: 7 specimens in 0:04. Written to table.stopped.csv. A note. {GONE} Classify goes on from there."
    )
    assert RunWords().ended(result(1)) == "Done: 1 specimen in 0:00. Not written to a file."


def test_a_stop_before_the_first_specimen_is_said_to_be_one(clock):
    assert RunWords().ended(None) == "Stopped before the first specimen."
    assert RunWords().ended(result(0, stopped=True)) == "Stopped before the first specimen."
