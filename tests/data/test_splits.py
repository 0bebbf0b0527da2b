from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from napari_ctc.data.manifest import COLUMNS, Manifest
from napari_ctc.data.splits import hold_out, split


def manifest_of(labels: list[str], sources: list[str] | None = None, marks: list[str] | None = None) -> Manifest:
    blank = [""] * len(labels)
    table = pd.DataFrame(
        {
            "path": [f"{row}.npy" for row in range(len(labels))],
            "label": labels,
            "source": sources or blank,
            "split": marks or blank,
            "by": blank,
        },
        columns=list(COLUMNS),
        dtype="str",
    )
    return Manifest(table, Path("/nowhere"))


def classes_on(manifest: Manifest, rows: np.ndarray) -> set[str]:
    return set(manifest.table["label"].iloc[rows])


@pytest.mark.parametrize("seed", range(5))
def test_each_class_of_two_specimens_is_on_both_sides(seed):
    manifest = manifest_of(["a"] * 54 + ["b"] * 45 + ["rare"] * 2 + [""] * 7)
    dealt = split(manifest, 0.2, seed)
    assert classes_on(manifest, dealt.train) == classes_on(manifest, dealt.validation) == {"a", "b", "rare"}
    assert not set(dealt.train) & set(dealt.validation)
    assert len(dealt.train) + len(dealt.validation) == 101  # the unlabelled ones are on neither side


@pytest.mark.parametrize("slides", [3, 8, 30])
def test_a_source_is_never_torn_apart(slides):
    random = np.random.default_rng(slides)
    labels = list(random.choice(["a", "b"], 300)) + ["rare"] * 6
    sources = [f"slide {number}" for number in random.integers(0, slides, 306)]
    manifest = manifest_of(labels, sources)
    dealt = split(manifest, 0.2, 1)
    inside = set(manifest.table["source"].iloc[dealt.validation])
    outside = set(manifest.table["source"].iloc[dealt.train])
    assert not inside & outside
    assert 0.05 < len(dealt.validation) / 306 < 0.5


@pytest.mark.parametrize("seed", range(5))
def test_a_class_that_two_sources_hold_is_on_both_sides(seed):
    labels = ["a", "b"] * 100
    sources = [f"slide {row // 10}" for row in range(200)]
    labels[3] = labels[151] = "rare"
    manifest = manifest_of(labels, sources)
    dealt = split(manifest, 0.2, seed)
    assert "rare" in classes_on(manifest, dealt.train)
    assert "rare" in classes_on(manifest, dealt.validation)
    assert dealt.notes == ()


def test_a_class_of_one_source_is_trained_on_and_the_note_says_so():
    labels = ["a", "b"] * 50
    labels[0] = labels[2] = "rare"
    manifest = manifest_of(labels, [f"slide {row // 10}" for row in range(100)])
    dealt = split(manifest, 0.2, 0)
    assert "rare" in classes_on(manifest, dealt.train)
    assert dealt.notes == (
        "There is no rare among the held-out specimens: all its specimens come from one source.",
    )


def test_a_single_source_is_split_and_the_note_says_so():
    manifest = manifest_of(["a", "b"] * 10, ["slide 1"] * 20)
    dealt = split(manifest, 0.2, 0)
    assert len(dealt.validation) == 4
    assert "one source" in dealt.notes[0]


def test_rows_that_the_manifest_marks_stay_where_they_are():
    manifest = manifest_of(["a", "b"] * 5, marks=["train"] * 4 + ["validation"] * 4 + ["test"] * 2)
    dealt = split(manifest, 0.2, 0)
    assert list(dealt.train) == [0, 1, 2, 3]
    assert list(dealt.validation) == [4, 5, 6, 7]


def test_test_rows_are_never_dealt():
    manifest = hold_out(manifest_of(["a", "b"] * 50 + ["rare"] * 5), 0.3, seed=2)
    tested = set(np.flatnonzero(manifest.table["split"] == "test"))
    dealt = split(manifest, 0.2, 0)
    assert len(tested) == 32
    assert not tested & (set(dealt.train) | set(dealt.validation))
    assert len(dealt.validation) > 0


def test_marks_of_a_test_stay_when_more_is_held_out():
    manifest = manifest_of(["a", "b"] * 50, marks=["test"] * 10 + ["train"] * 50 + [""] * 40)
    marked = hold_out(manifest, 0.2).table["split"]
    assert set(marked[:10]) == {"test"}
    assert (marked[10:] == "test").sum() == 18
    assert (marked[10:] == "train").sum() == 72


@pytest.mark.parametrize("seed", range(5))
def test_what_shares_a_source_with_marked_training_is_not_held_out(seed):
    sources = [f"s{row % 10}" for row in range(200)]
    marks = ["train" if row % 10 < 5 and row < 100 else "" for row in range(200)]
    manifest = manifest_of(["a", "a", "b", "b"] * 50, sources, marks)
    dealt = split(manifest, 0.2, seed)
    column = manifest.table["source"]
    assert set(column[dealt.validation]) <= {"s5", "s6", "s7", "s8", "s9"}
    assert not set(column[dealt.validation]) & set(column[dealt.train])
    assert len(dealt.train) + len(dealt.validation) == 200
    assert dealt.notes == ()


