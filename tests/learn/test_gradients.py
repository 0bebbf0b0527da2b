"""Loss and gradients of a batch, whether each calculation is asked for or a graphics card has them all."""

import pytest
import torch
import torch.nn.functional as F

from napari_ctc.learn.gradients import FIRST, MOST, Gradients
from napari_ctc.learn.networks import compact
from napari_ctc.learn.optimiser import Optimiser
from napari_ctc.settings import TrainSettings


def network(device):
    torch.manual_seed(0)
    return compact(2, 3, 40).to(device)


def batches(device):
    """Of two sizes in turns, as in a run, then of more sizes than there are graphs."""
    random = torch.Generator().manual_seed(1)
    for size in [8, 8, 7] * (FIRST + 3) + [3, 4, 5, 6] * (FIRST + 2):
        pixels = torch.randn(size, 2, 40, 40, generator=random)
        yield pixels.to(device), torch.randint(3, (size,), generator=random).to(device)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_loss_gradients_and_norms_are_those_of_plain_calls(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA card")
    one, other = network(device), network(device)
    gradients = Gradients(one, lambda pixels, truth: F.cross_entropy(one(pixels), truth))
    for pixels, truth in batches(device):
        with torch.inference_mode():  # as a job may be called
            loss = gradients(pixels, truth)
        other.zero_grad()
        expected = F.cross_entropy(other(pixels), truth)
        expected.backward()
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-3, atol=1e-4)
        for ours, theirs in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=2e-2, atol=2e-3)
    for ours, theirs in zip(one.buffers(), other.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    assert len(gradients._graphs) == (MOST if device == "cuda" else 0)
    gradients.forget()
    assert not gradients._graphs
    assert all(weight.grad is None for weight in one.parameters())


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_what_is_made_of_the_gradients_is_part_of_the_step(device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA card")
    one, other = network(device), network(device)
    ours, theirs = Optimiser(one, TrainSettings()), Optimiser(other, TrainSettings())
    gradients = Gradients(one, lambda pixels, truth: F.cross_entropy(one(pixels), truth), ours.even_out)
    for pixels, truth in batches(device):
        gradients(pixels, truth)
        ours.step(1e-4)
        theirs.forget_gradients()
        F.cross_entropy(other(pixels), truth).backward()
        theirs.even_out()
        theirs.step(1e-4)
    for mine, its in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine, its, rtol=2e-2, atol=2e-3)


def test_what_cannot_be_recorded_is_computed_call_by_call():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA card")
    one = network("cuda")

    def looking(pixels, truth):
        loss = F.cross_entropy(one(pixels), truth)
        return loss * (2 if float(loss) > 0 else 1)  # a number that must be waited for

    gradients = Gradients(one, looking)
    for pixels, truth in batches("cuda"):
        assert gradients(pixels, truth) > 0
        assert all(weight.grad is not None for weight in one.parameters())
    assert not gradients._graphs
