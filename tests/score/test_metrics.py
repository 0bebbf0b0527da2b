"""Scores agree with scikit-learn and with the published intervals."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn import metrics as sk

from napari_ctc.score.metrics import Scores, score

CASES = {
    "all classes": ([0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 0, 2], 3),
    "a class never predicted": ([0, 0, 1, 2], [0, 0, 0, 0], 3),
    "a class predicted but not present": ([0, 0, 1], [0, 2, 1], 3),
    "a class neither present nor predicted": ([0, 1, 1], [0, 1, 0], 3),
    "two classes": ([0, 1, 0, 1, 1], [1, 1, 0, 1, 0], 2),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_scores_equal_those_of_scikit_learn(case):
    truth, predicted, classes = case
    scores = score(truth, predicted, [f"class {k}" for k in range(classes)])
    labels = range(classes)
    used = sorted({*truth, *predicted})
    assert (scores.confusion == sk.confusion_matrix(truth, predicted, labels=labels)).all()
    present = sorted(set(truth))
    recall = sk.recall_score(truth, predicted, labels=present, average=None, zero_division=0)
    np.testing.assert_allclose(scores.recall[present], recall)
    assert scores.balanced_accuracy == pytest.approx(recall.mean())
    assert scores.macro_f1 == pytest.approx(
        sk.f1_score(truth, predicted, labels=used, average="macro", zero_division=0)
    )
    assert scores.accuracy == pytest.approx(sk.accuracy_score(truth, predicted))


def test_the_interval_of_four_of_five_is_28_to_99_percent():
    scores = Scores(("leukocyte", "tumour cell"), np.array([[9, 1], [1, 4]]))
    assert scores.sentence(1) == "tumour cell: 4 of 5 found; 95 % interval 28 to 99 %"


def test_an_interval_does_not_wait_for_the_second_that_scipy_stats_takes_to_load():
    program = (
        "import sys, numpy as np; from napari_ctc.score.metrics import Scores;"
        "Scores(('a', 'b'), np.array([[5, 0], [1, 4]])).sentence(1); assert 'scipy.stats' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_intervals_reach_the_ends_when_all_or_none_are_found():
    low, high = Scores(("a", "b"), np.array([[5, 0], [5, 0]])).intervals().T
    assert high[0] == 1 and low[0] == pytest.approx(0.025 ** (1 / 5))
    assert low[1] == 0 and high[1] == pytest.approx(1 - 0.025 ** (1 / 5))


def test_always_saying_the_majority_scores_its_share_and_no_better_than_chance():
    scores = score([0] * 54 + [1] * 45 + [2], [0] * 100, ("leukocyte", "debris", "tumour cell"))
    assert scores.accuracy == scores.majority == 0.54
    assert scores.balanced_accuracy == pytest.approx(scores.chance) == pytest.approx(1 / 3)


def test_scores_of_no_specimens_are_not_numbers_and_still_valid_json():
    scores = score([], [], ("a", "b"))
    text = json.dumps(scores.as_dict(), allow_nan=False)
    assert json.loads(text)["balanced_accuracy"] is None
    assert np.isnan(scores.intervals()).all()
    assert scores.sentence(0) == "a: no specimens to find"


def test_a_class_out_of_range_is_refused():
    with pytest.raises(ValueError, match="outside 0 to 1"):
        score([0, 2], [0, 1], ("a", "b"))


def test_equal_counts_are_equal_scores():
    assert score([0, 1], [1, 1], "ab") == score([1, 0], [1, 1], "ab") != score([0, 1], [0, 1], "ab")
