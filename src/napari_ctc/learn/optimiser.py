"""The optimiser of a training run: Muon for the filters of convolutions, AdamW for all else.

AdamW is written out here since making PyTorch's own imports its compiler, 800 modules, for which a training waited
0.8 s before its first step (and held up whatever else Python does in that process). The numbers are the same to
the bit. Muon is, too; its steps are those of PyTorch's but for rounding (`learn/orthogonal.py`).
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from napari_ctc.learn.orthogonal import orthogonal
from napari_ctc.settings import TrainSettings

MEMORY = (0.9, 0.999)  # AdamW: of the running means of gradients and of their squares
LEAST = 1e-8  # AdamW: added to the root of the mean square
FILTER_MEMORY = 0.8  # Muon: of the running mean of gradients; with 0.95 the first epochs learn less
FILTER_RATE = 20.0  # Muon: its rate in units of AdamW's, which decides how far a filter is turned in a step
PARTS = ("exp_avg", "exp_avg_sq")  # the running means, by the names that checkpoints have for them

Kind = Literal["Muon", "AdamW"]


class Optimiser:
    """Change the weights of a network by their gradients.

    Muon (Jordan et al. 2024): the running mean of the gradients of a convolution is made orthogonal, so that each
    step follows all directions alike, also those that few specimens ask for. AdamW: Adam with decoupled weight
    decay (Loshchilov and Hutter 2019); biases and norms are not pulled towards zero.

    Parameters
    ----------
    network : torch.nn.Module
        Whose weights it changes.
    settings : TrainSettings
    kind : "Muon" or "AdamW"
        The latter for all weights, as in runs that were begun by an earlier version.
    """

    def __init__(self, network: nn.Module, settings: TrainSettings, kind: Kind = "Muon") -> None:
        every: list[Tensor] = list(network.parameters())
        self.weights = [*(one for one in every if one.ndim > 1), *(one for one in every if one.ndim <= 1)]
        self.filters = [one for one in self.weights if one.ndim == 4 and kind == "Muon"]
        self.others = [one for one in self.weights if one.ndim != 4 or kind != "Muon"]
        self.kind = kind
        self.decay = settings.weight_decay
        self.steps = 0
        self.means: dict[str, list[Tensor]] = {}  # of `others`
        self.filter_means: list[Tensor] = []  # of `filters`

    @torch.no_grad()
    def even_out(self) -> None:
        """Put in place of the gradients of filters what Muon makes of them; before each `step`."""
        if not self.filters:
            return
        if not self.filter_means:  # not before: the weights may still be laid out anew in memory
            self.filter_means = [torch.zeros_like(one) for one in self.filters]
        gradients = _gradients(self.filters)
        torch._foreach_lerp_(self.filter_means, gradients, 1 - FILTER_MEMORY)
        ahead = torch._foreach_lerp(gradients, self.filter_means, FILTER_MEMORY)  # noqa: SLF001 - Nesterov's look
        last = [one.permute(0, 2, 3, 1) for one in ahead]  # as they lie in memory, channels last
        evened = orthogonal([one.flatten(1) for one in last])
        for weight, one, even in zip(self.filters, last, evened, strict=True):
            weight.grad = even.view(one.shape).permute(0, 3, 1, 2)

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the weights by their gradients, those of the filters evened out.

        Parameters
        ----------
        rate : float
            The learning rate of this step.
        """
        self.steps += 1
        if self.filters:
            far = FILTER_RATE * rate
            torch._foreach_mul_(self.filters, max(1 - far * self.decay, 0))
            torch._foreach_add_(self.filters, _gradients(self.filters), alpha=-far)
        self._adamw(rate)

    def _adamw(self, rate: float) -> None:
        if not self.means:  # as those of the filters, not before
            self.means = {name: [torch.zeros_like(one) for one in self.others] for name in PARTS}
        gradients = _gradients(self.others)
        means, squares = (self.means[name] for name in PARTS)
        short, long = MEMORY
        torch._foreach_mul_([one for one in self.others if one.ndim > 1], 1 - rate * self.decay)
        torch._foreach_lerp_(means, gradients, 1 - short)
        torch._foreach_mul_(squares, long)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - long)
        # Both means begin at zero, and are too small for that at first.
        spread = torch._foreach_sqrt(squares)  # noqa: SLF001 - as those around it
        torch._foreach_div_(spread, math.sqrt(1 - long**self.steps))
        torch._foreach_add_(spread, LEAST)
        torch._foreach_addcdiv_(self.others, means, spread, value=-rate / (1 - short**self.steps))

    def forget_gradients(self) -> None:
        """Drop the gradients, so that the next are not added to them."""
        for one in self.weights:
            one.grad = None

    def forget(self) -> None:
        """Give the memory back, of gradients and means."""
        self.forget_gradients()
        self.means, self.filter_means = {}, []

    # ------------------------------------------------------------------------------------ for checkpoints

    def tensors(self) -> dict[str, Tensor]:
        """Give its state: for each weight, by its place, the steps taken and the running means."""
        if not self.means:
            return {}
        state = {f"{place}/step": torch.tensor(float(self.steps)) for place in range(len(self.weights))}
        for name in PARTS:
            state |= zip(self._named(self.others, name), self.means[name], strict=True)
        return state | dict(zip(self._named(self.filters, PARTS[0]), self.filter_means, strict=True))

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Say which tensors its state has after a step, and their shapes; all are float32."""
        shapes: dict[str, tuple[int, ...]] = {f"{place}/step": () for place in range(len(self.weights))}
        for weights, names in ((self.others, PARTS), (self.filters, PARTS[:1])):
            for name in names:
                shapes |= zip(self._named(weights, name), (tuple(one.shape) for one in weights), strict=True)
        return shapes

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a state that `tensors` gave, of the same network."""

        def taken(weights: list[Tensor], name: str) -> list[Tensor]:
            # In the order in memory of their weights, which is faster.
            return [
                torch.empty_like(one.detach()).copy_(state[key])
                for one, key in zip(weights, self._named(weights, name), strict=True)
            ]

        self.steps = int(state["0/step"])
        self.means = {name: taken(self.others, name) for name in PARTS}
        self.filter_means = taken(self.filters, PARTS[0])

    def _named(self, weights: list[Tensor], part: str) -> list[str]:
        places = {id(one): place for place, one in enumerate(self.weights)}
        return [f"{places[id(one)]}/{part}" for one in weights]


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(one) if one.grad is None else one.grad for one in weights]
