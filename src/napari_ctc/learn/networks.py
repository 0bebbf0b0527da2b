"""The networks. `NETWORKS` is the one place to add one: a function that builds it, and its line.

A network takes (B, C, size, size) float32 with zero mean and unit spread, and returns raw scores (B, K).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

import torch
from torch import Tensor, nn

from napari_ctc.learn.turning import TURNS, TurnMeans, turning
from napari_ctc.settings import NetworkName

Build = Callable[[int, int, int], nn.Module]


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
    earlier : tuple of callables
        How it was built before, the first way first: classifiers that were trained so stay as they are.
    """

    build: Build
    smallest: int
    fixed_size: int | None = None
    earlier: tuple[Build, ...] = ()

    @property
    def structure(self) -> int:
        """Number of today's way to build it, from 1."""
        return len(self.earlier) + 1

    def built(self, structure: int) -> Build:
        """Give the way to build it that has this number; 0 for today's."""
        return (*self.earlier, self.build)[structure - 1]


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


RINGS = (0.0, 0.5, 0.9)  # inner radii of centre, middle and rim; 1 is half the side


def ring_means(maps: Tensor) -> Tensor:
    """Average each feature over the centre, the middle and the rim of a specimen.

    Whether a nucleus lies in the middle or a stain at the border then reaches the layer that scores at once. A
    mean over all places is blind to it, so that the convolutions must first learn where they are. Turns and
    flips change nothing, so no orientation can be learnt by heart.

    Parameters
    ----------
    maps : (B, C, H, W) floats
        H and W of 3 or more; a ring without a cell is zero.

    Returns
    -------
    (B, 3, C) floats
    """
    masks = _masks(maps.shape[2], maps.shape[3], maps.device, maps.dtype)  # (3, H * W)
    sums = masks @ maps.permute(0, 2, 3, 1).flatten(1, 2)  # (B, 3, C), without a copy of channels-last maps
    return sums / masks.sum(1).clamp(min=1)[:, None]


@cache  # for good: the graph of a training step reads them where they lie
@torch.inference_mode(False)  # they are used for training as well, whoever asks first
def _masks(height: int, width: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(3, H * W): 1 where a cell's centre lies in the ring, else 0."""
    # Whole numbers before the division, so that both halves of a side are alike to the last bit.
    down, right = ((2 * torch.arange(side, device=device) + 1 - side) / side for side in (height, width))
    radius = torch.hypot(down[:, None], right).flatten()
    ring = torch.bucketize(radius, torch.tensor(RINGS[1:], device=device), right=True)
    return (ring == torch.arange(len(RINGS), device=device)[:, None]).to(dtype)


class RingMeans(nn.Module):
    """`ring_means` as a layer, beside the largest value of each feature.

    A mean over a ring hides what is found in one place only; where it was found does not matter to the largest.

    Parameters
    ----------
    largest : bool
        Whether to give it, too.
    """

    def __init__(self, largest: bool = True) -> None:
        super().__init__()
        self.largest = largest

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, H, W) to (B, 4, C): centre, middle, rim and largest; without that (B, 3, C)."""
        means = ring_means(maps)
        return torch.cat([means, maps.amax((2, 3))[:, None]], 1) if self.largest else means


WIDTHS = (16, 32, 64, 128)  # channels of the four stages
WIDE = (32, 64, 128, 256)  # those of its first two structures
STEMS = ((3, 1), (5, 2), (7, 4))  # kernel and stride of the first convolution: below 64 pixels, below 128, above


def stem_of(size: int, stems: Sequence[tuple[int, int]] = STEMS) -> tuple[int, int]:
    """Give kernel and stride of the first convolution of `compact` for a side of so many pixels."""
    return stems[(size >= 64) + (size >= 128)]


def compact(
    channels: int,
    classes: int,
    size: int,
    widths: Sequence[int] = WIDTHS,
    stems: Sequence[tuple[int, int]] = STEMS,
    rings: bool = True,
    turns: bool = True,
    largest: bool = True,
) -> nn.Module:
    """Build a residual network of 0.08 million weights, whose first convolution suits the size.

    Small specimens keep every pixel; large ones are first brought down to a quarter, which makes the network
    far faster than the original script's. Its filters come in four orientations that share their weights
    (`turning`), without `turns` in one, as before. Its last features are averaged by `ring_means`, without
    `rings` over all places, as at first; with `largest` their largest values stand beside these.
    """
    kernel, stride = stem_of(size, stems)
    layers: list[nn.Module] = [
        nn.Conv2d(channels, widths[0], kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(widths[0]),
        nn.ReLU(),
    ]
    for place, width in enumerate(widths):
        layers.append(Block(widths[max(place - 1, 0)], width, 1 if place == 0 else 2))
    pooling: list[nn.Module] = [RingMeans(largest) if rings else nn.AdaptiveAvgPool2d(1)]
    if turns:
        layers = list(turning(nn.Sequential(*layers)).children())
        pooling.append(TurnMeans())
    pooled = len(RINGS) + largest if rings else 1
    head = nn.Linear(widths[-1] // (TURNS if turns else 1) * pooled, classes)
    # Small first scores: an untrained network starts at chance, which the sentinel checks.
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return nn.Sequential(*layers, *pooling, nn.Flatten(), head)


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
    "compact": Network(
        compact,
        smallest=24,
        earlier=(
            partial(compact, widths=WIDE, rings=False, turns=False, largest=False),
            partial(compact, widths=WIDE, turns=False, largest=False),
            partial(compact, turns=False, largest=False),
            partial(compact, largest=False),
        ),
    ),
    "seed": Network(seed, smallest=224, fixed_size=224),
}
"""Networks by name; the names are those of `napari_ctc.settings.NetworkName`."""
