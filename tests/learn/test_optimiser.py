"""The optimiser takes PyTorch's steps, and does not make a training wait for PyTorch's compiler."""

import subprocess
import sys

import torch
from torch import nn

from napari_ctc.learn.optimiser import AdamW
from napari_ctc.settings import TrainSettings


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Flatten(), nn.Linear(20, 3))


def test_it_takes_the_steps_of_pytorchs_adamw_to_the_bit():
    settings = TrainSettings(weight_decay=0.1)
    ours, theirs = network(), network()
    optimiser = AdamW(ours, settings)
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
