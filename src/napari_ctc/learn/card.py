"""What a classifier file says of itself: its fields, what they must say of each other, and the digest over them.

The file may be a stranger's, so nothing in it is taken for granted.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt

from napari_ctc.errors import SettingsError
from napari_ctc.learn.agreement import LowPrecision
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.score.calibration import read_proportions
from napari_ctc.settings import TrainSettings

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = "napari-ctc classifier"
FORMAT_VERSION = 3
KEY = "napari_ctc"
SINCE = {2: ("loss_prior", "shown", "temperature", "calibrated"), 3: ("structure",)}
"""The fields that the digest covers since a version."""


class Scaling(BaseModel):
    """Mean and standard deviation of each channel, in the specimens' units."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    mean: tuple[float, ...]
    sd: tuple[float, ...]


class Card(BaseModel):
    """What a classifier file says of itself. Fields that a later version may add are passed over."""

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    classes: tuple[str, ...] = Field(min_length=2, max_length=10_000)
    channels: tuple[str, ...] = Field(min_length=1, max_length=64)
    scaling: Scaling
    native: int = Field(ge=1, le=100_000)
    size: int = Field(ge=1, le=1024)  # how small it may be is the network's to say, see `check_card`
    settings: TrainSettings
    structure: int = Field(1, ge=1)  # of the network, see `Network.built`
    metrics: dict[str, Any] = {}
    counts: dict[str, dict[str, NonNegativeInt]] = {}
    training_digests: tuple[str, ...] = ()
    loss_prior: tuple[float, ...] = ()
    shown: tuple[float, ...] = ()
    temperature: float = Field(1.0, ge=0.01, le=100)
    calibrated: tuple[str, ...] = ()
    versions: dict[str, str] = {}
    parent: str = ""
    created: str = ""
    stopped: bool = False
    computed_in: str = ""
    low_precision: LowPrecision | None = None
    digest: str = ""
    format_version: int = Field(ge=1)


def shown_by(text: str, classes: Sequence[str], counts: Mapping[str, Mapping[str, int]]) -> tuple[float, ...]:
    """Read proportions, "training" for those of the training specimens."""
    training = [counts.get("training", {}).get(name, 0) for name in classes]
    if text.strip() == "training" and not any(training):
        raise SettingsError(
            "The classifier does not say how many specimens of each class it was trained on. Give the proportions "
            "as 'name=0.9, name=0.1', or say 'uniform'."
        )
    return read_proportions(text, classes, training)


def digest_of(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """Digest tensors and what decides their meaning. `card` is as JSON gives it back."""
    digest = hashlib.sha256()
    decisive = ["classes", "channels", "scaling", "native", "size", "settings"]
    decisive += [name for since, names in SINCE.items() if since <= card["format_version"] for name in names]
    digest.update(json.dumps({name: card.get(name) for name in decisive}, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


def understood(raw: Mapping[str, Any]) -> Card:
    """Read a description of any version; raises ValueError where it does not hold together.

    Version 1 has no temperature and no word on proportions, versions 1 and 2 none on the network's structure:
    it was the first. What a version's digest does not cover is not believed.
    """
    version = raw["format_version"]
    later = {name for since, names in SINCE.items() if since > version for name in names} - {"loss_prior"}
    card = Card.model_validate({name: one for name, one in raw.items() if name not in later})
    if version == 1:
        known = any(card.counts.get("training", {}).values())
        shown = shown_by(card.settings.proportions if known else "uniform", card.classes, card.counts)
        card = card.model_copy(update={"shown": shown})
    check_card(card)
    return card


def check_card(card: Card) -> None:
    """Check what the fields of a card say of each other; raises ValueError."""
    if len(set(card.classes)) != len(card.classes):
        raise ValueError("a class stands twice")
    if not len(card.scaling.mean) == len(card.scaling.sd) == len(card.channels):
        raise ValueError("scaling and channels differ in number")
    if min(card.scaling.sd) <= 0:
        raise ValueError("a scaling of zero")
    network = NETWORKS[card.settings.network]
    if card.size < network.smallest or (network.fixed_size and card.size != network.fixed_size):
        raise ValueError(f"the network cannot have the size {card.size}")
    if card.structure > network.structure:
        raise ValueError(f"the network has no structure {card.structure}")
    for name, shares in (("loss prior", card.loss_prior), ("proportion", card.shown)):
        if shares and (len(shares) != len(card.classes) or not math.isclose(sum(shares), 1, abs_tol=1e-3)):
            raise ValueError(f"not one {name} for each class")
    if min(card.loss_prior, default=1) <= 0 or min(card.shown, default=0) < 0:
        raise ValueError("a proportion below zero")
    if not set(card.calibrated) <= set(card.classes):
        raise ValueError("a class is calibrated that is none")
