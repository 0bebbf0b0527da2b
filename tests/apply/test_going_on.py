"""Kills, full disks, changed files: nothing is lost, nothing is there twice."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from napari_ctc.apply import forward, parts, record
from napari_ctc.apply.inference import classify
from napari_ctc.data import bulk
from napari_ctc.data.predictions import Predictions
from napari_ctc.errors import CTCError, ManifestError, PredictionsError, Stopped
from napari_ctc.events import Classified, Said, run


@pytest.fixture
def small_chunks(monkeypatch):
    """Make chunks of 8 specimens out of batches of 4."""
    monkeypatch.setattr(forward, "PIXELS_IN_CHUNK", 0)
    monkeypatch.setattr(forward, "batch_size", lambda _: 4)


@pytest.fixture
def folder(tmp_path):
    """Write forty small specimens into two folders."""
    random = np.random.default_rng(0)
    for place in range(40):
        (tmp_path / "in" / "ab"[place // 20]).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 250, (24, 24, 4), dtype=np.uint8)
        np.save(tmp_path / "in" / "ab"[place // 20] / f"{place:02}.npy", pixels)
    return tmp_path / "in"


def classified(folder, classifier, out, **more):
    return classify(folder, classifier, out, batch_size=4, precision="float32", device="cpu", **more)


def said(job):
    """Drive a job to its end; returns its result, all it said, and the rows that it computed or found."""
    texts, rows = [], []
    result = run(job, lambda event: note(event, texts, rows))
    return result, " ".join(texts), rows


def note(event, texts, rows):
    if isinstance(event, Said):
        texts.append(event.text)
    if isinstance(event, Classified):
        rows.extend(event.indices)


def stopped_after(job, rows):
    event = next(job)
    try:
        while True:
            enough = isinstance(event, Classified) and event.done >= rows
            event = job.throw(Stopped()) if enough else next(job)
    except StopIteration as end:
        return end.value


KILLED = """
import sys
from pathlib import Path
from napari_ctc.apply import forward, inference
from napari_ctc.apply.inference import classify
from napari_ctc.events import Classified, run
from napari_ctc.learn.loading import load_classifier

forward.PIXELS_IN_CHUNK = 0
inference.TOGETHER = 0.0
classifier = load_classifier(sys.argv[1])
job = classify(sys.argv[2], classifier, sys.argv[3], batch_size=4, precision="float32", device="cpu")
for event in job:
    if isinstance(event, Classified):
        print(event.done, flush=True)
        sys.stdin.readline()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL there")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_killed_at_any_batch_the_same_call_goes_on_to_the_same_table(folder, tiny_classifier, tmp_path, suffix):
    tiny_classifier.save(tmp_path / "c.safetensors")
    undisturbed, out = tmp_path / f"undisturbed{suffix}", tmp_path / f"out{suffix}"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "c.safetensors"), str(folder), str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "4\n"
        for done in range(8, 20, 4):
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == f"{done}\n"
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    kept = sum(map(len, parts_of(out)))
    assert kept in (12, 16)  # the batch at the kill may be on the disk or not
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forward, "PIXELS_IN_CHUNK", 0)
        run(classified(folder, tiny_classifier, undisturbed))
        result, text, rows = said(classified(folder, tiny_classifier, out))
    assert f"Classified before, and not again: {kept} of 40" in text
    assert rows == list(range(40))
    assert len(result) == 40
    pd.testing.assert_frame_equal(Predictions.read(out).table, Predictions.read(undisturbed).table)
    assert sorted(path.name for path in record.folder_of(out).iterdir() if path.name.startswith(".")) == []


def parts_of(out):
    found = (path.stem.split("-") for path in record.folder_of(out).glob("*-*.parquet") if path.stem[0] != ".")
    return [range(int(start), int(stop)) for start, stop in found]


