"""Folds hold every specimen out once, in equal shares of each class, and never part kin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_ctc.data.digests import read_digests
from napari_ctc.data.folds import folds, hold_out_kin, kin, without_copies
from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.errors import SettingsError
from napari_ctc.events import Event, Skipped


def manifest_of(labels, sources=None, marks=None) -> Manifest:
    blank = [""] * len(labels)
    table = {"path": [f"{row}.npy" for row in range(len(labels))], "label": labels, "by": blank}
    table |= {"source": sources or blank, "split": marks or blank}
    return Manifest(pd.DataFrame(table, columns=list(COLUMNS), dtype="str"), Path("/nowhere"))


def fold_of(dealt, total) -> np.ndarray:
    """Give each row's fold, -1 for none; fails where a row is in two."""
    each = np.full(total, -1)
    for place, rows in enumerate(dealt.held):
        assert (each[rows] == -1).all()
        each[rows] = place
    return each


@pytest.mark.parametrize("seed", range(4))
def test_every_labelled_specimen_is_held_out_once_in_equal_shares_of_each_class(seed):
    labels = ["debris"] * 135 + ["leukocyte"] * 160 + ["tumour cell"] * 5 + [""] * 11
    dealt = folds(manifest_of(labels), 5, seed)
    each = fold_of(dealt, len(labels))
    assert (each[:300] >= 0).all()
    assert (each[300:] == -1).all()
    shares = pd.crosstab(each[:300], np.array(labels[:300])).to_numpy()
    assert (shares == [[27, 32, 1]] * 5).all()
    assert dealt.notes == ()


def test_a_specimen_marked_test_is_in_no_fold_and_other_marks_are_passed_over():
    marks = ["test", "train", "validation", ""] * 10
    dealt = folds(manifest_of(["a", "b"] * 20, marks=marks), 3)
    each = fold_of(dealt, 40)
    assert [(each[place::4] >= 0).all() for place in range(4)] == [False, True, True, True]
    assert (each[::4] == -1).all()


@pytest.mark.parametrize("seed", range(4))
def test_neither_a_source_nor_copies_are_torn_apart(seed):
    random = np.random.default_rng(seed)
    sources = [f"slide {number}" if number else "" for number in random.integers(0, 30, 200)]
    digests = [f"pixels {number}" for number in random.integers(0, 3000, 200)]
    digests[7] = digests[150] = digests[151]
    labels = list(random.choice(["a", "b"], 200))
    dealt = folds(manifest_of(labels, sources), 4, seed, digests)
    each = fold_of(dealt, 200)
    for tie in (sources, digests):
        for name in set(tie) - {""}:
            assert len({each[row] for row in range(200) if tie[row] == name}) == 1


def test_kin_of_kin_are_kin():
    sources = np.array(["s", "s", "", "t", "", ""], dtype=object)
    pixels = np.array(["1", "2", "2", "3", "", ""], dtype=object)
    assert list(kin(sources, pixels)) == [0, 0, 0, 1, 2, 3]


