"""The optimiser takes the steps of PyTorch's AdamW and Muon; a training does not wait for its compiler."""

import subprocess
import sys

import pytest
import torch
from torch import nn

from napari_ctc.learn.optimiser import FILTER_MEMORY, FILTER_RATE, Optimiser
from napari_ctc.learn.orthogonal import orthogonal
from napari_ctc.settings import TrainSettings


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))


def test_it_takes_the_steps_of_pytorchs_adamw_to_the_bit():
    settings = TrainSettings(weight_decay=0.1)
    ours, theirs = network(), network()
    optimiser = Optimiser(ours, settings, "AdamW")
    pulled, others = ([one for one in theirs.parameters() if (one.ndim > 1) == wide] for wide in (True, False))
    groups = [{"params": pulled, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}]
    model = torch.optim.AdamW(groups, foreach=False)
    for step in range(20):
        images = torch.arange(2 * 4 * 16.0).view(2, 4, 4, 4).mul(step + 1).sin()
        rate = 0.01 / (step + 1)
        for group in model.param_groups:
            group["lr"] = rate
        for one in (ours, theirs):
            one.zero_grad()
            one(images).square().sum().backward()
        optimiser.step(rate)
        model.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_first_epoch_waits_for_no_import_that_it_can_do_without(spots, tmp_path):
    """Both took a second together, of the five that passed before an epoch had ended."""
    program = (
        "import sys; from napari_ctc import Manifest, TrainSettings, train; "
        "from napari_ctc.events import EpochDone; "
        f"job = train(Manifest.read({str(tmp_path / 'manifest.csv')!r}), TrainSettings(device='cpu')); "
        "next(event for event in job if isinstance(event, EpochDone)); "
        "sys.exit([name for name in ('torch._dynamo', 'scipy.special') if name in sys.modules] or None)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert not ended.returncode, ended.stderr


def test_it_changes_filters_as_pytorchs_muon_does():
    settings = TrainSettings(weight_decay=0.1)
    ours = network().to(memory_format=torch.channels_last)
    filters = ours[0].weight
    begun = filters.detach().clone()
    theirs = nn.Parameter(begun.flatten(1).clone())
    optimiser = Optimiser(ours, settings)
    model = torch.optim.Muon([theirs], weight_decay=0.1, momentum=FILTER_MEMORY)
    for step in range(20):
        rate = 0.01 / (step + 1)
        filters.grad = torch.randn_like(filters)
        theirs.grad = filters.grad.flatten(1).clone()
        model.param_groups[0]["lr"] = FILTER_RATE * rate
        optimiser.even_out()
        optimiser.step(rate)
        model.step()
    apart = (filters.flatten(1) - theirs).norm() / (filters - begun).norm()
    assert apart < 0.02  # PyTorch rounds each round to bfloat16


@pytest.mark.parametrize("shapes", [[(4, 100), (8, 16), (32, 1152)], [(40, 90), (3, 9), (200, 600)]])
def test_orthogonal_keeps_directions_and_evens_out_their_sizes(shapes):
    torch.manual_seed(1)
    matrices = [torch.randn(shape) * (0.5 + torch.rand(shape[0], 1)) for shape in shapes]
    for given, found in zip(matrices, orthogonal(matrices), strict=True):
        left, _, right = torch.linalg.svd(given, full_matrices=False)
        sizes = left.T @ found @ right.T
        assert (sizes - sizes.diagonal().diag()).abs().max() < 1e-3
        assert sizes.diagonal().min() > 0.6
        assert sizes.diagonal().max() < 1.25


def test_no_rate_turns_the_filters_over():
    ours = network()
    optimiser = Optimiser(ours, TrainSettings(weight_decay=1.0))
    begun = ours[0].weight.detach().clone()
    ours[0].weight.grad = torch.zeros_like(begun)
    optimiser.even_out()
    optimiser.step(0.1)
    assert (ours[0].weight * begun >= 0).all()


def test_orthogonal_leaves_a_matrix_of_zeros_as_it_is():
    nothing, something = orthogonal([torch.zeros(3, 9), torch.ones(1, 4)])
    assert torch.equal(nothing, torch.zeros(3, 9))
    assert 0.3 < something[0, 0] < 0.65
