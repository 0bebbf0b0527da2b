"""The optimiser of a training run: AdamW.

Written out here since making PyTorch's own imports its compiler, 800 modules, for which a training waited 0.8 s
before its first step (and held up whatever else Python does in that process). The numbers are the same to the bit.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from napari_ctc.settings import TrainSettings

MEMORY = (0.9, 0.999)  # of the running means of gradients and of their squares
LEAST = 1e-8  # added to the root of the mean square
PARTS = ("exp_avg", "exp_avg_sq")  # the running means, by the names that checkpoints have for them


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019); biases and norms are not pulled towards zero.

    Parameters
    ----------
    network : torch.nn.Module
        Whose weights it changes.
    settings : TrainSettings
    """

    def __init__(self, network: nn.Module, settings: TrainSettings) -> None:
        every: list[Tensor] = list(network.parameters())
        self.pulled = [one for one in every if one.ndim > 1]
        self.weights = [*self.pulled, *(one for one in every if one.ndim <= 1)]
        self.decay = settings.weight_decay
        self.steps = 0
        self.means: dict[str, list[Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Change the weights by their gradients.

        Parameters
        ----------
        rate : float
            The learning rate of this step.
        """
        if not self.means:  # not before: the weights may still be laid out anew in memory
            self.means = {name: [torch.zeros_like(one) for one in self.weights] for name in PARTS}
        self.steps += 1
        gradients = [torch.zeros_like(one) if one.grad is None else one.grad for one in self.weights]
        means, squares = (self.means[name] for name in PARTS)
        short, long = MEMORY
        torch._foreach_mul_(self.pulled, 1 - rate * self.decay)
        torch._foreach_lerp_(means, gradients, 1 - short)
        torch._foreach_mul_(squares, long)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - long)
        # Both means begin at zero, and are too small for that at first.
        spread = torch._foreach_sqrt(squares)  # noqa: SLF001 - as those around it
        torch._foreach_div_(spread, math.sqrt(1 - long**self.steps))
        torch._foreach_add_(spread, LEAST)
        torch._foreach_addcdiv_(self.weights, means, spread, value=-rate / (1 - short**self.steps))

    def forget_gradients(self) -> None:
        """Drop the gradients, so that the next are not added to them."""
        for one in self.weights:
            one.grad = None

    def forget(self) -> None:
        """Give the memory back, of gradients and means."""
        self.forget_gradients()
        self.means = {}

    # ------------------------------------------------------------------------------------ for checkpoints

    def tensors(self) -> dict[str, Tensor]:
        """Give its state: for each weight, by its place, the steps taken and the running means."""
        if not self.means:
            return {}
        state = {f"{place}/step": torch.tensor(float(self.steps)) for place in range(len(self.weights))}
        for name, means in self.means.items():
            state |= {f"{place}/{name}": one for place, one in enumerate(means)}
        return state

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Say which tensors its state has after a step, and their shapes; all are float32."""
        shapes: dict[str, tuple[int, ...]] = {}
        for place, one in enumerate(self.weights):
            shapes[f"{place}/step"] = ()
            shapes |= {f"{place}/{name}": tuple(one.shape) for name in PARTS}
        return shapes

    def restore(self, state: dict[str, Tensor]) -> None:
        """Take up a state that `tensors` gave, of the same network."""
        self.steps = int(state["0/step"])
        # In the order in memory of their weights, which is faster.
        self.means = {
            name: [
                torch.empty_like(one.detach()).copy_(state[f"{place}/{name}"])
                for place, one in enumerate(self.weights)
            ]
            for name in PARTS
        }
