from __future__ import annotations

import numpy as np
import pytest

from napari_ctc.review.head import STRENGTH, fit_head
from napari_ctc.review.space import CLIP, Space


def some_values(count=10_000, features=256, classes=4, labelled=2000):
    random = np.random.default_rng(3)
    values = random.normal(size=(count, features)).astype(np.float32)
    truth = (values[:, :classes] * [3, 1, 1, 1][:classes] + random.normal(size=(count, classes))).argmax(1)
    return values, np.where(np.arange(count) < labelled, truth, -1)


@pytest.mark.parametrize("classes", [2, 4])
def test_a_warm_head_agrees_with_scikit_learn_from_scratch(classes):
    from sklearn.linear_model import LogisticRegression

    values, truth = some_values(classes=classes)
    rows = np.flatnonzero(truth >= 0)
    fewer = truth.copy()
    fewer[rows[-10:]] = -1
    head = fit_head(values, truth, before=fit_head(values, fewer))
    model = LogisticRegression(C=STRENGTH, class_weight="balanced", tol=1e-8, max_iter=10_000)
    model.fit(values[rows].astype(float), truth[rows])
    ours, theirs = head.probabilities(values, classes), model.predict_proba(values.astype(float))
    assert ours.shape == (10_000, classes)
    assert abs(ours - theirs).max() < 0.01
    assert (ours.argmax(1) == theirs.argmax(1)).mean() > 0.998


def test_nothing_is_learnt_before_two_classes_have_labels():
    values, truth = some_values(count=50, features=5)
    assert fit_head(values, np.full(50, -1)) is None
    assert fit_head(values, np.where(truth == 1, 1, -1)) is None
    assert fit_head(values, np.where(truth <= 1, truth, -1)) is not None


def test_a_class_without_labels_gets_no_probability():
    values, truth = some_values(count=200, features=8)
    head = fit_head(values, np.where(truth == 2, -1, truth))
    found = head.probabilities(values, 4)
    assert (found[:, 2] == 0).all()
    assert np.allclose(found.sum(1), 1, atol=1e-5)


def test_a_class_that_joins_later_is_learnt_from_a_head_without_it():
    values, truth = some_values(count=500, features=8)
    before = fit_head(values, np.where(truth == 3, -1, truth))
    joined = fit_head(values, truth, before).probabilities(values, 4)
    assert np.allclose(joined, fit_head(values, truth).probabilities(values, 4), atol=1e-3)


def test_classes_count_alike_however_rare():
    random = np.random.default_rng(0)
    values = random.normal(size=(1000, 4)).astype(np.float32)
    truth = (np.arange(1000) < 20).astype(int)
    values[truth == 1, 0] += 1
    found = fit_head(values, truth).probabilities(values, 2)
    assert 0.2 < (found[:, 1] > 0.5).mean() < 0.5
    assert (found[truth == 1, 1] > 0.5).mean() > 0.6


def test_a_fit_that_nobody_waits_for_is_not_begun():
    values, truth = some_values(count=50, features=5)
    assert fit_head(values, truth, wanted=lambda: False) is None


def test_standardising_is_not_bent_by_outliers_constants_or_holes():
    random = np.random.default_rng(0)
    features = random.normal(5, 2, size=(500, 5)).astype(np.float32)
    features[0, 0] = 1e30
    features[:, 1] = 7
    features[:, 2] = 0
    features[:3, 2] = 1
    features[9] = np.nan
    space = Space.of(features)
    good = space.known
    assert good.sum() == 499 and not good[9]
    assert np.isfinite(space.values).all() and (space.values[9] == 0).all()
    assert abs(np.median(space.values[good, 0])) < 0.1 and 0.8 < space.values[good, 3].std() < 1.2
    assert space.values[0, 0] == CLIP
    assert (space.values[:, 1] == 0).all()
    assert (space.values[:3, 2] > 1).all()


def test_distances_are_to_the_nearest():
    features = np.random.default_rng(0).normal(size=(900, 6)).astype(np.float32)
    space = Space.of(features)
    rows = np.arange(600)
    brute = ((space.values[:, None] - space.values[rows]) ** 2).sum(2).min(1)
    assert np.allclose(space.distances(rows), brute, atol=1e-3)
    assert np.isinf(space.distances(np.array([], int))).all()


def test_a_set_of_which_nothing_could_be_measured_is_a_space_all_the_same():
    space = Space.of(np.full((3, 4), np.nan, np.float32))
    assert not space.known.any() and (space.values == 0).all()
