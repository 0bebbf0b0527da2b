"""A network with turned filters says the same of a turned specimen, and becomes an ordinary one to classify."""

import copy

import pytest
import torch
import torch.nn.functional as F

from napari_ctc.learn.folding import fold_norms
from napari_ctc.learn.networks import NETWORKS, compact
from napari_ctc.learn.turning import TURNS, TurnedConv, TurnedNorm, TurnMeans, _orders, _Turned, untie


def specimens(count, side):
    """Draw some with structure in them: noise alone is alike to a network that averages."""
    return F.interpolate(torch.randn(count, 2, 5, 5), size=(side, side), mode="bilinear")


@pytest.fixture
def network():
    """Build one whose weights and norms are no longer those of a new network."""
    torch.manual_seed(0)
    network = compact(2, 3, 65)
    for values in network.parameters():
        values.data.normal_(std=0.2)
    for _ in range(30):
        network(specimens(4, 65))
    for norm in (one for one in network.modules() if isinstance(one, TurnedNorm)):
        for name in ("running_mean", "running_var"):  # as they would be of specimens in every orientation
            values = norm.get_buffer(name)
            values.copy_(values.view(-1, TURNS).mean(1).repeat_interleave(TURNS))
    return network.eval()


@pytest.mark.parametrize("side", [33, 65])
@torch.inference_mode()
def test_a_turned_specimen_has_the_same_scores(network, side):
    pixels = specimens(2, side)
    scores = network(pixels)
    assert (scores[0] - scores[1]).abs().max() > 1e-2  # two specimens have others
    for turn in (1, 2, 3):
        torch.testing.assert_close(network(pixels.rot90(turn, (2, 3))), scores, atol=1e-4, rtol=1e-4)


@torch.inference_mode()
def test_the_structure_before_told_turned_specimens_apart():
    before = NETWORKS["compact"].built(3)(2, 3, 65).eval()
    pixels = specimens(2, 65)
    assert not torch.allclose(before(pixels), before(pixels.rot90(1, (2, 3))), atol=1e-5)


@pytest.mark.parametrize("of_turns", [False, True])
@torch.inference_mode()
def test_what_a_filter_finds_in_a_turned_image_its_turned_copy_found_before(of_turns):
    layer = TurnedConv(torch.nn.Conv2d(8, 12, 3, padding=1, bias=False), of_turns)
    images = torch.randn(1, 8, 7, 7)
    turned = images.rot90(1, (2, 3))
    if of_turns:
        turned = turned.view(1, 2, TURNS, 7, 7).roll(1, 2).reshape(1, 8, 7, 7)
    expected = layer(images).rot90(1, (2, 3)).view(1, 3, TURNS, 7, 7).roll(1, 2).reshape(1, 12, 7, 7)
    torch.testing.assert_close(layer(turned), expected)


@torch.inference_mode()
def test_written_out_it_is_an_ordinary_network_that_computes_the_same(network):
    pixels, names = specimens(3, 65), list(network.state_dict())
    plain = untie(copy.deepcopy(network))
    assert not [one for one in plain.modules() if isinstance(one, TurnedConv | TurnedNorm)]
    torch.testing.assert_close(plain(pixels), network(pixels))
    torch.testing.assert_close(fold_norms(network)(pixels), network(pixels), atol=1e-4, rtol=1e-3)
    assert list(network.state_dict()) == names  # it is left as it was


def test_writing_out_draws_nothing_at_random(network):
    before = torch.get_rng_state()
    untie(network)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("of_turns", [False, True])
def test_the_gradient_reaches_the_one_orientation(of_turns):
    filters = torch.randn(2, 4 * 9, dtype=torch.double, requires_grad=True)
    order, back = _orders(4, 3, of_turns, torch.device("cpu"))
    assert torch.autograd.gradcheck(lambda one: _Turned.apply(one, order, back), filters)


def test_features_are_averaged_over_their_turns():
    features = torch.arange(24.0).view(1, 3, 8)
    assert torch.equal(TurnMeans()(features), torch.tensor([[[1.5, 5.5], [9.5, 13.5], [17.5, 21.5]]]))
