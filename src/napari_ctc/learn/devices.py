"""Where to compute: what was asked for, or the best that is here. In which way, is in `ways`.

Torch is imported when it is needed: whether "auto" can be had is known without it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_ctc.errors import SettingsError
from napari_ctc.settings import Device

if TYPE_CHECKING:
    import torch


def choose_device(device: Device | str = "auto") -> torch.device:
    """Choose the device: a CUDA GPU when there is one and "auto" is asked for, else the processor.

    Raises
    ------
    SettingsError
        If the device asked for is not here.
    """
    import torch

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


def check_device(device: Device | str) -> None:
    """Refuse a device that is not here.

    Raises
    ------
    SettingsError
    """
    if device not in ("auto", "cpu"):  # these always are
        choose_device(device)


def name_of(device: torch.device) -> str:
    """Name the device for a person: "cpu", or "cuda (NVIDIA H200)"."""
    if device.type == "cuda":
        import torch

        return f"cuda ({torch.cuda.get_device_name(device)})"
    return device.type
