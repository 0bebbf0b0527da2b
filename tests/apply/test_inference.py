from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from napari_ctc.apply import inference
from napari_ctc.apply.inference import classify
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ClassifierError, SettingsError, Stopped
from napari_ctc.events import Classified, Said, Saved, Skipped, run
from napari_ctc.learn import trials
from napari_ctc.learn.agreement import LowPrecision
from napari_ctc.learn.training import train
from napari_ctc.learn.ways import Way
from napari_ctc.score.calibration import called, log_posterior, read_proportions
from napari_ctc.settings import TrainSettings


def stopped_after(job, batches: int):
    """Drive a job, stop it after some batches, and return its result."""
    event = next(job)
    try:
        while True:
            batches -= isinstance(event, Classified)
            if batches == 0:
                batches, event = -1, job.throw(Stopped())
            else:
                event = next(job)
    except StopIteration as end:
        return end.value


def test_batches_become_rows_together_but_the_first_at_once(drawn_manifest, tiny_classifier, monkeypatch):
    monkeypatch.setattr(inference, "TOGETHER", 600.0)
    events = []
    together = run(classify(drawn_manifest, tiny_classifier, precision="float32", batch_size=4), events.append)
    told = [event for event in events if isinstance(event, Classified)]
    assert [len(event.rows) for event in told] == [4, 56]
    assert [row for event in told for row in event.indices] == list(range(60))
    monkeypatch.setattr(inference, "TOGETHER", 0.0)
    alone = run(classify(drawn_manifest, tiny_classifier, precision="float32", batch_size=4))
    pd.testing.assert_frame_equal(together.table, alone.table)


def test_many_cores_and_specimens_are_told_of_processes(drawn_manifest, tiny_classifier, monkeypatch, tmp_path):
    def said(out):
        events = []
        run(classify(drawn_manifest, tiny_classifier, out, precision="float32", device="cpu"), events.append)
        return [event.text for event in events if isinstance(event, Said) and "--on processes:8," in event.text]

    monkeypatch.setattr(inference, "MANY", 60)
    monkeypatch.setattr(inference, "cores", lambda: 4)
    assert not said(tmp_path / "few.csv")
    monkeypatch.setattr(inference, "cores", lambda: 16)
    assert len(said(tmp_path / "many.csv")) == 1
    assert not said(None)


def test_rows_come_in_the_order_of_the_input(drawn_manifest, tiny_classifier):
    reversed_ = drawn_manifest.rows(np.arange(len(drawn_manifest))[::-1])
    predictions = run(classify(reversed_, tiny_classifier, precision="float32"))
    assert list(predictions.table["path"]) == reversed_.keys
    straight = run(classify(drawn_manifest, tiny_classifier, precision="float32"))
    np.testing.assert_allclose(predictions.probabilities[::-1], straight.probabilities, atol=1e-5)


def raw_scores(manifest, classifier):
    pixels = classifier.canvas.batch([manifest.specimen(row) for row in range(len(manifest))])
    with torch.inference_mode():
        return classifier.network_module(classifier.canvas.to_input(pixels, torch.device("cpu"))).numpy()


def names(predictions, places):
    return [predictions.classes[place] for place in places]


def test_asked_for_the_most_probable_class_it_calls_that(drawn_manifest, tiny_classifier):
    predictions = run(classify(drawn_manifest, tiny_classifier, decision="most-probable"))
    assert list(predictions.table["predicted"]) == names(predictions, predictions.probabilities.argmax(axis=1))
    np.testing.assert_allclose(predictions.table["probability"], predictions.probabilities.max(axis=1))


def test_scores_are_read_as_the_classifier_says(drawn_manifest, tiny_classifier):
    import dataclasses

    hot = dataclasses.replace(tiny_classifier, temperature=3.0, calibrated=("debris",), digest="")
    predictions = run(classify(drawn_manifest, hot, precision="float32", device="cpu"))
    log_p = log_posterior(raw_scores(drawn_manifest, hot), hot.loss_prior, hot.shown, 3.0)
    np.testing.assert_allclose(predictions.probabilities, np.exp(log_p), atol=1e-5)
    said = called(raw_scores(drawn_manifest, hot), hot.loss_prior, hot.shown, "balanced")
    assert list(predictions.table["predicted"]) == names(predictions, said)
    np.testing.assert_allclose(
        predictions.table["probability"], np.exp(log_p)[np.arange(len(said)), said], atol=1e-5
    )
    assert set(predictions.table["calibrated"]) == {"debris"}
    assert set(predictions.table["decision"]) == {"balanced"}
    shown = read_proportions(predictions.table["proportions"][0], hot.classes, [])
    assert shown == pytest.approx(hot.shown, abs=1e-3)