def test_added_files_come_last_and_removed_ones_stay(folder, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    first = run(classified(folder, tiny_classifier, out)).table
    shutil.copy(folder / "a" / "05.npy", folder / "a" / "00x.npy")
    (folder / "b" / "39.npy").unlink()
    result, text, _ = said(classified(folder, tiny_classifier, out))
    assert "Classified before, and not again: 40 of 41" in text
    assert "New since out.csv was begun, and last in it: 1 of 41" in text
    assert "No longer in the input, and kept in out.csv: 1 of 41" in text
    pd.testing.assert_frame_equal(result.table[:40], first)
    assert result.table["path"][40] == "a/00x.npy"
    assert result.table["sha256"][40] == first["sha256"][5]
    assert result.table["probability"][40] == pytest.approx(first["probability"][5], abs=2e-6)


def test_files_that_changed_since_are_classified_again_and_no_others(folder, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    before = run(classified(folder, tiny_classifier, out)).table
    np.save(folder / "a" / "03.npy", np.zeros((24, 24, 4), np.uint8))
    result, text, _ = said(classified(folder, tiny_classifier, out))
    assert "files have changed or could not be read: 40 of " in text  # all of its chunk
    assert result.table["sha256"][3] != before["sha256"][3]
    pd.testing.assert_frame_equal(result.table.drop(3), before.drop(3), atol=2e-6)


@pytest.mark.parametrize("order", ["C", "F"])  # alike ones are read by themselves, others as single specimens are
def test_what_a_disk_did_not_give_for_a_moment_is_classified_when_it_does(
    folder, tiny_classifier, tmp_path, small_chunks, monkeypatch, order
):
    out = tmp_path / "out.csv"
    np.save(folder / "a" / "03.npy", np.asarray(np.load(folder / "a" / "03.npy"), order=order))
    before = run(classified(folder, tiny_classifier, tmp_path / "undisturbed.csv")).table

    def away(*_, **__):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(bulk if order == "C" else np, "_fill" if order == "C" else "fromfile", away)
        result = run(classified(folder, tiny_classifier, out)).table
    assert "03.npy cannot be read: Input/output error" in result["error"][3]
    assert pd.isna(result["bytes"][3])
    result, text, _ = said(classified(folder, tiny_classifier, out))
    assert "Classified again, since files have changed or could not be read" in text
    pd.testing.assert_frame_equal(result.table, before)
    assert "again, since" not in said(classified(folder, tiny_classifier, out))[1]


def test_a_damaged_file_is_not_tried_again_until_it_changes(folder, tiny_classifier, tmp_path):
    (folder / "a" / "03.npy").write_bytes(b"nothing that could be read")
    run(classified(folder, tiny_classifier, tmp_path / "out.csv"))
    result, text, _ = said(classified(folder, tiny_classifier, tmp_path / "out.csv"))
    assert "Classified before, and not again: 40 of 40" in text
    assert "not a NumPy file" in result.table["error"][3]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"decision": "most-probable"}, "was begun with decision 'balanced', and now it is 'most-probable'"),
        ({"precision": "bfloat16"}, "was begun with precision 'float32', and now it is 'bfloat16'"),
        ({"proportions": "uniform"}, "was begun with proportions"),
        ({}, "was begun with the classifier"),
    ],
    ids=["decision", "precision", "proportions", "classifier"],
)
def test_another_classifier_or_other_settings_are_refused(folder, tiny_classifier, tmp_path, change, why):
    out = tmp_path / "out.csv"
    hot = replace(
        tiny_classifier,
        shown=(0.7, *[0.3 / (len(tiny_classifier.classes) - 1)] * (len(tiny_classifier.classes) - 1)),
        digest="",
    )
    stopped_after(classified(folder, hot, out), 8)
    other = hot if change else replace(hot, temperature=2.0, digest="")
    how = {"batch_size": 4, "precision": "float32", "device": "cpu", **change}
    with pytest.raises(PredictionsError, match=why) as refused:
        run(classify(folder, other, out, **how))
    assert "Choose another name for the output" in str(refused.value)
    assert sum(map(len, parts_of(out))) == 8
    assert len(run(classify(folder, other, out, replace=True, **how))) == 40


def test_a_file_that_no_classification_began_is_not_written_over(folder, tiny_classifier, tmp_path):
    out = tmp_path / "labels.csv"
    out.write_text("path,label\na/00.npy,debris\n")
    why = r"labels\.csv exists already, and is not written over, since nothing tells .*--replace"
    with pytest.raises(PredictionsError, match=why):
        run(classified(folder, tiny_classifier, out))
    assert out.read_text() == "path,label\na/00.npy,debris\n"
    assert {entry.name for entry in tmp_path.iterdir()} == {"in", "labels.csv"}
    run(classified(folder, tiny_classifier, out, replace=True))
    assert len(Predictions.read(out)) == 40
    run(classified(folder, tiny_classifier, out))  # what was begun here is gone on with


