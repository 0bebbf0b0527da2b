"""Where to compute and in which number format: what was asked for, or the best that is here."""

from __future__ import annotations

import torch

from napari_ctc.errors import SettingsError
from napari_ctc.settings import Device, Precision


def choose_device(device: Device | str = "auto") -> torch.device:
    """Choose the device: a CUDA GPU when there is one and "auto" is asked for, else the processor.

    Raises
    ------
    SettingsError
        If the device asked for is not here.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device == "auto":
        return torch.device("cuda" if present["cuda"] else "cpu")
    if not present.get(device, False):
        here = " and ".join(name for name, there in present.items() if there)
        raise SettingsError(
            f"The device '{device}' is not available on this computer (there is {here}). "
            f"Choose 'auto', or install the PyTorch that supports it."
        )
    return torch.device(device)


def choose_precision(precision: Precision | str, device: torch.device) -> torch.dtype:
    """Choose the number format of the network's arithmetic: bfloat16 where the hardware has it."""
    if precision == "auto":
        return torch.bfloat16 if _has_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def name_of(device: torch.device) -> str:
    """Name the device for a person: "cpu", or "cuda (NVIDIA H200)"."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type != "cpu":
        return False
    ask = getattr(torch.cpu, "get_capabilities", None)  # newer PyTorch; older ones get float32
    has = ask() if ask is not None else {}
    return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
