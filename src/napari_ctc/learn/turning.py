"""Filters in four orientations, so that a network knows a turned specimen without having seen it turned.

Group convolutions for the quarter turns (Cohen and Welling 2016, "p4"): each filter has four turned copies with
the same weights, and what the four find stands side by side among the features, one turn after the other. A filter
of the next layer looks at all four, and its own copies at the same ones in turned order. At the end `TurnMeans`
averages over them. Such a network has a fourth of the weights of an ordinary one and computes the same
convolutions, so few specimens teach it more.

Where a convolution of stride 2 meets an even side, it looks at other places of a turned specimen: the scores are
nearly the same then, and not to the last digit.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

TURNS = 4


class _Turned(torch.autograd.Function):
    """Gather numbers in several orders: (F, n) to (F, TURNS, n); its gradient is gathered, too, not scattered."""

    @staticmethod
    def forward(ctx: Any, filters: Tensor, order: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(back)
        return filters.index_select(1, order).view(len(filters), TURNS, -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (back,) = ctx.saved_tensors
        gathered = gradients[0].flatten(1).index_select(1, back)
        return gathered.view(len(gathered), TURNS, -1).sum(1), None, None


class TurnedConv(nn.Module):
    """A convolution whose filters are turned copies of those of one orientation.

    Parameters
    ----------
    convolution : torch.nn.Conv2d
        Square and without a bias; the first of each `TURNS` of its filters is kept.
    of_turns : bool
        Whether what it looks at has `TURNS` features for each one: not in the first convolution.
    """

    def __init__(self, convolution: nn.Conv2d, of_turns: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(convolution.weight.detach()[::TURNS].clone())
        self.stride, self.padding = convolution.stride[0], int(convolution.padding[0])
        self.of_turns = of_turns

    def filters(self) -> Tensor:
        """Write all filters out, (F * TURNS, C, k, k), channels last: the turns of each one after the other."""
        outside, inside, kernel, _ = self.weight.shape
        order, back = _orders(inside, kernel, self.of_turns, self.weight.device)
        rows = self.weight.permute(0, 2, 3, 1).reshape(outside, -1)  # as it lies in memory, channels last
        turned: Tensor = _Turned.apply(rows, order, back)  # type: ignore[no-untyped-call]
        return turned.view(-1, kernel, kernel, inside).permute(0, 3, 1, 2)

    def forward(self, images: Tensor) -> Tensor:
        """(B, C, H, W) to (B, F * TURNS, H / stride, W / stride)."""
        return F.conv2d(images, self.filters(), None, self.stride, self.padding)

    def plain(self) -> nn.Conv2d:
        """Make the ordinary convolution that computes the same."""
        filters = self.filters().detach()
        outside, inside, kernel, _ = filters.shape
        with torch.device("meta"):  # its weights are not drawn at random
            plain = nn.Conv2d(inside, outside, kernel, self.stride, self.padding, bias=False)
        plain.weight = nn.Parameter(filters)
        return plain.train(self.training)


class TurnedNorm(nn.Module):
    """A batch norm that scales and shifts all turns of a feature alike.

    Parameters
    ----------
    features : int
        With all turns.
    momentum : float
        Share of a batch in the running mean and variance, as PyTorch calls it.
    """

    def __init__(self, features: int, momentum: float = 0.1) -> None:
        super().__init__()
        self.momentum = momentum
        self.weight = nn.Parameter(torch.ones(features // TURNS))
        self.bias = nn.Parameter(torch.zeros(features // TURNS))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_var", torch.ones(features))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, F * TURNS, H, W), the same size."""
        scale, shift = (one[:, None].expand(-1, TURNS).flatten() for one in (self.weight, self.bias))
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        return F.batch_norm(maps, mean, variance, scale, shift, self.training, self.momentum)

    def plain(self) -> nn.BatchNorm2d:
        """Make the ordinary norm that computes the same."""
        plain = nn.BatchNorm2d(TURNS * len(self.weight)).train(self.training).to(self.weight)
        for name in ("weight", "bias"):
            getattr(plain, name).data = getattr(self, name).detach().repeat_interleave(TURNS)
        for name in ("running_mean", "running_var"):
            plain.get_buffer(name).copy_(self.get_buffer(name))
        return plain


class TurnMeans(nn.Module):
    """Average each feature over its turns."""

    def forward(self, features: Tensor) -> Tensor:
        """(..., F * TURNS) to (..., F)."""
        return features.view(*features.shape[:-1], -1, TURNS).mean(-1)


def turning(network: nn.Module) -> nn.Module:
    """Tie the filters and norms of a network that was just built; returns the same network.

    Parameters
    ----------
    network : torch.nn.Module
        Whose convolutions have numbers of filters that `TURNS` divides; the first takes the specimens.
    """
    of_turns = False
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                setattr(parent, name, TurnedConv(layer, of_turns))
                of_turns = True
            elif isinstance(layer, nn.BatchNorm2d):
                setattr(parent, name, TurnedNorm(layer.num_features))
    return network


def untie(network: nn.Module) -> nn.Module:
    """Write all filters out, which makes an ordinary network of it; returns the same network."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, TurnedConv | TurnedNorm):
                setattr(parent, name, layer.plain())
    return network


@cache  # for good: the graph of a training step reads them where they lie
@torch.inference_mode(False)  # they are used for training as well, whoever asks first
def _orders(inside: int, kernel: int, of_turns: bool, device: torch.device) -> tuple[Tensor, Tensor]:
    """Give the places in a filter that its turned copies take their numbers from, and those back; (TURNS * n,)."""
    places = np.arange(kernel * kernel * inside).reshape(kernel, kernel, -1, TURNS if of_turns else 1)
    turned = [np.rot90(np.roll(places, turn, 3) if of_turns else places, turn).ravel() for turn in range(TURNS)]
    back = [np.argsort(one) + len(one) * turn for turn, one in enumerate(turned)]
    order, back_order = (torch.from_numpy(np.concatenate(one)).to(device) for one in (turned, back))
    return order, back_order