def test_where_every_source_is_marked_training_in_part_it_is_said():
    manifest = manifest_of(["a", "b"] * 20, ["s0", "s0", "s1", "s1"] * 10, ["train"] * 20 + [""] * 20)
    dealt = split(manifest, 0.2, 0)
    assert len(dealt.validation)
    assert "both trained on and held out" in dealt.notes[-1]


def test_the_seed_decides_the_split():
    manifest = manifest_of(["a", "b"] * 50)
    assert list(split(manifest, 0.2, 1).validation) == list(split(manifest, 0.2, 1).validation)
    assert list(split(manifest, 0.2, 1).validation) != list(split(manifest, 0.2, 2).validation)


def rows_of(*seen: range, of: int) -> np.ndarray:
    mask = np.zeros(of, dtype=bool)
    mask[np.concatenate([list(part) for part in seen])] = True
    return mask


@pytest.mark.parametrize("seed", range(5))
def test_what_was_seen_is_not_held_out_while_as_many_of_each_class_are(seed):
    manifest = manifest_of(["a"] * 50 + ["b"] * 50)
    seen = rows_of(range(30), range(50, 92), of=100)  # of b, eight were not seen: fewer than a fifth
    dealt = split(manifest, 0.2, seed, seen=seen)
    held = dealt.validation
    assert not seen[held].any()
    assert (np.sum(held < 50), np.sum(held >= 50)) == (10, 8)
    assert dealt.notes == (
        "The classifier to start from has seen all but a few specimens of b (8). These few are held out, so "
        "nothing is learnt from them: label more.",
    )


def test_a_class_of_which_all_was_seen_is_held_out_as_usual():
    manifest = manifest_of(["a"] * 50 + ["b"] * 50)
    seen = rows_of(range(50), of=100)
    held = split(manifest, 0.2, 0, seen=seen).validation
    assert (np.sum(held < 50), np.sum(held >= 50)) == (10, 10)
    everything = np.ones(100, dtype=bool)
    assert list(split(manifest, 0.2, 0, seen=everything).validation) == list(split(manifest, 0.2, 0).validation)


@pytest.mark.parametrize("slides", [10, 30])
def test_a_source_of_which_anything_was_seen_is_not_held_out(slides):
    sources = [f"slide {row % slides:02}" for row in range(300)]
    manifest = manifest_of(["a", "b", "b"] * 100, sources)
    seen = np.array([row % slides < 0.6 * slides and row < 150 for row in range(300)])
    dealt = split(manifest, 0.2, 0, seen=seen)
    inside = {sources[row] for row in dealt.validation}
    assert inside and not inside & {sources[row] for row in np.flatnonzero(seen)}
    assert not inside & {sources[row] for row in dealt.train}
    assert 0.1 <= len(dealt.validation) / 300 <= 0.3
    assert dealt.notes == ()


def test_a_class_without_an_unseen_source_is_said_to_be_missing():
    sources = [f"slide {row // 10}" for row in range(100)]
    manifest = manifest_of(["a"] * 50 + ["b", "c"] * 25, sources)
    dealt = split(manifest, 0.2, 0, seen=rows_of(range(50), of=100))
    assert classes_on(manifest, dealt.validation) == {"b", "c"}
    assert dealt.notes == (
        "There is no a among the held-out specimens: the classifier to start from has seen specimens of all its "
        "sources.",
    )


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (rows_of(range(0, 100, 2), of=100), "each source was seen in part"),
        (rows_of(range(30), of=100), "more would be held out than trained on"),
    ],
)
def test_where_no_source_can_be_held_out_whole_its_unseen_specimens_are_and_a_note_says_so(seen, why):
    sources = ["slide 1"] * 30 + ["slide 2"] * 70
    manifest = manifest_of(["a", "a", "b"] * 33 + ["b"], sources)
    dealt = split(manifest, 0.2, 0, seen=seen)
    assert not seen[dealt.validation].any()
    assert len(dealt.validation) == 20
    assert len(dealt.notes) == 1 and "are held out one by one" in dealt.notes[0]


def test_a_class_is_not_held_out_whole_since_its_source_is_the_unseen_one():
    sources = [f"slide {row // 10}" for row in range(100)]
    manifest = manifest_of(["a", "b"] * 45 + ["new"] * 10, sources)
    dealt = split(manifest, 0.2, 0, seen=rows_of(range(90), of=100))
    assert classes_on(manifest, dealt.train) == classes_on(manifest, dealt.validation) == {"a", "b", "new"}


def test_sources_are_held_out_as_usual_where_everything_was_seen():
    manifest = manifest_of(["a", "b"] * 50, [f"slide {row // 10}" for row in range(100)])
    dealt, usual = split(manifest, 0.2, 0, seen=np.ones(100, dtype=bool)), split(manifest, 0.2, 0)
    assert list(dealt.validation) == list(usual.validation)
    assert dealt.notes == usual.notes == ()


def test_marked_rows_stay_where_they_are_though_they_were_seen():
    manifest = manifest_of(["a", "b"] * 5, marks=["train"] * 4 + ["validation"] * 4 + ["test"] * 2)
    assert list(split(manifest, 0.2, 0, seen=np.ones(10, dtype=bool)).validation) == [4, 5, 6, 7]
