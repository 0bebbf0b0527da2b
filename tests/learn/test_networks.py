"""Every network takes what it says it takes."""

import copy
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import get_args

import pytest
import torch
from spots import write_spots

from napari_ctc.events import run
from napari_ctc.learn import fusing
from napari_ctc.learn.folding import fold_norms
from napari_ctc.learn.loading import load_classifier
from napari_ctc.learn.networks import NETWORKS, Block, Network, RingMeans, compact, ring_means
from napari_ctc.learn.training import train
from napari_ctc.learn.turning import TurnedNorm
from napari_ctc.learn.ways import Way, folded, folded_scores
from napari_ctc.settings import NetworkName, TrainSettings


def test_the_settings_name_every_network():
    assert set(NETWORKS) == set(get_args(NetworkName))


@pytest.mark.parametrize("channels", [1, 4, 7])
@pytest.mark.parametrize("size", [24, 41, 64, 130])
def test_compact_takes_any_channels_and_sizes(channels, size):
    network = NETWORKS["compact"].build(channels, 3, size).eval()
    assert network(torch.zeros(2, channels, size, size)).shape == (2, 3)


def test_the_network_of_the_page_is_trained_saved_and_used(tmp_path, monkeypatch):
    page = (Path(__file__).parents[2] / "docs/extend/network.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", page, re.S)[1].replace("{..., ", "{")
    named = {"nn": torch.nn, "Network": Network}
    exec(code, named)
    monkeypatch.setitem(NETWORKS, "compact", named["NETWORKS"]["shallow"])  # the settings know no other name
    settings = TrainSettings(epochs=1, precision="float32", device="cpu", threads=1)
    classifier = run(train(write_spots(tmp_path, side=16), settings, tmp_path / "shallow.safetensors"))
    assert classifier.size == 16
    assert load_classifier(tmp_path / "shallow.safetensors").digest == classifier.digest


def test_compact_has_0_08_million_weights_and_its_earlier_structures_more():
    for structure, weights in ((0, 0.077e6), (1, 1.2e6), (2, 1.2e6), (3, 0.31e6), (4, 0.077e6), (5, 0.077e6)):
        network = NETWORKS["compact"].built(structure)(4, 3, 224)
        assert sum(one.numel() for one in network.parameters()) == pytest.approx(weights, rel=0.05)


def test_seed_is_the_original_network_of_32_million_weights():
    network = NETWORKS["seed"].build(4, 3, 224).eval()
    assert sum(one.numel() for one in network.parameters()) == pytest.approx(32.4e6, rel=0.02)
    with torch.inference_mode():
        scores = network(torch.zeros(1, 4, 224, 224))
    assert scores.shape == (1, 3)
    assert not torch.allclose(scores.exp().sum(), torch.ones(()))  # raw scores, no probabilities


def test_centre_middle_and_rim_are_told_apart_and_counted_once():
    maps = torch.zeros(1, 1, 8, 8)
    maps[..., 3:5, 3:5] = 1  # in the centre
    maps[..., 0, 0] = 5  # on the rim
    maps[..., 3, 6] = 7  # in the middle
    means = ring_means(maps)
    assert means.shape == (1, 3, 1)
    cells = torch.stack([ring_means(one.view(1, 1, 8, 8)) for one in torch.eye(64)])[:, 0, :, 0]  # (64, 3)
    assert ((cells > 0).sum(-1) == 1).all()  # each cell in one ring
    assert means.flatten() * (cells > 0).sum(0) == pytest.approx([4, 7, 5])


def test_the_largest_stands_beside_the_rings():
    maps = torch.rand(2, 3, 5, 6)
    maps[1, 2, 4, 1] = 9
    found = RingMeans()(maps)
    assert torch.equal(found[:, :3], ring_means(maps)) and torch.equal(
        RingMeans(largest=False)(maps), found[:, :3]
    )
    assert torch.equal(found[:, 3], maps.flatten(2).max(2).values)


@pytest.mark.parametrize("side", [3, 4, 5, 7, 10])
def test_turns_and_flips_change_nothing_in_the_rings(side):
    maps = torch.randn(2, 6, side, side)
    for view in (maps.rot90(1, (2, 3)), maps.flip(2), maps.flip(3), maps.transpose(2, 3)):
        torch.testing.assert_close(ring_means(view), ring_means(maps))


