"""Let convolutions add and rectify in the same call, in a network that only classifies.

Clipping what a convolution computed, fetched from memory again, takes long beside the convolution itself, the more
so in bfloat16 on a processor with matrix units. oneDNN, which computes PyTorch's convolutions, does both at once,
and rounds only after that. The calls are those that `torch.compile` makes of such a network; that itself needs a
compiler, which few biologists have.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn

from napari_ctc.learn.networks import Block


class _Convolution(nn.Module):
    """A convolution, and what follows it."""

    def __init__(self, convolution: nn.Conv2d, rectified: bool = True) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self._how = convolution.padding, convolution.stride, convolution.dilation, convolution.groups
        self._then = "relu" if rectified else "none"

    def forward(self, images: Tensor, other: Tensor | None = None) -> Tensor:
        """Convolve; add the other, if there is one; rectify."""
        call = torch.ops.mkldnn._convolution_pointwise  # noqa: SLF001 - has no other name; `_can` tries it first
        if other is None:
            plain: Tensor = call(images, self.weight, self.bias, *self._how, self._then, [], "")
            return plain
        added: Tensor = call.binary(
            images, other, self.weight, self.bias, *self._how, "add", 1.0, self._then, [], ""
        )
        return added


class _Block(nn.Module):
    """A `Block` whose norms are folded."""

    def __init__(self, block: Block) -> None:
        super().__init__()
        self.first, self.second = _Convolution(block.first), _Convolution(block.second)
        self.shortcut: nn.Module = nn.Identity()
        if isinstance(block.shortcut, nn.Sequential):
            convolution = block.shortcut[0]
            assert isinstance(convolution, nn.Conv2d)
            self.shortcut = _Convolution(convolution, rectified=False)

    def forward(self, images: Tensor) -> Tensor:
        """As `Block.forward`."""
        result: Tensor = self.second(self.first(images), self.shortcut(images))
        return result


def fuse(network: nn.Module) -> nn.Module:
    """Give the network with its convolutions and what follows them in one call; itself where that cannot be.

    Parameters
    ----------
    network : torch.nn.Module
        On a processor, channels last, in evaluation mode, with its norms folded by `fold_norms`.

    Returns
    -------
    torch.nn.Module
        Shares its weights, and computes the same but for rounding.
    """
    if not isinstance(network, nn.Sequential) or not _can(next(network.parameters()).dtype):
        return network
    layers: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, nn.Identity):
            continue
        if isinstance(layer, nn.ReLU) and layers and isinstance(layers[-1], nn.Conv2d):
            layers[-1] = _Convolution(layers[-1])
        else:
            layers.append(_Block(layer) if isinstance(layer, Block) else layer)
    return nn.Sequential(*layers)


@cache
def _can(dtype: torch.dtype) -> bool:
    """Tell whether PyTorch has these calls and they say the same: it does not promise to keep them."""
    last = torch.channels_last
    images = torch.ones(2, 8, 4, 4, dtype=dtype).contiguous(memory_format=last)
    with torch.device("meta"):  # its weights are not drawn at random, which would change PyTorch's random state
        convolution = nn.Conv2d(8, 8, 3, 1, 1)
    convolution = convolution.to_empty(device="cpu").to(dtype, memory_format=last)  # type: ignore[call-overload]
    for values in convolution.parameters():
        values.data.copy_(torch.linspace(-0.1, 0.1, values.numel()).view_as(values))
    try:
        with torch.inference_mode():
            plain = _Convolution(convolution)(images)
            added = _Convolution(convolution)(images, plain)
            expected = torch.relu(convolution(images).float() + plain.float())
    except (AttributeError, RuntimeError, TypeError):
        return False
    return torch.allclose(added.float(), expected, rtol=0.05, atol=0.05)
