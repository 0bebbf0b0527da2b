"""Every network takes what it says it takes."""

from typing import get_args

import pytest
import torch

from napari_ctc.learn.networks import NETWORKS
from napari_ctc.settings import NetworkName


def test_the_settings_name_every_network():
    assert set(NETWORKS) == set(get_args(NetworkName))


@pytest.mark.parametrize("channels", [1, 4, 7])
@pytest.mark.parametrize("size", [24, 41, 64, 130])
def test_compact_takes_any_channels_and_sizes(channels, size):
    network = NETWORKS["compact"].build(channels, 3, size).eval()
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 3)


def test_compact_has_1_2_million_weights():
    network = NETWORKS["compact"].build(4, 3, 224)
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(1.2e6, rel=0.05)


def test_seed_is_the_original_network_of_32_million_weights():
    network = NETWORKS["seed"].build(4, 3, 224).eval()
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(32.4e6, rel=0.02)
    with torch.inference_mode():
        scores = network(torch.zeros(1, 4, 224, 224))
    assert scores.shape == (1, 3)
    assert not torch.allclose(scores.exp().sum(), torch.ones(()))  # raw scores, no probabilities