def test_a_table_that_somebody_filled_in_is_not_written_over(folder, tiny_classifier, tmp_path):
    out = tmp_path / "predictions.csv"
    run(classified(folder, tiny_classifier, out))
    run(classified(folder, tiny_classifier, out))  # as it was written: the same again
    table = pd.read_csv(out, dtype=str, keep_default_na=False)
    table.assign(label="cell").to_csv(out, index=False)
    filled = out.read_bytes()
    with pytest.raises(PredictionsError, match=r"was changed after it was written here.*--replace"):
        run(classified(folder, tiny_classifier, out))
    assert out.read_bytes() == filled
    run(classified(folder, tiny_classifier, out, replace=True))
    assert (Predictions.read(out).table["label"] == "").all()
    np.save(folder / "a" / "00.npy", np.zeros((24, 24, 4), np.uint8))
    job = classified(folder, tiny_classifier, out)
    while not isinstance(next(job), Classified):
        pass
    out.write_bytes(filled)  # meanwhile
    with pytest.raises(PredictionsError, match="was changed after it was written here"):
        run(job)
    assert out.read_bytes() == filled
    out.unlink()
    run(classified(folder, tiny_classifier, out))
    assert len(Predictions.read(out)) == 40


def test_a_folder_in_the_way_of_the_table_is_named_before_anything_is_computed(folder, tiny_classifier, tmp_path):
    (tmp_path / "out.csv").mkdir()
    rows = []
    with pytest.raises(CTCError, match=r"out\.csv is a folder"):
        run(classified(folder, tiny_classifier, tmp_path / "out.csv"), rows.append)
    assert not [event for event in rows if isinstance(event, Classified)]
    assert not list(tmp_path.glob(".*"))


def test_a_damaged_listing_is_named(folder, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    run(classified(folder, tiny_classifier, out))
    listing = record.folder_of(out) / "listing.parquet"
    listing.write_bytes(listing.read_bytes()[:50])
    with pytest.raises(PredictionsError, match=r"listing\.parquet is damaged.*remove the folder"):
        run(classified(folder, tiny_classifier, out))
    assert len(run(classified(folder, tiny_classifier, out, replace=True))) > 0
    run(classified(folder, tiny_classifier, out))  # and what was begun anew goes on


def test_a_job_that_had_nothing_done_leaves_alone_what_another_begins_at_its_end(
    folder, tiny_classifier, tmp_path, monkeypatch
):
    first = classified(folder, tiny_classifier, tmp_path / "out.csv", on="here")
    while (tmp_path / ".out.csv.parts" / "listing.parquet").exists() is False:
        next(first)
    second = classified(folder, tiny_classifier, tmp_path / "out.csv")
    release = parts.Lock.release

    def then_another_begins(lock):
        release(lock)
        monkeypatch.undo()
        next(event for event in second if "Classifying" in getattr(event, "text", ""))

    monkeypatch.setattr(parts.Lock, "release", then_another_begins)
    first.close()
    result = run(second)
    assert len(result) == 40


def test_two_at_once_are_refused(folder, tiny_classifier, tmp_path):
    job = classified(folder, tiny_classifier, tmp_path / "out.csv")
    while not isinstance(next(job), Classified):
        pass
    with pytest.raises(PredictionsError, match=r"out\.csv is being written by napari-ctc classify"):
        run(classified(folder, tiny_classifier, tmp_path / "out.csv"))
    job.close()


def test_a_subfolder_that_vanishes_midway_is_named_and_the_rest_survives(folder, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    job = classified(folder, tiny_classifier, out)
    while not isinstance(next(job), Classified):
        pass
    (folder / "b").rename(tmp_path / "away")
    table = run(job).table
    assert len(table) == 40
    lost = table["error"] != ""
    assert lost[lost].index.min() >= 20
    assert table["error"][39].startswith("39.npy does not exist")
    (tmp_path / "away").rename(folder / "b")
    assert run(classified(folder, tiny_classifier, out)).failed == 0
    shutil.rmtree(folder)
    with pytest.raises(ManifestError, match="does not exist"):
        run(classified(folder, tiny_classifier, out))
    assert len(Predictions.read(out)) == 40


def test_a_full_disk_ends_the_job_in_words_and_keeps_what_is_done(
    folder, tiny_classifier, tmp_path, monkeypatch, small_chunks
):
    out = tmp_path / "out.csv"
    real = parts.pq.write_table

    def filling(table, where, **more):
        real(table, where, **more)
        if where.name.startswith(".000000000012"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(parts.pq, "write_table", filling)
        with pytest.raises(CTCError, match="No space left") as problem:
            run(classified(folder, tiny_classifier, out))
    assert "12 of 40 specimens are done and kept" in str(problem.value)
    assert not out.exists()
    assert sorted(path.name for path in record.folder_of(out).iterdir() if path.name.startswith(".")) == []
    _, text, _ = said(classified(folder, tiny_classifier, out))
    assert "Classified before, and not again: 12 of 40" in text
    assert len(Predictions.read(out)) == 40
