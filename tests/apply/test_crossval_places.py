"""Folds that are trained elsewhere say what those trained here say, whatever happens to the workers."""

import os
import signal
import sys
from dataclasses import replace

import numpy as np
import pytest
from test_crossval import write_specimens

from napari_ctc.apply.crossval import cross_validate
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import TrainingError
from napari_ctc.events import FoldDone, Said, Skipped, run
from napari_ctc.settings import TrainSettings

QUICK = TrainSettings(epochs=1, device="cpu", precision="float32", augment=False, batch_size=4)


@pytest.fixture(scope="module")
def here(tmp_path_factory):
    """A manifest of 24 specimens, one of which cannot be read, and what three folds of it say here."""
    folder = tmp_path_factory.mktemp("here")
    manifest = write_specimens(folder)
    (folder / "23.npy").write_bytes(b"")
    return manifest, run(cross_validate(manifest, QUICK, folds=3))


def same(found, expected):
    ours, theirs = found.predictions.table, expected.predictions.table
    for name in ("path", "source", "label", "predicted", "error", "sha256", "bytes"):
        assert list(ours[name]) == list(theirs[name])
    np.testing.assert_allclose(found.predictions.probabilities, expected.predictions.probabilities, atol=1e-3)
    assert [one.balanced_accuracy for one in found.folds] == [one.balanced_accuracy for one in expected.folds]


def test_folds_in_processes_say_what_folds_here_say(here, tmp_path):
    manifest, expected = here
    events = []
    found = run(cross_validate(manifest, QUICK, tmp_path / "out.csv", folds=3, on="processes:2"), events.append)
    same(found, expected)
    assert [event.fold for event in events if isinstance(event, FoldDone)] == [1, 2, 3]
    done = [event.done for event in events]
    assert done == sorted(done)
    assert done[-1] == 1000
    assert [event.path for event in events if isinstance(event, Skipped)] == ["23.npy"]
    assert (tmp_path / "out.csv").exists()


def test_folds_elsewhere_know_the_channels_that_the_manifest_was_opened_with(tmp_path):
    manifest = write_specimens(tmp_path)
    for row in range(len(manifest)):
        path, _ = manifest.locate(row)
        np.save(path, np.ascontiguousarray(np.load(path)[:, :, :3]))
    settings = TrainSettings(**{name: getattr(QUICK, name) for name in QUICK.model_fields_set - {"channels"}})
    three = replace(manifest, layout=Layout(3, "last"))
    found = run(cross_validate(three, settings, folds=2, on="processes:1"))
    assert not found.predictions.failed


def test_no_core_is_set_aside_for_processes_that_have_no_fold(tmp_path):
    said = []
    run(cross_validate(write_specimens(tmp_path), QUICK, folds=2, on="processes:9"), said.append)
    assert any(isinstance(one, Said) and "2 folds in 2 processes" in one.text for one in said)


@pytest.mark.skipif(sys.platform == "win32", reason="the worker is killed by a POSIX signal")
def test_folds_on_a_cluster_say_so_too_although_a_worker_is_killed(here, cluster):
    manifest, expected = here
    victims = cluster.pids()[:1]
    events = []

    def kill(event):
        events.append(event)
        if victims and sum(
            isinstance(one, Said) and "folds on the cluster at tcp" in one.text for one in events[:-5]
        ):
            os.kill(victims.pop(), signal.SIGKILL)

    found = run(cross_validate(manifest, QUICK, folds=3, on=cluster.address), kill)
    assert not victims
    same(found, expected)


def test_trainings_that_fail_elsewhere_are_told_as_here(tmp_path):
    manifest = write_specimens(tmp_path)
    told = []

    def take_files_away(event):
        if isinstance(event, Said) and "folds in 1 process" in event.text:
            for row in range(1, 23, 2):  # all but one of class b
                (tmp_path / f"{row:02}.npy").unlink()
        told.extend([event.text] if isinstance(event, Said) and event.warning else [])

    with pytest.raises(TrainingError, match="cannot be read, and of 'b'"):
        run(cross_validate(manifest, QUICK, folds=2, on="processes:1"), take_files_away)
    assert [text[:15] for text in told if "failed" in text] == ["Fold 1 failed. ", "Fold 2 failed. "]
