"""A classifier goes on learning, with the same classes or with some added."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import SettingsError
from napari_ctc.events import run
from napari_ctc.learn.continuing import adopt
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

SETTINGS = TrainSettings(epochs=2, precision="float32", device="cpu")


@pytest.fixture
def two_classes(spots) -> Manifest:
    return spots.rows(np.flatnonzero(spots.labels(spots.classes) < 2))


@pytest.fixture
def before(two_classes):
    return run(train(two_classes, TrainSettings(epochs=12, precision="float32", device="cpu")))


def test_a_continued_run_begins_where_the_classifier_stands(two_classes, before):
    # Steps so small that they move nothing: full ones throw a finished classifier of 28 specimens off for a while.
    barely = SETTINGS.model_copy(update={"epochs": 1, "learning_rate": 1e-5})
    begun = run(train(two_classes, barely, start=before))
    fresh = run(train(two_classes, barely))
    assert begun.metrics["log_loss"] < fresh.metrics["log_loss"] / 2
    assert begun.parent == before.digest and fresh.parent == ""
    assert begun.scaling == before.scaling and (begun.native, begun.size) == (before.native, before.size)


def test_classes_may_be_added(spots, before):
    more = run(train(spots, SETTINGS, start=before))
    assert before.classes == ("debris", "leukocyte")
    assert more.classes == ("debris", "leukocyte", "tumour cell")
    assert set(before.training_digests) <= set(more.training_digests)


@pytest.mark.parametrize("network", NETWORKS)
def test_outputs_are_copied_by_name_and_those_of_new_classes_stay_new(network, before):
    size = NETWORKS[network].fixed_size or 24
    build = NETWORKS[network].build
    old = build(4, 2, size).eval()
    start = type(before)(
        old, ("b", "d"), before.channels, before.scaling, size, size, TrainSettings(network=network)
    )
    fresh = build(4, 3, size).eval()
    new_row = list(fresh.state_dict().values())[-1][1].clone()
    adopt(fresh, start, ("d", "new", "b"))
    pixels = torch.randn(2, 4, size, size)
    torch.testing.assert_close(fresh(pixels)[:, [2, 0]], old(pixels))
    assert list(fresh.state_dict().values())[-1][1] == new_row


def test_a_classifier_from_before_the_rings_goes_on_without_them(spots, before):
    old = replace(before, network_module=NETWORKS["compact"].built(1)(4, 2, before.size), structure=1, digest="")
    more = run(train(spots, SETTINGS.model_copy(update={"epochs": 1}), start=old))
    assert (before.structure, old.structure, more.structure) == (5, 1, 1)
    assert (before.network_module[-1].in_features, more.network_module[-1].in_features) == (4 * 32, 256)


def test_a_lost_class_is_refused(spots, before):
    rows = spots.rows(np.flatnonzero(spots.labels(spots.classes) > 0))
    with pytest.raises(SettingsError, match="knows debris, and no specimen to train on has that label"):
        run(train(rows, SETTINGS, start=before))


def test_settings_that_contradict_are_refused(two_classes, before):
    with pytest.raises(SettingsError, match="has the network 'compact', and the settings ask for 'seed'"):
        run(train(two_classes, TrainSettings(network="seed"), start=before))
    with pytest.raises(SettingsError, match="sees specimens of 24 pixels, and the settings ask for 48"):
        run(train(two_classes, TrainSettings(size=48), start=before))
    with pytest.raises(SettingsError, match=r"4 channels, and these specimens have 3"):
        run(train(two_classes, TrainSettings(channels=3), start=before))