@pytest.mark.parametrize("size", [24, 40, 130])
def test_rings_fold_copy_and_compute_in_bfloat16(size):
    network = compact(4, 3, size).eval()
    pixels = torch.randn(2, 4, size, size).contiguous(memory_format=torch.channels_last)
    whole = copy.deepcopy(fold_norms(network))
    with torch.inference_mode():
        torch.testing.assert_close(whole(pixels), network(pixels), atol=1e-4, rtol=1e-3)
        low = whole.to(torch.bfloat16)(pixels.to(torch.bfloat16)).float()
        torch.testing.assert_close(low, network(pixels), atol=0.05, rtol=0.05)
    assert network[-1].in_features == 4 * 32


@pytest.mark.parametrize(
    ("name", "structure"), [(name, one) for name, it in NETWORKS.items() for one in range(1, it.structure + 1)]
)
def test_every_network_computes_the_same_with_its_norms_folded(name, structure):
    size = NETWORKS[name].fixed_size or 40
    network = NETWORKS[name].built(structure)(2, 3, size).eval()
    for norm in (one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d | TurnedNorm)):
        for values in (norm.running_mean, norm.bias.data):
            values.normal_(std=0.3)
        for values in (norm.running_var, norm.weight.data):
            values.uniform_(0.5, 1.5)
    pixels = torch.randn(1, 2, size, size)
    whole = fold_norms(network)
    assert not [one for one in whole.modules() if isinstance(one, torch.nn.BatchNorm2d | TurnedNorm)]
    with torch.inference_mode():
        torch.testing.assert_close(whole(pixels), network(pixels), atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize(("name", "size"), [("compact", 40), ("compact", 70), ("compact", 130), ("seed", 224)])
def test_a_network_with_its_sums_and_rectifiers_in_its_convolutions_computes_the_same(name, size):
    torch.manual_seed(0)
    network = NETWORKS[name].build(2, 3, size).eval()
    for values in network.parameters():
        values.data.normal_(std=0.1)
    low = Way("bfloat16")
    pixels = torch.randn(3, 2, size, size)
    plain = fold_norms(network).to(torch.bfloat16, memory_format=torch.channels_last)
    fused = folded(network, low, torch.device("cpu"))
    full = folded(network, Way("float32"), torch.device("cpu"))
    for one, dtype in ((fused, torch.bfloat16), (full, torch.float32)):
        if fusing._can(dtype):
            assert not [layer for layer in one.modules() if isinstance(layer, torch.nn.Conv2d | Block)]
    with torch.inference_mode():
        torch.testing.assert_close(
            folded_scores(full, pixels, Way("float32")), network(pixels), atol=1e-3, rtol=1e-3
        )
        exact, one, other = network(pixels), folded_scores(fused, pixels, low), folded_scores(plain, pixels, low)
    scale = exact.abs().max()
    assert (one - exact).abs().max() / scale < 0.05
    # Rounded less often, but both once more at the end: by half a last place, which is up to 0.004 of a number.
    assert (one - exact).abs().max() <= 2 * (other - exact).abs().max() + 0.004 * scale


def test_whether_layers_fuse_is_found_without_drawing_at_random():
    before = torch.get_rng_state()
    fusing._can.cache_clear()
    assert {fusing._can(dtype) for dtype in (torch.float32, torch.bfloat16)} <= {True, False}
    assert torch.equal(torch.get_rng_state(), before)


def test_a_pytorch_without_the_calls_that_fuse_runs_the_network_as_it_is(monkeypatch):
    network = fold_norms(compact(2, 3, 40).eval())
    fusing._can.cache_clear()
    monkeypatch.setattr(fusing._Convolution, "forward", lambda *_: torch.ops.mkldnn.no_such_call())
    try:
        assert fusing.fuse(network) is network
    finally:
        fusing._can.cache_clear()


def test_folding_leaves_networks_alone_that_other_threads_run_meanwhile():
    network = compact(4, 3, 32).eval()
    pixels = torch.randn(2, 4, 32, 32)
    with torch.inference_mode():
        expected = network(pixels)
    done = Event()

    def look() -> int:
        runs = 0
        with torch.inference_mode():
            while not done.is_set():
                assert torch.equal(network(pixels), expected)
                runs += 1
        return runs

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(look)
        for _ in range(20):
            fold_norms(network)
        done.set()
        assert running.result()


def test_a_network_keeps_the_ways_in_which_it_was_built():
    first, second, now = (lambda c, k, s, n=n: torch.nn.Linear(n, k) for n in (1, 2, 3))
    network = Network(now, smallest=1, earlier=(first, second))
    assert network.structure == 3
    assert [network.built(one)(1, 2, 3).in_features for one in (1, 2, 3, 0)] == [1, 2, 3, 3]
