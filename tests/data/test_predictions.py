from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_ctc.data.exports import export_class_folders, export_labels
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.predictions import LATER, Predictions, columns, typed
from napari_ctc.data.writers import WRITERS, CSVWriter
from napari_ctc.errors import PredictionsError
from napari_ctc.events import Skipped, run

CLASSES = ("leukocyte", "NA", "tumour cell")


@pytest.fixture
def predictions(tmp_path: Path) -> Predictions:
    """Four specimens: one called by a person, one unreadable, two of a stack."""
    folder = tmp_path / "specimens"
    folder.mkdir()
    np.save(folder / "one.npy", np.full((8, 8, 4), 7, np.uint8))
    np.save(folder / "stack.npy", np.arange(2 * 8 * 8 * 4, dtype=np.uint16).reshape(2, 8, 8, 4))
    by = ["abc", "float32"]
    read_as = ["balanced", "leukocyte=0.54, NA=0.45, tumour cell=0.01", "leukocyte, NA"]
    rows = [
        ["one.npy", "s1", "NA", 0.7, 0.2, 0.7, 0.1, "leukocyte", "test", "", *by, 384, "2026-01-01", "f" * 64],
        ["broken.npy", "s1", "", np.nan, np.nan, np.nan, np.nan, "", "", "is cut short", *by, None, "", ""],
        ["stack.npy#0", "s2", "tumour cell", 0.5, 0.3, 0.2, 0.5, "", "", "", *by, 1152, "2026-01-01", "e" * 64],
        [
            "stack.npy#1",
            "s2",
            "leukocyte",
            0.9,
            0.9,
            0.05,
            0.05,
            "",
            "train",
            "",
            *by,
            1152,
            "2026-01-01",
            "e" * 64,
        ],
    ]
    rows = [[*row, *read_as] for row in rows]
    table = typed(pd.DataFrame(rows, columns=columns(CLASSES), dtype=object), CLASSES)
    return Predictions(table, folder, CLASSES)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_a_table_reads_back_as_it_was_written(predictions, suffix):
    path = predictions.root / f"out{suffix}"
    predictions.write(path)
    pd.testing.assert_frame_equal(Predictions.read(path).table, predictions.table, atol=1e-6)


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_odd_names_read_back_as_they_are(predictions, suffix):
    odd = ["a, b", 'says "no"', " ü\n'x", "NA"]
    table = predictions.table.assign(label=pd.Series(odd, dtype="str"))
    Predictions(table, predictions.root, CLASSES).write(predictions.root / f"odd{suffix}")
    assert list(Predictions.read(predictions.root / f"odd{suffix}").table["label"]) == odd


@pytest.mark.parametrize("suffix", sorted(WRITERS))
def test_an_older_table_without_a_word_on_precision_and_calibration_still_reads(predictions, suffix):
    path = predictions.root / f"older{suffix}"
    older = Predictions(predictions.table.drop(columns=list(LATER)), predictions.root, CLASSES)
    older.write(path)
    table = Predictions.read(path).table
    assert list(table.columns) == columns(CLASSES)
    assert (table[list(LATER)] == "").all(axis=None)


def test_paths_are_relative_to_the_table_where_possible(predictions, tmp_path):
    predictions.write(tmp_path / "out.csv")
    assert Predictions.read(tmp_path / "out.csv").table["path"][0] == "specimens/one.npy"
    predictions.write(tmp_path / "elsewhere" / "out.csv")
    assert Path(Predictions.read(tmp_path / "elsewhere" / "out.csv").table["path"][0]).is_absolute()


