"""The sentinel stops a run whose loss cannot be right, in words."""

import math

import pytest
import torch.nn.functional as F

from napari_ctc.errors import TrainingError
from napari_ctc.events import run
from napari_ctc.learn.sentinel import Sentinel
from napari_ctc.learn.training import train


def original_loss(scores, truth, weights):
    """NLLLoss fed raw scores, as in the script: it falls without end."""
    return F.nll_loss(scores, truth, weight=weights)


def test_the_original_scripts_loss_is_stopped_before_its_first_step(spots, quick, tmp_path):
    with pytest.raises(TrainingError, match=r"raw scores|negative"):
        run(train(spots, quick, tmp_path / "model.safetensors", loss=original_loss))
    assert not (tmp_path / "model.safetensors").exists()


def test_a_loss_that_explodes_names_the_learning_rate(spots, quick):
    calls = []

    def exploding(scores, truth, weights):
        calls.append(1)
        return F.cross_entropy(scores, truth) * (math.inf if len(calls) > 3 else 1)

    with pytest.raises(TrainingError, match=r"step 4.*learning rate that is too large \(0.002\)"):
        run(train(spots, quick, loss=exploding))


def test_a_constant_channel_is_named_as_the_likely_cause():
    with pytest.raises(TrainingError, match="CD45, the same in every training specimen"):
        Sentinel(3, 0.002, ["CD45"]).check_step(math.nan, 7)


@pytest.mark.parametrize(("loss", "weight"), [(math.log(3), 1.0), (1.4, 1.0), (3.1, 2.5), (0.6, 0.5)])
def test_a_loss_near_chance_passes(loss, weight):
    Sentinel(3, 0.002).check_start(loss, math.log(3) * weight)


@pytest.mark.parametrize("loss", [0.0, 0.1, 9.0, -0.2, math.nan, math.inf])
def test_a_first_loss_far_from_chance_is_stopped(loss):
    with pytest.raises(TrainingError):
        Sentinel(3, 0.002).check_start(loss, math.log(3))
