"""Settings that cannot work are refused in words before anything starts, and nobody opens a file for it."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import SettingsError
from napari_ctc.events import run
from napari_ctc.learn.deal import deal_out
from napari_ctc.learn.planning import check_settings, plan
from napari_ctc.learn.schedule import choose_sizes, choose_steps
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings


def table(folder, **classes) -> Manifest:
    """Make a manifest of files that do not exist: planning reads none."""
    lines = [f"{name}_{n}.npy,{name}" for name, count in classes.items() for n in range(count)]
    (folder / "m.csv").write_text("path,label\n" + "\n".join(lines) + "\n")
    return Manifest.read(folder / "m.csv")


def refusal(manifest, **settings) -> str:
    validation = settings.pop("validation", None)
    with pytest.raises(SettingsError) as caught:
        check_settings(manifest, TrainSettings(**settings), validation)
    with pytest.raises(SettingsError, match=r".") as again:
        run(train(manifest, TrainSettings(**settings), validation=validation))
    assert str(again.value) == str(caught.value)
    return str(caught.value)


def test_a_set_without_labels_is_refused(tmp_path):
    manifest = table(tmp_path, a=5)
    assert "has a label" in refusal(manifest.with_column("label", [""] * 5))


def test_proportions_that_do_not_fit_the_classes_are_refused(tmp_path):
    manifest = table(tmp_path, debris=9, leukocyte=9)
    assert "lack leukocyte" in refusal(manifest, proportions="debris=1")
    assert "sum to 1.2" in refusal(manifest, proportions="debris=1, leukocyte=0.2")
    check_settings(manifest, TrainSettings(proportions="debris=0.1, leukocyte=0.9"))


def test_one_class_is_refused(tmp_path):
    assert "at least two classes" in refusal(table(tmp_path, debris=9))


def test_two_classes_that_look_the_same_are_refused(tmp_path):
    manifest = table(tmp_path, **{"caf\u00e9": 9, "cafe\u0301": 9, "debris": 9})
    assert "they look the same" in refusal(manifest)


def test_a_class_with_one_specimen_is_refused_by_name(tmp_path):
    assert "'tumour' has one labelled specimen" in refusal(table(tmp_path, debris=9, tumour=1))


def test_a_size_below_what_the_network_needs_is_refused(tmp_path):
    assert "at least 24 pixels" in refusal(table(tmp_path, a=9, b=9), size=16)


def test_the_original_network_takes_224_pixels_only(tmp_path):
    manifest = table(tmp_path, a=9, b=9)
    assert "224 pixels only, not 64" in refusal(manifest, network="seed", size=64)
    check_settings(manifest, TrainSettings(network="seed", size=224))


def test_a_batch_larger_than_the_set_is_refused(tmp_path):
    assert "larger than the training set of 14" in refusal(table(tmp_path, a=9, b=9), batch_size=15)


def test_channel_dropout_without_augmentation_is_refused(tmp_path):
    told = refusal(table(tmp_path, a=9, b=9), channel_dropout=0.2, augment=False)
    assert "channel dropout is 0.2, but 'augment' is off" in told


def test_labels_given_by_a_classifier_are_refused_unless_accepted(tmp_path):
    manifest = table(tmp_path, a=9, b=9).with_column("by", ["classifier"] * 3 + ["person"] * 15)
    assert "3 of the 18 labels were given by a classifier" in refusal(manifest)
    check_settings(manifest, TrainSettings(accept_classifier_labels=True))


def test_labels_given_by_a_classifier_are_refused_for_validation_too(tmp_path):
    manifest = table(tmp_path, a=9, b=9)
    validation = manifest.with_column("by", ["classifier"] * 18)
    assert "18 of the 18 labels" in refusal(manifest, validation=validation)


def test_a_device_that_is_not_here_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "'cuda' is not available" in refusal(table(tmp_path, a=9, b=9), device="cuda")


def test_a_class_that_is_held_out_whole_is_refused(tmp_path):
    manifest = table(tmp_path, a=9, b=9).with_column("split", ["train"] * 9 + ["validation"] * 9)
    assert "'b' has no training specimen" in refusal(manifest)


def test_few_specimens_of_a_class_are_mentioned(tmp_path):
    assert check_settings(table(tmp_path, a=20, b=3)) == [
        "'b' has only 3 labelled specimens: what is said of it will be uncertain."
    ]


def test_classes_that_differ_in_capitals_alone_are_mentioned(tmp_path):
    (note,) = check_settings(table(tmp_path, CTC=20, ctc=20, debris=20))
    assert "'CTC' and 'ctc' differ in capitals alone" in note


def test_a_class_that_is_marked_test_altogether_is_mentioned(tmp_path):
    manifest = table(tmp_path, a=20, b=20, c=20).with_column("split", ["test"] * 20 + [""] * 40)
    assert check_settings(manifest) == ["Not learnt, since all of its specimens are marked test: a."]


def test_training_says_what_was_said_of_the_specimens(tmp_path):
    manifest = replace(table(tmp_path, a=20, b=20), notes=("Something is odd.",))
    job = train(manifest, TrainSettings(device="cpu"))
    assert next(job).text == "Something is odd."
    job.close()


def test_the_plan_tells_counts_and_weights_without_reading(tmp_path):
    event = plan(
        table(tmp_path, debris=50, tumour=10),
        TrainSettings(weighting="balanced", device="cpu", precision="float32"),
    )
    assert event.classes == ("debris", "tumour")
    assert (event.training, event.validation, event.test) == ((40, 8), (10, 2), (0, 0))
    assert event.weights == pytest.approx((0.6, 3.0))


def test_test_specimens_are_in_neither_part_and_validation_stays_where_it_was_marked(tmp_path):
    marks = ["test", "validation", "validation", *["train"] * 7] * 2
    manifest = table(tmp_path, a=10, b=10).with_column("split", marks)
    deal = deal_out(manifest, TrainSettings())
    assert deal.test == (1, 1)
    assert deal.validation.keys == ["a_1.npy", "a_2.npy", "b_1.npy", "b_2.npy"]
    assert set(deal.training.table["split"]) == {"train"}


def test_validation_specimens_of_unknown_classes_are_left_out_with_a_note(tmp_path):
    validation = replace(table(tmp_path, a=4, b=4, c=2), root=tmp_path / "other")
    deal = deal_out(table(tmp_path, a=20, b=20), TrainSettings(), validation)
    assert deal.counts(deal.training_truth) == (20, 20)
    assert deal.counts(deal.validation_truth) == (4, 4)
    assert any("classes that are not trained (c)" in note for note in deal.notes)


def test_channels_that_were_set_win_over_those_of_the_manifest(tmp_path):
    manifest = table(tmp_path, a=9, b=9)
    assert deal_out(manifest, TrainSettings()).training.layout == Layout(4)
    assert deal_out(manifest, TrainSettings(channels=2)).training.layout == Layout(2)


@pytest.mark.parametrize(
    ("sides", "settings", "expected"),
    [
        ([40] * 20, {}, (40, 40)),
        ([41] * 20, {}, (48, 48)),
        ([10] * 20, {}, (24, 24)),
        ([224] * 20, {}, (224, 224)),
        ([500] * 20, {}, (500, 224)),
        ([40] * 99 + [900], {}, (40, 40)),
        ([96] * 20, {"size": 48}, (96, 48)),
        ([64] * 20, {"size": 64}, (64, 64)),
        ([64] * 20, {"network": "seed"}, (64, 224)),
        ([220] * 20, {"network": "seed"}, (224, 224)),
    ],
)
def test_the_size_follows_the_specimens_or_the_setting(sides, settings, expected):
    assert choose_sizes(np.array(sides), TrainSettings(**settings)) == expected


@pytest.mark.parametrize("size", [24, 64, 224])
@pytest.mark.parametrize("specimens", [4, 10, 33, 97, 480, 2200, 100_000])
def test_batches_are_never_of_one_and_epochs_stay_in_bounds(specimens, size):
    steps, epochs = choose_steps(specimens, size, TrainSettings())
    assert 8 <= epochs <= 150
    assert min(len(part) for part in np.array_split(np.arange(specimens), steps)) >= 2
    assert epochs <= choose_steps(specimens, 64, TrainSettings())[1]


def test_few_specimens_are_shown_more_often():
    epochs = [choose_steps(specimens, 64, TrainSettings())[1] for specimens in (100, 533, 1000, 2189, 6886)]
    assert epochs == [150, 150, 130, 60, 57]


def test_large_sets_and_sizes_that_cost_more_are_shown_less_often():
    epochs = {size: choose_steps(10_000, size, TrainSettings())[1] for size in (32, 40, 64, 72, 127, 128, 224)}
    assert epochs == {32: 39, 40: 25, 64: 39, 72: 31, 127: 10, 128: 39, 224: 13}


def test_a_plan_and_its_weights_need_no_torch(tmp_path):
    table(tmp_path, debris=50, tumour=10).write(tmp_path / "manifest.csv")
    program = (
        "import sys; from napari_ctc import TrainSettings, run; from napari_ctc.gui import train_jobs; "
        f"from pathlib import Path; source = train_jobs.Source(path=Path({str(tmp_path / 'manifest.csv')!r})); "
        "found = run(train_jobs.survey(source, TrainSettings())); "
        "assert found.planned.training == (40, 8), found; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_labels_of_a_classifier_are_learnt_and_never_held_out(tmp_path):
    manifest = table(tmp_path, a=40, b=40)
    by = ["classifier" if row % 2 else "" for row in range(80)]
    sources = [f"s{row % 8 // 2}" for row in range(80)]
    manifest = manifest.with_column("by", by).with_column("source", sources)
    deal = deal_out(manifest, TrainSettings(accept_classifier_labels=True))
    assert set(deal.validation.table["by"]) == {""}
    assert not set(deal.validation.table["source"]) & set(deal.training.table["source"])
    assert (deal.training.table["by"] == "classifier").sum() == 30
    assert any("Of the 40 labels that a classifier gave, 30 are trained on" in note for note in deal.notes)


def test_figures_from_labels_of_a_classifier_are_told(tmp_path):
    manifest = table(tmp_path, a=20, b=20).with_column("by", ["classifier"] * 40)
    deal = deal_out(manifest, TrainSettings(accept_classifier_labels=True))
    assert any("8 of the 8 validation labels were given by a classifier" in note for note in deal.notes)


def test_sources_that_train_and_validate_are_told(tmp_path):
    manifest = table(tmp_path, a=20, b=20).with_column("source", ["s1", "s2"] * 20)
    rows = np.arange(40)
    deal = deal_out(manifest.rows(rows[:30]), TrainSettings(), manifest.rows(rows[30:]))
    assert any("2 sources are both trained on and held out" in note for note in deal.notes)
