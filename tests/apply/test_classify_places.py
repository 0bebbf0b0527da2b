"""Classifying elsewhere says what classifying here says, row for row, whatever dies meanwhile."""

import os
import signal
import sys

import errands
import numpy as np
import pytest

from clusters import LocalCluster
from napari_ctc.apply import elsewhere, forward, inference
from napari_ctc.apply.inference import classify
from napari_ctc.data.predictions import Predictions
from napari_ctc.errors import PlaceError
from napari_ctc.events import Classified, Event, Said, Skipped, run

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by POSIX signals")


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch):
    monkeypatch.setattr(forward, "PIXELS_IN_CHUNK", 64 * 64 * 4)
    monkeypatch.setattr(elsewhere, "BATCHES_IN_PIECE", 1)


@pytest.fixture
def job(own_folder, tiny_classifier):
    """Makes a job on 60 specimens, one of them broken and one of them gone, in chunks of four."""
    manifest = own_folder / "manifest.csv"
    names = sorted((own_folder / "slide_2").glob("*.npy"))
    names[0].write_bytes(names[0].read_bytes()[:300])
    names[1].unlink()

    def make(out, on, inputs=manifest):
        return classify(inputs, tiny_classifier, out, precision="float32", batch_size=4, on=on)

    return make


def same(found, expected):
    for name in ("path", "source", "label", "predicted", "error", "classifier", "precision", "bytes", "sha256"):
        assert list(found.table[name]) == list(expected.table[name])
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=2e-6)


def test_processes_say_what_here_says(job, tmp_path):
    events = []
    expected = run(job(tmp_path / "here.csv", "here"))
    found = run(job(tmp_path / "there.csv", "processes:2"), events.append)
    same(Predictions.read(found.path), Predictions.read(expected.path))
    assert (len(found), found.failed, found.counts) == (60, 2, expected.counts)
    assert len([event for event in events if isinstance(event, Skipped)]) == 2
    done = [event.done for event in events if event.total]
    assert done == sorted(done)
    assert done[-1] == 60


@needs_signals
def test_one_specimen_that_ends_its_processes_is_one_failed_row_and_all_others_are_classified(
    job, own_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr(elsewhere, "classify_chunk", errands.die_of_a_deadly_file)
    deadly = sorted((own_folder / "slide_1").glob("*.npy"))[1]
    deadly.write_bytes(b"deadly")
    expected = run(job(None, "here")).table.set_index("path")
    found = Predictions.read(run(job(tmp_path / "out.csv", "processes:2")).path).table
    key = [path for path in found["path"] if path.endswith(f"slide_1/{deadly.name}")]
    said = found.set_index("path").loc[key, "error"].item()
    assert said.startswith("The process that worked on it ended 2 times (by SIGKILL). A damaged file can do this")
    others = found["path"] != key[0]
    assert len(found) == 60
    assert (found["error"] != "").sum() == 3
    assert list(found["predicted"][others]) == list(expected["predicted"][others.to_numpy()])
    assert list(found["sha256"][others]) == list(expected["sha256"][others.to_numpy()])


@needs_signals
def test_a_cluster_says_so_too_although_a_worker_is_killed_meanwhile(job, cluster):
    expected = run(job(None, "here"))
    victims, killed = cluster.pids()[:1], []

    def kill(event):
        if isinstance(event, Classified) and event.done >= 8 and victims:
            killed.append(event.done)
            os.kill(victims.pop(), signal.SIGKILL)

    same(run(job(None, cluster.address), kill), expected)
    assert killed
    assert killed[0] < 60


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a path that means another place elsewhere")
def test_images_that_a_worker_does_not_see_are_one_sentence(job, own_folder, cluster, monkeypatch):
    monkeypatch.chdir(own_folder)
    mine = "/proc/self/cwd/slide_1"  # the folder that this process is in, and another one for each worker
    with pytest.raises(PlaceError, match=r"worker tcp://\S+ does not see /proc/self/cwd/slide_1\. Workers read"):
        run(job(None, cluster.address, mine))


@needs_signals
def test_a_scheduler_that_vanishes_leaves_what_is_done_and_another_place_goes_on(job, own_folder, tmp_path):
    expected = run(job(None, "here"))
    out, begun = own_folder / "out.csv", []
    (tmp_path / "cluster").mkdir()
    own = LocalCluster(tmp_path / "cluster", workers=1, nanny=False)
    try:
        own.wait(1)

        def kill(event):
            begun.extend([event.done] if isinstance(event, Classified) else [])
            if begun and begun[-1] >= 12:
                own.scheduler.kill()

        with pytest.raises(PlaceError, match=r"no longer answers\. What is done is kept"):
            run(job(out, own.address), kill)
    finally:
        own.end()
    assert not out.exists()
    said = []
    run(job(out, "here"), lambda event: said.extend([event.text] if isinstance(event, Said) else []))
    assert any(f"not again: {begun[-1]} of 60" in text for text in said)
    same(Predictions.read(out), expected)


@pytest.fixture
def vanishing(monkeypatch):
    """Let places vanish once 12 specimens are classified."""
    everything = inference.classified_elsewhere

    def some(*arguments):
        for one in everything(*arguments):
            yield one
            if not isinstance(one, Event) and one[0].stop == 12:
                raise PlaceError("The scheduler no longer answers.")

    monkeypatch.setattr(inference, "classified_elsewhere", some)


def test_a_place_that_vanishes_amid_a_chunk_leaves_what_is_done(job, vanishing, own_folder, monkeypatch):
    monkeypatch.setattr(forward, "PIXELS_IN_CHUNK", 64 * 64 * 40)
    out, events = own_folder / "out.csv", []
    with pytest.raises(PlaceError):
        run(job(out, "processes:1"))
    run(job(out, "here"), events.append)
    assert any("not again: 12 of 60" in event.text for event in events if isinstance(event, Said))
    same(Predictions.read(out), run(job(None, "here")))


def test_a_place_that_vanishes_leaves_the_rows_that_are_in_memory(job, vanishing):
    events = []
    found = run(job(None, "processes:1"), events.append)
    assert found.stopped
    assert len(found) == 12
    assert [one.text for one in events if isinstance(one, Said)][-1] == "The scheduler no longer answers."
