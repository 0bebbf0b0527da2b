"""The command line, from drawing specimens to exported labels, and one sentence an error."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from napari_ctc.cli import FINDINGS, GOOD, STOPPED, WRONG, _main
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import Predictions
from napari_ctc.learn.loading import read_card


@pytest.fixture(scope="module")
def way(tmp_path_factory) -> Path:
    """A folder in which the whole way was gone once: drawn, trained, classified."""
    top = tmp_path_factory.mktemp("way")
    assert _main(["demo", str(top / "set"), "--specimens", "60", "--size", "32"]) == GOOD
    manifest = str(top / "set" / "manifest.csv")
    model = str(top / "model.safetensors")
    assert _main(["train", manifest, "--out", model, "--epochs", "2", "--device", "cpu"]) == GOOD
    assert _main(["classify", model, str(top / "set"), "--out", str(top / "predictions.csv")]) == GOOD
    return top


def test_every_specimen_gets_a_prediction_with_the_facts_of_its_file(way):
    predictions = Predictions.read(way / "predictions.csv")
    assert len(predictions) == 60
    np.testing.assert_allclose(predictions.probabilities.sum(axis=1), 1, atol=1e-4)
    first = predictions.table.iloc[0]
    assert (way / first["path"]).stat().st_size == first["bytes"]
    assert first["label"] in predictions.classes  # the folder's manifest gave the labels


def test_evaluate_names_every_figure_and_warns_of_trained_specimens(way, capsys):
    out = way / "figures.json"
    code = _main(["evaluate", str(way / "model.safetensors"), str(way / "set/manifest.csv"), "--json", str(out)])
    figures = json.loads(out.read_text())
    assert code == FINDINGS
    assert 40 <= figures["seen_in_training"] <= 60
    assert sum(figures["counts"].values()) == 60
    assert np.sum(figures["confusion_matrix"]) == 60
    assert set(figures["per_class"]["tumour cell"]) >= {"recall", "precision", "f1", "interval"}
    assert {"balanced_accuracy", "macro_f1", "accuracy", "majority"} <= set(figures)
    reliability = figures["reliability"]
    assert {name: one["count"] for name, one in reliability["sums"].items()} == figures["counts"]
    assert sum(one["sum"] for one in reliability["sums"].values()) == pytest.approx(60, abs=0.01)
    for when in ("before", "after"):
        for one in reliability[when].values():
            assert sum(part["count"] for part in one["bins"]) == 60
    said = capsys.readouterr()
    assert "promise too much" in said.err
    assert "before the temperature; they add up to" in said.out
    assert "a score, not calibrated; fewer than 50 specimens, so this says little" in said.out


def test_decision_and_proportions_can_be_asked_for(way, tmp_path, capsys):
    model, out = str(way / "model.safetensors"), tmp_path / "out.csv"
    asked = ["--decision", "most-probable", "--proportions", "debris=0.5, leukocyte=0.3, tumour cell=0.2"]
    assert _main(["classify", model, str(way / "set"), "--out", str(out), *asked]) == GOOD
    found = Predictions.read(out)
    assert set(found.table["decision"]) == {"most-probable"}
    assert set(found.table["proportions"]) == {"debris=0.5, leukocyte=0.3, tumour cell=0.2"}
    assert list(found.table["predicted"]) == [found.classes[k] for k in found.probabilities.argmax(axis=1)]
    assert _main(["evaluate", model, str(way / "set/manifest.csv"), *asked]) == FINDINGS
    assert _main(["classify", model, str(way / "set"), "--out", str(out), "--proportions", "debris=1"]) == WRONG
    assert "lack leukocyte, tumour cell" in capsys.readouterr().err


def test_cross_validation_tells_each_class_and_each_fold(way, tmp_path, capsys):
    manifest, out, figures = str(way / "set/manifest.csv"), tmp_path / "out.csv", tmp_path / "figures.json"
    arguments = ["cross-validate", manifest, "--out", str(out), "--folds", "3", "--json", str(figures)]
    assert _main([*arguments, "--epochs", "1", "--device", "cpu"]) == GOOD
    said = capsys.readouterr()
    found = json.loads(figures.read_text())
    assert "tumour cell: " in said.out
    assert "Balanced accuracy of the 3 folds: " in said.out
    for one in found["folds"]:
        assert f"{one['balanced_accuracy']:.3f}" in said.out
    assert "fold 3 of 3" in said.err
    table = Predictions.read(out).table
    original = Manifest.read(way / "set/manifest.csv")
    assert [(tmp_path / key).resolve() for key in table["path"]] == [
        original.locate(row)[0].resolve() for row in range(60)
    ]
    assert (table.groupby("source")["classifier"].nunique() == 1).all()
    assert sum(found["counts"].values()) == 60


def test_labels_leave_in_the_original_form(way, capsys):
    out = way / "labels.csv"
    assert _main(["export-labels", str(way / "predictions.csv"), "--out", str(out), "--headerless"]) == GOOD
    assert len(Manifest.read(out)) == 60
    assert "path" not in out.read_text().splitlines()[0]


@pytest.mark.parametrize("command", ["export-labels", "cross-validate"])
def test_a_table_that_is_there_is_written_over_only_when_asked(command, way, tmp_path, capsys):
    given = {"export-labels": "predictions.csv", "cross-validate": "set/manifest.csv"}[command]
    out = tmp_path / "labels.csv"
    out.write_text("path,label\nmine.npy,cell\n")
    arguments = [command, str(way / given), "--out", str(out)]
    assert _main(arguments) == WRONG
    said = capsys.readouterr().err
    assert (
        said
        == f"napari-ctc: {out} exists already, and is not written over. Choose another --out, or add --replace.\n"
    )
    assert out.read_text() == "path,label\nmine.npy,cell\n"
    few = ["--folds", "2", "--epochs", "1"] if command == "cross-validate" else []
    assert _main([*arguments, "--replace", *few]) == GOOD
    assert "mine.npy" not in out.read_text()


def test_a_classifiers_labels_are_refused_for_training(way, capsys):
    predictions = Predictions.read(way / "predictions.csv")
    unlabelled = Predictions(predictions.table.assign(label=""), predictions.root, predictions.classes)
    unlabelled.write(way / "unlabelled.csv")
    assert (
        _main(["export-labels", str(way / "unlabelled.csv"), "--out", str(way / "by.csv"), "--which", "both"])
        == GOOD
    )
    assert _main(["train", str(way / "by.csv"), "--out", str(way / "no.safetensors")]) == WRONG
    assert "classifier" in capsys.readouterr().err
    assert not (way / "no.safetensors").exists()


def test_a_pack_of_class_folders_can_keep_the_classes(tmp_path, capsys):
    for name in ("a/1.npy", "b/2.npy"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        np.save(tmp_path / "in" / name, np.zeros((4, 5, 3), np.uint8))
    for subfolders in ("label", "source"):
        out = tmp_path / f"{subfolders}.npy"
        flags = ["--channels", "3", "--subfolders", subfolders]
        assert _main(["pack", str(tmp_path / "in"), "--out", str(out), *flags]) == GOOD
        assert list(Manifest.read(out.with_suffix(".csv")).table[subfolders]) == ["a", "b"]


def test_a_broken_file_becomes_a_row_and_the_rest_goes_on(way, tmp_path, capsys):
    (tmp_path / "a.npy").write_bytes(b"")
    np.save(tmp_path / "b.npy", np.zeros((32, 32, 4), np.uint8))
    out = tmp_path / "out.parquet"
    assert _main(["classify", str(way / "model.safetensors"), str(tmp_path), "--out", str(out)]) == FINDINGS
    table = Predictions.read(out).table
    assert list(table["path"]) == ["a.npy", "b.npy"]
    assert "is empty" in table["error"][0]
    assert table["predicted"][1] != ""


def test_the_same_pixels_get_equal_probabilities_however_they_are_stored(way, tmp_path):
    keys = Manifest.read(way / "set/manifest.csv")
    specimens = [keys.specimen(row) for row in range(12)]
    np.save(tmp_path / "stack.npy", np.stack(specimens))
    for row, specimen in enumerate(specimens):
        (tmp_path / "renamed").mkdir(exist_ok=True)
        np.save(tmp_path / f"renamed/{11 - row:02d}.npy", specimen)
        (tmp_path / "first").mkdir(exist_ok=True)
        np.save(tmp_path / f"first/{row:02d}.npy", np.ascontiguousarray(np.moveaxis(specimen, -1, 0)))
        (tmp_path / "fortran").mkdir(exist_ok=True)
        np.save(tmp_path / f"fortran/{row:02d}.npy", np.asfortranarray(specimen))
        (tmp_path / "big").mkdir(exist_ok=True)
        np.save(tmp_path / f"big/{row:02d}.npy", specimen.astype(">u2"))
    found = {}
    for name in ("stack.npy", "renamed", "first", "fortran", "big"):
        out = tmp_path / f"{name}.csv"
        arguments = ["classify", str(way / "model.safetensors"), str(tmp_path / name), "--out", str(out)]
        assert _main([*arguments, "--precision", "float32"]) == GOOD
        found[name] = Predictions.read(out).probabilities
    found["renamed"] = found["renamed"][::-1]
    for name, probabilities in found.items():
        np.testing.assert_allclose(probabilities, found["stack.npy"], atol=1e-5, err_msg=name)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["frobnicate"], "Unknown command"),
        (["train", "nowhere.csv", "--out", "m.safetensors"], "does not exist"),
        (["train", "nowhere.csv", "--out", "m.pt"], "should end in .safetensors"),
        (["train", "nowhere.csv", "--out", "m.safetensors", "--size", "9999"], "--size 9999"),
        (["train", "nowhere.csv", "--out", "m.safetensors", "--sise", "9"], "--sise"),
        (["classify", "nowhere.safetensors", ".", "--out", "p.csv"], "nowhere.safetensors"),
        (["export-labels", "nowhere.csv", "--out", "l.csv"], "does not exist"),
        (["cross-validate", "nowhere.csv", "--out", "p.csv"], "does not exist"),
        (["cross-validate", "nowhere.csv", "--out", "nowhere.csv"], "Choose another --out"),
        (["cross-validate", "nowhere.csv", "--out", "p.csv", "--json", "figures.txt"], "should end in .json"),
    ],
)
def test_wrong_input_gets_one_sentence_and_code_2(arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _main(arguments) == WRONG
    said = capsys.readouterr().err
    assert sentence in said
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_training_goes_on_from_a_classifier_and_resumes(way, tmp_path, capsys):
    manifest, first = str(way / "set/manifest.csv"), str(way / "model.safetensors")
    out = tmp_path / "second.safetensors"
    assert _main(["train", manifest, "--out", str(out), "--resume"]) == WRONG
    assert "no unfinished run to resume" in capsys.readouterr().err
    assert _main(["train", manifest, "--out", str(out), "--from", first, "--epochs", "1"]) == GOOD
    assert read_card(out)["parent"] == read_card(first)["digest"]


def test_an_unknown_table_format_is_refused_before_anything_is_read(way, capsys):
    arguments = ["classify", str(way / "model.safetensors"), str(way / "set"), "--out", str(way / "p.xlsx")]
    assert _main(arguments) == WRONG
    assert ".csv or .parquet" in capsys.readouterr().err


@pytest.mark.parametrize("channels", ["0", "-2", "65"])
def test_a_number_of_channels_that_cannot_be_is_refused(channels, tmp_path, capsys):
    assert _main(["pack", str(tmp_path), "--out", str(tmp_path / "a.npy"), "--channels", channels]) == WRONG
    assert "--channels. Must be" in capsys.readouterr().err


def test_ctrl_c_before_a_job_begins_does_not_pass_for_success(monkeypatch, tmp_path, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Manifest, "open", interrupted)
    assert _main(["train", "a.csv", "--out", str(tmp_path / "a.safetensors")]) == STOPPED
    assert capsys.readouterr().err == "Stopped.\n"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal for one process")
def test_an_interrupted_training_saves_what_it_learnt_and_ends_with_130(way, tmp_path):
    out = tmp_path / "model.safetensors"
    command = [sys.executable, "-m", "napari_ctc", "train", str(way / "set/manifest.csv"), "--out", str(out)]
    process = subprocess.Popen(
        [*command, "--epochs", "5000"], stderr=subprocess.PIPE, text=True, env={**os.environ, "COLUMNS": "200"}
    )
    while "epoch 2:" not in (line := process.stderr.readline()):
        assert line, "the training ended before its second epoch"
    process.send_signal(signal.SIGINT)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == STOPPED
    assert out.exists()
    assert time.monotonic() - started < 60


def test_what_a_classifier_said_never_becomes_a_persons_label(way, tmp_path, capsys):
    predictions = Predictions.read(way / "predictions.csv")
    table = predictions.table.assign(label="")
    Predictions(table, predictions.root, predictions.classes).write(way / "said.csv")
    labels, again = way / "said_labels.csv", way / "said_again.csv"
    assert _main(["export-labels", str(way / "said.csv"), "--out", str(labels), "--which", "both"]) == GOOD
    assert _main(["classify", str(way / "model.safetensors"), str(labels), "--out", str(again)]) == GOOD
    assert (Predictions.read(again).table["label"] == "").all()
    assert _main(["evaluate", str(way / "model.safetensors"), str(labels)]) == WRONG
    assert "label from a person" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_refused_before_training(way, tmp_path, capsys):
    (tmp_path / "taken.safetensors").mkdir()
    arguments = ["train", str(way / "set/manifest.csv"), "--out", str(tmp_path / "taken.safetensors")]
    assert _main(arguments) == WRONG
    said = capsys.readouterr().err
    assert "is a folder" in said
    assert "epoch" not in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", "CLOSED/c.safetensors", "SET", "--out", "OUT.csv"],
        ["classify", "MODEL", "CLOSED/a.npy", "CLOSED/b.npy", "--out", "OUT.csv"],
        ["train", "SET", "--out", "CLOSED/c.safetensors", "--resume"],
        ["cross-validate", "SET", "--out", "CLOSED/cv.csv"],
        ["pack", "SET", "--out", "CLOSED/s.npy"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_place_that_may_not_be_entered_is_told_in_a_sentence(way, tmp_path, capsys, arguments):
    closed = str(tmp_path / ("long" * 100))  # which the system refuses to look at, whoever asks
    named = {"CLOSED": closed, "SET": str(way / "set"), "MODEL": str(way / "model.safetensors")}
    for name, place in (named | {"OUT": str(tmp_path / "out")}).items():
        arguments = [one.replace(name, place) for one in arguments]
    assert _main(arguments) == WRONG
    assert re.search(r"cannot be (read|written|opened): ", capsys.readouterr().err)


def test_a_folder_that_cannot_be_listed_is_told_and_found_in_the_exit_code(way, tmp_path, capsys):
    specimens, model = tmp_path / "in", str(way / "model.safetensors")
    specimens.mkdir()
    (specimens / "slide").symlink_to(way / "set")
    assert _main(["classify", model, str(specimens), "--out", str(tmp_path / "out.csv")]) == GOOD
    assert len(Predictions.read(tmp_path / "out.csv")) == 60
    (specimens / "away").symlink_to(tmp_path / "a disk that is away")
    assert _main(["classify", model, str(specimens), "--out", str(tmp_path / "out.csv")]) == FINDINGS
    assert "away cannot be listed: " in capsys.readouterr().err
    assert _main(["pack", str(specimens), "--out", str(tmp_path / "packed.npy")]) == FINDINGS


def test_nothing_is_written_over_its_own_input(way, capsys):
    model, manifest = str(way / "model.safetensors"), str(way / "set/manifest.csv")
    before = Path(manifest).read_bytes()
    assert _main(["classify", model, manifest, "--out", manifest]) == WRONG
    assert _main(["classify", model, str(way / "set"), "--out", manifest]) == WRONG
    assert _main(["evaluate", model, manifest, "--json", model]) == WRONG
    assert Path(manifest).read_bytes() == before


def test_validation_specimens_that_are_trained_on_are_refused(way, tmp_path, capsys):
    manifest = str(way / "set/manifest.csv")
    arguments = ["train", manifest, "--validation", manifest, "--out", str(tmp_path / "m.safetensors")]
    assert _main(arguments) == WRONG
    assert "also trained on" in capsys.readouterr().err


def test_an_empty_part_of_the_split_is_named(way, capsys):
    arguments = ["evaluate", str(way / "model.safetensors"), str(way / "set/manifest.csv"), "--split", "test"]
    assert _main(arguments) == WRONG
    assert "marks no specimen as test" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="no pipe to head there")
def test_a_help_page_that_is_cut_short_is_no_error():
    command = f"{sys.executable} -m napari_ctc train --help | head -1; exit ${{PIPESTATUS[0]}}"
    assert subprocess.run(["bash", "-c", command], capture_output=True).returncode == 0