def test_the_seed_decides_the_folds():
    manifest = manifest_of(["a", "b"] * 30)
    first, again, other = (fold_of(folds(manifest, 5, seed), 60) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_of_fewer_specimens_than_folds_is_told_and_goes_on():
    dealt = folds(manifest_of(["a", "b"] * 20 + ["rare"] * 3), 5)
    assert len(dealt.held) == 5
    assert dealt.notes == ("'rare' has 3 specimens, fewer than the 5 folds: some folds have none to find.",)


def test_a_class_of_one_source_is_told_to_be_out_of_reach():
    labels = [*["a", "b"] * 20, "rare", "rare"]
    dealt = folds(manifest_of(labels, [f"slide {row // 4}" for row in range(42)]), 3)
    assert len(dealt.held) == 3
    assert "nothing is left to learn them from" in dealt.notes[0]


def test_two_sources_make_two_folds():
    dealt = folds(manifest_of(["a", "b"] * 10, ["one"] * 10 + ["two"] * 10), 5)
    assert sorted(list(rows) for rows in dealt.held) == [list(range(10)), list(range(10, 20))]
    assert "2 folds are made instead of 5" in dealt.notes[0]


def test_a_single_source_is_dealt_by_specimen_with_copies_together():
    digests = [f"{row // 2}" for row in range(40)]
    dealt = folds(manifest_of(["a", "a", "b", "b"] * 10, ["slide"] * 40), 4, digests=digests)
    each = fold_of(dealt, 40)
    assert len(dealt.held) == 4
    assert (each[::2] == each[1::2]).all()
    assert "one source (slide)" in dealt.notes[0]


@pytest.mark.parametrize(
    ("labels", "sources", "digests", "n", "sentence"),
    [
        (["a", "b"] * 4, None, (), 1, "at least 2 folds"),
        (["a", ""], None, (), 2, "too few"),
        (["a", "b"], None, (), 2, "No class has two"),
        (["a", "b"] * 4, None, ["same"] * 8, 2, "same pixels"),
    ],
)
def test_what_cannot_be_dealt_is_refused_in_a_sentence(labels, sources, digests, n, sentence):
    with pytest.raises(SettingsError, match=sentence):
        folds(manifest_of(labels, sources), n, digests=digests)


def test_copies_that_tie_all_sources_together_are_left_out_of_the_training_instead():
    sources = [f"slide {row // 10}" for row in range(60)]
    digests = np.array([f"{row}" for row in range(60)], dtype=object)
    digests[[9, 19, 29, 39, 49]] = digests[[10, 20, 30, 40, 50]]  # a chain through all six
    manifest = manifest_of(["a", "b"] * 30, sources)
    dealt = folds(manifest, 3, digests=digests)
    each = fold_of(dealt, 60)
    assert len(dealt.held) == 3
    assert all(len(set(each[row : row + 10])) == 1 for row in range(0, 60, 10))
    assert "10 specimens have copies on other sources" in dealt.notes[0]
    assert "9.npy and 10.npy" in dealt.notes[0]
    for held in dealt.held:
        training = np.setdiff1d(np.arange(60), held)
        apart = without_copies(training, held, digests)
        assert set(digests[training]) & set(digests[held])
        assert not set(digests[apart]) & set(digests[held])
        inner = hold_out_kin(manifest.rows(apart), 0.2, 0, digests[apart])
        assert not set(digests[apart][inner.train]) & set(digests[apart][inner.validation])
        assert len(inner.validation) >= 8


def test_specimens_of_unknown_pixels_are_no_copies():
    assert list(without_copies(np.array([0, 1]), np.array([2]), np.array(["", "x", ""], dtype=object))) == [0, 1]


@pytest.mark.parametrize("sources", [None, [f"slide {row // 6}" for row in range(60)], ["slide"] * 60])
def test_the_specimens_that_choose_the_epoch_are_no_copies_of_those_trained_on(sources):
    digests = np.array([f"{row // 2}" for row in range(60)], dtype=object)
    manifest = manifest_of(["a", "a", "b", "b"] * 15, sources)
    dealt = hold_out_kin(manifest, 0.2, 0, digests)
    assert 6 <= len(dealt.validation) <= 18
    assert not set(digests[dealt.train]) & set(digests[dealt.validation])
    names = np.array(sources or range(60))
    if len(set(names)) > 1:
        assert not set(names[dealt.train]) & set(names[dealt.validation])


def test_copies_are_told_by_their_pixels_and_a_broken_file_has_no_digest(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 99, (20, 9, 9, 4)).astype("uint16")
    for row in range(20):
        np.save(tmp_path / f"{row:02}.npy", pixels[row])
    np.save(tmp_path / "20.npy", np.moveaxis(pixels[3], -1, 0).astype(">u2"))
    (tmp_path / "21.npy").write_bytes(b"")
    events: list[Event] = []
    job = read_digests(Manifest.from_folder(tmp_path))
    try:
        while True:
            events.append(next(job))
    except StopIteration as end:
        digests = end.value
    assert digests[20] == digests[3]
    assert digests[21] == ""
    assert len(set(digests)) == 21
    assert [event.path for event in events if isinstance(event, Skipped)] == ["21.npy"]
