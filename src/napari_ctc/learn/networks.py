"""The networks. `NETWORKS` is the one place to add one: a function that builds it, and its line.

A network takes (B, C, size, size) float32 with zero mean and unit spread, and returns raw scores (B, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from napari_ctc.settings import NetworkName


@dataclass(frozen=True)
class Network:
    """How to build a network, and which sizes it takes.

    Parameters
    ----------
    build : callable
        ``build(channels, classes, size)`` returns the module.
    smallest : int, pixels
    fixed_size : int or None, pixels
        The only size that it takes; None for any from `smallest` up.
    """

    build: Callable[[int, int, int], nn.Module]
    smallest: int
    fixed_size: int | None = None


class Block(nn.Module):
    """Two 3x3 convolutions with a shortcut around them (He et al. 2016, basic block)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, images: Tensor) -> Tensor:
        """(B, inside, H, W) to (B, outside, H / stride, W / stride)."""
        inner = torch.relu(self.first_norm(self.first(images)))
        inner = self.second_norm(self.second(inner))
        return torch.relu(inner + self.shortcut(images))


WIDTHS = (32, 64, 128, 256)  # channels of the four stages
STEMS = ((3, 1), (5, 2), (7, 4))  # kernel and stride of the first convolution: below 64 pixels, below 128, above


def compact(
    channels: int,
    classes: int,
    size: int,
    widths: Sequence[int] = WIDTHS,
    stems: Sequence[tuple[int, int]] = STEMS,
) -> nn.Module:
    """Build a residual network of 1.2 million weights, whose first convolution suits the size.

    Small specimens keep every pixel; large ones are first brought down to a quarter, which makes the network
    50 to 100 times faster than the original script's.
    """
    kernel, stride = stems[(size >= 64) + (size >= 128)]
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    for place, width in enumerate(widths):
        layers.append(Block(widths[max(place - 1, 0)], width, 1 if place == 0 else 2))
    head = nn.Linear(widths[-1], classes)
    # Small first scores: an untrained network starts at chance, which the sentinel checks.
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)


def seed(channels: int, classes: int, size: int) -> nn.Module:
    """Build the network of the script that this project began with: 32 million weights, for 224 pixels."""
    side = ((size - 4) // 2) - 4  # 224 -> 220 after two convolutions, 110 pooled, 106 after two more
    return nn.Sequential(
        *_convolved(channels, 12),
        *_convolved(12, 12),
        nn.MaxPool2d(2),
        *_convolved(12, 24),
        *_convolved(24, 24),
        nn.Flatten(),
        nn.Linear(24 * side * side, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, classes),
    )


def _convolved(inside: int, outside: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(inside, outside, 5, padding=1), nn.BatchNorm2d(outside), nn.ReLU()


NETWORKS: dict[NetworkName, Network] = {
    "compact": Network(compact, smallest=24),
    "seed": Network(seed, smallest=224, fixed_size=224),
}
"""Networks by name; the names are those of `napari_ctc.settings.NetworkName`."""
