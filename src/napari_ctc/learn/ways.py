"""The ways of computing, by number format and memory layout, and how a network runs in one of them.

Which way is the fastest on this machine is found by trying, in `trials`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from napari_ctc.learn.folding import fold_norms
from napari_ctc.learn.fusing import fuse


@dataclass(frozen=True)
class Way:
    """How a network's arithmetic is done.

    Parameters
    ----------
    precision : "float32" or "bfloat16"
    layout : "channels-last" or "contiguous"
        How images and convolutions lie in memory.
    """

    precision: Literal["float32", "bfloat16"] = "float32"
    layout: Literal["channels-last", "contiguous"] = "channels-last"

    @property
    def dtype(self) -> torch.dtype:
        """The number format, as PyTorch calls it."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16}[self.precision]

    @property
    def memory_format(self) -> torch.memory_format:
        """The layout, as PyTorch calls it."""
        return torch.channels_last if self.layout == "channels-last" else torch.contiguous_format

    def __str__(self) -> str:
        """Name the way, as in "bfloat16, channels-last"."""
        return f"{self.precision}, {self.layout}"


WAYS = (Way("bfloat16"), Way("float32"), Way("bfloat16", "contiguous"), Way("float32", "contiguous"))


def made_for(device: torch.device) -> Way:
    """Give the way that the hardware is made for."""
    return Way("bfloat16" if _has_bfloat16(device) else "float32")


def scores_of(network: nn.Module, pixels: Tensor, way: Way) -> Tensor:
    """Run a network that is trained, in one way; (B, K) float32."""
    low = way.precision == "bfloat16"
    pixels = pixels.contiguous(memory_format=way.memory_format)
    # Entered and left within one call, since autocast is the thread's: none of it may last over a yield.
    with torch.autocast(pixels.device.type, dtype=torch.bfloat16, enabled=low):
        scores: Tensor = network(pixels)
    return scores.float()


def in_memory_format(network: nn.Module, memory_format: torch.memory_format) -> None:
    """Lay a network's convolutions out in memory, channels last or first."""
    for one in network.parameters():
        if one.ndim == 4:
            one.data = one.data.contiguous(memory_format=memory_format)


def folded(network: nn.Module, way: Way, device: torch.device) -> nn.Module:
    """Make the network that classifies: a copy on the device, folded and fused, computing in one way.

    Parameters
    ----------
    network : torch.nn.Module
        In evaluation mode and float32; it is left as it is.
    way : Way
    device : torch.device
    """
    prepared: nn.Module = fold_norms(network).to(  # type: ignore[call-overload]
        device, way.dtype, memory_format=way.memory_format
    )
    return fuse(prepared) if device.type == "cpu" and way.layout == "channels-last" else prepared


def folded_scores(network: nn.Module, pixels: Tensor, way: Way) -> Tensor:
    """Run a network that `folded` made for this way; (B, K) float32."""
    scores: Tensor = network(pixels.to(way.dtype, memory_format=way.memory_format))
    return scores.float()


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # newer PyTorch; older ones get float32
    has = ask() if ask is not None else {}
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