def test_unweighted_training_still_finds_the_rare_class_where_the_decision_is_balanced(tmp_path):
    """Ten of one class to one of the other, so alike that the decision tells how many are called the rare one."""
    random = np.random.default_rng(0)
    lines = ["path,label"]
    for row in range(66):
        rare = row % 11 == 0
        image = random.integers(0, 100, (16, 16, 4)) + (12 * rare)
        np.save(tmp_path / f"{row}.npy", image.astype("uint8"))
        lines.append(f"{row}.npy,{'rare' if rare else 'common'}")
    (tmp_path / "manifest.csv").write_text("\n".join(lines) + "\n")
    manifest = Manifest.read(tmp_path / "manifest.csv")
    settings = TrainSettings(
        epochs=2, weighting="none", decision="balanced", device="cpu", precision="float32", augment=False
    )
    classifier = run(train(manifest, settings))
    predictions = run(classify(manifest, classifier, precision="float32", device="cpu"))
    balanced = called(raw_scores(manifest, classifier), classifier.loss_prior, classifier.shown, "balanced")
    assert list(predictions.table["predicted"]) == names(predictions, balanced)
    probable = run(classify(manifest, classifier, precision="float32", decision="most-probable"))
    assert probable.counts["rare"] < predictions.counts["rare"]
    uniform = run(classify(manifest, classifier, precision="float32", proportions="uniform"))
    assert list(uniform.table["predicted"]) == list(predictions.table["predicted"])
    assert uniform.table["p_rare"].sum() > predictions.table["p_rare"].sum()
    assert set(uniform.table["proportions"]) == {"common=0.5, rare=0.5"}


def test_proportions_that_do_not_fit_are_refused_before_anything_is_read(tiny_classifier, tmp_path):
    with pytest.raises(SettingsError, match="lack "):
        run(classify(tmp_path / "none.csv", tiny_classifier, proportions="debris=1"))


def test_folding_the_norm_changes_no_probability(drawn_manifest, tiny_classifier):
    some = drawn_manifest.rows(range(8))
    predictions = run(classify(some, tiny_classifier, precision="float32", device="cpu"))
    probabilities, _ = tiny_classifier.reading()(raw_scores(some, tiny_classifier))
    np.testing.assert_allclose(predictions.probabilities, probabilities, atol=1e-5)


def unlike(low):
    """Make a record of what bfloat16 changed."""
    return LowPrecision(specimens=40, classes_changed=low, largest_change=0.004)


def test_a_change_just_beyond_the_bound_does_not_read_as_if_it_were_the_bound():
    assert "by up to 0.0052 on" in str(LowPrecision(specimens=40, classes_changed=0, largest_change=0.0052))


@pytest.mark.parametrize(
    ("low", "precision", "used", "why"),
    [
        (unlike(0), "auto", "bfloat16", "in bfloat16, 2.0 times as fast as float32 here."),
        (unlike(1), "auto", "float32", "but it changed 1 class and probabilities by up to 0.004 on 40 specimens"),
        (None, "auto", "float32", "but the classifier's file does not say what it would change."),
        (unlike(1), "bfloat16", "bfloat16", "in bfloat16, as was asked for."),
        (unlike(0), "float32", "float32", "in float32, as was asked for."),
    ],
)
def test_bfloat16_is_used_only_where_it_changes_no_class(
    drawn_manifest, tiny_classifier, monkeypatch, low, precision, used, why
):
    times = {Way("bfloat16"): 1.0, Way("float32"): 2.0}
    monkeypatch.setattr(trials, "_remembered", lambda key: times)
    classifier = replace(tiny_classifier, low_precision=low)
    said = []
    some = drawn_manifest.rows(range(8))
    predictions = run(
        classify(some, classifier, precision=precision), lambda event: said.append(getattr(event, "text", ""))
    )
    assert set(predictions.table["precision"]) == {used}
    assert why in said[0]
    exact = run(classify(some, classifier, precision="float32")).probabilities
    assert np.array_equal(predictions.probabilities, exact) is (used == "float32")


def test_bfloat16_is_not_used_where_it_is_slower(drawn_manifest, tiny_classifier, monkeypatch):
    monkeypatch.setattr(trials, "_remembered", lambda key: {Way("bfloat16"): 2.0, Way("float32"): 1.0})
    classifier = replace(tiny_classifier, low_precision=unlike(0))
    said = []
    predictions = run(
        classify(drawn_manifest.rows(range(8)), classifier), lambda event: said.append(getattr(event, "text", ""))
    )
    assert set(predictions.table["precision"]) == {"float32"}
    assert "in float32; bfloat16 is 0.5 times as fast as float32 here." in said[0]