def test_a_failed_write_leaves_the_old_file(predictions, monkeypatch):
    path = predictions.root / "out.csv"
    predictions.write(path)
    before = path.read_bytes()

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CSVWriter, "append", full)
    with pytest.raises(PredictionsError, match="No space left"):
        predictions.write(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in predictions.root.iterdir()) == ["one.npy", "out.csv", "stack.npy"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no such limit")
@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("room", [0, 50, 3000])
def test_a_table_that_has_no_room_is_named_and_leaves_nothing(predictions, suffix, room):
    import resource

    table = predictions.table.loc[predictions.table.index.repeat(500)].reset_index(drop=True)
    table["sha256"] = [f"{row:064}" for row in np.random.default_rng(0).permutation(len(table))]
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(PredictionsError, match="cannot be written"):
            Predictions(table, predictions.root, predictions.classes).write(predictions.root / f"out{suffix}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(file.name for file in predictions.root.iterdir()) == ["one.npy", "stack.npy"]


def test_a_table_of_something_else_is_refused_in_words(tmp_path):
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(PredictionsError, match="no table of predictions: it lacks path"):
        Predictions.read(tmp_path / "other.csv")


def test_labels_are_a_persons_unless_asked(predictions, tmp_path):
    assert export_labels(predictions, tmp_path / "labels.csv") == 1
    assert (
        tmp_path / "labels.csv"
    ).read_text() == "path,label,source,split\nspecimens/one.npy,leukocyte,s1,test\n"


def test_a_classifiers_labels_say_that_they_are(predictions, tmp_path):
    export_labels(predictions, tmp_path / "labels.csv", which="both")
    table = Manifest.read(tmp_path / "labels.csv").table
    assert list(table["label"]) == ["leukocyte", "tumour cell", "leukocyte"]
    assert list(table["by"]) == ["person", "classifier", "classifier"]


def test_the_original_form_has_two_columns_and_no_header(predictions, tmp_path):
    export_labels(predictions, tmp_path / "labels.csv", headerless=True)
    assert (tmp_path / "labels.csv").read_text() == "specimens/one.npy,leukocyte\n"
    with pytest.raises(PredictionsError, match="cannot say which labels"):
        export_labels(predictions, tmp_path / "labels.csv", which="both", headerless=True)


def test_specimens_go_into_one_folder_a_class(predictions, tmp_path):
    out = tmp_path / "sorted"
    assert run(export_class_folders(predictions, out)) == 3
    assert sorted(str(path.relative_to(out).as_posix()) for path in out.rglob("*.npy")) == [
        "NA/one.npy",
        "leukocyte/stack#1.npy",
        "tumour cell/stack#0.npy",
    ]
    np.testing.assert_array_equal(
        np.load(out / "leukocyte/stack#1.npy"), np.load(predictions.root / "stack.npy")[1]
    )


def test_a_folder_that_an_earlier_export_filled_is_refused(predictions, tmp_path):
    run(export_class_folders(predictions, tmp_path / "sorted"))
    with pytest.raises(PredictionsError, match="not an empty folder"):
        run(export_class_folders(predictions, tmp_path / "sorted"))
    assert len(list((tmp_path / "sorted").rglob("*.npy"))) == 3


def test_a_class_name_cannot_lead_out_of_the_folder(predictions, tmp_path):
    table = predictions.table.assign(predicted="../../escaped")
    run(export_class_folders(Predictions(table, predictions.root, CLASSES), tmp_path / "a" / "b"))
    assert not (tmp_path / "escaped").exists()
    assert len(list((tmp_path / "a" / "b").rglob("*.npy"))) == 3


def test_each_class_has_a_folder_that_every_file_system_can_hold(predictions, tmp_path):
    names = ["con", "Con_", "x" * 79 + " y"]  # Windows keeps the first for itself, and drops a space at the end
    table = predictions.table.iloc[[0, 2, 3]].assign(predicted=names)
    assert run(export_class_folders(Predictions(table, predictions.root, CLASSES), tmp_path / "sorted")) == 3
    folders = [path.name for path in (tmp_path / "sorted").iterdir()]
    assert sorted(folders) == ["Con_", "con__", "x" * 79]


def test_a_specimen_that_is_gone_is_skipped_and_the_rest_copied(predictions, tmp_path):
    (predictions.root / "one.npy").unlink()
    events = []
    assert run(export_class_folders(predictions, tmp_path / "sorted"), events.append) == 2
    assert [event.path for event in events if isinstance(event, Skipped)] == ["one.npy"]


def test_links_point_to_the_specimens(predictions, tmp_path):
    run(export_class_folders(predictions, tmp_path / "sorted", link=True))
    assert (tmp_path / "sorted/NA/one.npy").samefile(predictions.root / "one.npy")