def test_stopping_keeps_the_rows_so_far(drawn_manifest, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    predictions = stopped_after(classify(drawn_manifest, tiny_classifier, out, batch_size=8), 3)
    assert predictions.stopped
    assert len(predictions) == 24
    assert not out.exists()
    assert len(Predictions.read(tmp_path / "out.stopped.csv")) == 24


def test_stopping_before_the_first_row_leaves_no_file(drawn_manifest, tiny_classifier, tmp_path):
    job = classify(drawn_manifest, tiny_classifier, tmp_path / "out.csv", batch_size=8)
    while "Classifying" not in getattr(next(job), "text", ""):
        pass
    with pytest.raises(StopIteration) as end:
        job.throw(Stopped())
    assert end.value.value.stopped and len(end.value.value) == 0
    assert not list(tmp_path.iterdir())


def test_stopping_before_the_first_row_leaves_the_rows_of_the_stop_before(
    drawn_manifest, tiny_classifier, tmp_path
):
    out = tmp_path / "out.csv"
    stopped_after(classify(drawn_manifest, tiny_classifier, out, batch_size=8), 3)
    job = classify(drawn_manifest, tiny_classifier, out, batch_size=8)
    while "Classifying" not in getattr(next(job), "text", ""):
        pass
    with pytest.raises(StopIteration):
        job.throw(Stopped())
    assert len(Predictions.read(tmp_path / "out.stopped.csv")) == 24
    assert len(run(classify(drawn_manifest, tiny_classifier, out, batch_size=8))) == 60


def test_abandoning_leaves_no_file_and_no_thread(drawn_manifest, tiny_classifier, tmp_path):
    import threading

    job = classify(drawn_manifest, tiny_classifier, tmp_path / "out.csv", batch_size=4)
    while not isinstance(next(job), Classified):
        pass
    job.close()
    assert list(tmp_path.iterdir()) == []
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("napari-ctc ")]


def test_every_unreadable_file_is_a_row_with_its_reason(own_folder, tiny_classifier, tmp_path):
    files = sorted(own_folder.rglob("*.npy"))
    files[0].write_bytes(b"\x93NUMPY")
    files[1].write_bytes(files[1].read_bytes()[:-100])
    events = []
    predictions = run(classify(own_folder, tiny_classifier, tmp_path / "out.parquet"), events.append)
    failed = predictions.table[predictions.table["error"] != ""]
    assert len(predictions) == 60
    assert predictions.failed == 2
    assert (failed["predicted"] == "").all()
    assert failed["probability"].isna().all()
    assert {event.path for event in events if isinstance(event, Skipped)} == set(failed["path"])
    assert sum(isinstance(event, Saved) for event in events) == 1


def test_another_number_of_channels_is_refused(tmp_path, tiny_classifier):
    np.save(tmp_path / "one.npy", np.zeros((32, 32, 3), np.uint8))
    manifest = Manifest.open(tmp_path, Layout(3))
    with pytest.raises(ClassifierError, match="4 channels, and these have 3"):
        run(classify(manifest, tiny_classifier))


def test_specimens_of_another_size_are_put_on_the_canvas(tmp_path, tiny_classifier, drawn_manifest):
    specimen = drawn_manifest.specimen(0)
    np.save(tmp_path / "small.npy", specimen[10:50, 5:60])
    np.save(tmp_path / "large.npy", np.pad(specimen, ((20, 20), (20, 20), (0, 0)), mode="edge"))
    np.save(tmp_path / "same.npy", specimen)
    predictions = run(classify(tmp_path, tiny_classifier, precision="float32"))
    large, same, _ = predictions.probabilities
    np.testing.assert_allclose(large, same, atol=1e-5)


def test_one_row_does_not_depend_on_its_neighbours(drawn_manifest, tiny_classifier):
    whole = run(classify(drawn_manifest, tiny_classifier, precision="float32"))
    alone = run(classify(drawn_manifest.rows([17]), tiny_classifier, precision="float32", batch_size=1))
    np.testing.assert_allclose(alone.probabilities[0], whole.probabilities[17], atol=1e-5)


def test_a_stopped_job_leaves_the_older_table(drawn_manifest, tiny_classifier, tmp_path):
    out = tmp_path / "out.csv"
    run(classify(drawn_manifest, tiny_classifier, out))
    before = out.read_bytes()
    again = classify(drawn_manifest, tiny_classifier, out, batch_size=8, decision="most-probable", replace=True)
    stopped_after(again, 2)
    assert out.read_bytes() == before
    assert len(Predictions.read(tmp_path / "out.stopped.csv")) == 16


def test_pixels_beyond_float32_are_refused_in_words(tmp_path, tiny_classifier):
    specimen = np.zeros((64, 64, 4))
    specimen[0, 0, 0] = 1e300
    np.save(tmp_path / "huge.npy", specimen)
    np.save(tmp_path / "fine.npy", np.zeros((64, 64, 4)))
    table = run(classify(tmp_path, tiny_classifier)).table
    assert "beyond 1e38" in table["error"][1]
    assert table["predicted"][1] == ""
