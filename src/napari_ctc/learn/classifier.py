"""The classifier: a frozen network with all that is needed to use it, and its one file.

The file is a `.safetensors`: tensors, and JSON under the key ``napari_ctc``. No code is in it, and no path or
source name, so it is safe to share and to open. A file of a stranger may be hostile: everything is checked
before a tensor is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_ctc.data.files import write_whole
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import ClassifierError
from napari_ctc.learn.batches import Canvas
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.settings import TrainSettings

FORMAT = "napari-ctc classifier"
FORMAT_VERSION = 1
KEY = "napari_ctc"


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
    size: int = Field(ge=24, le=1024)
    settings: TrainSettings
    metrics: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    training_digests: tuple[str, ...] = ()
    loss_prior: tuple[float, ...] = ()
    versions: dict[str, str] = {}
    parent: str = ""
    created: str = ""
    stopped: bool = False
    digest: str = ""


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network with its classes, channels, scaling, settings, metrics and provenance.

    Parameters
    ----------
    network_module : torch.nn.Module
        On the CPU, in float32, in evaluation mode. Takes what `canvas.to_input` makes, returns raw scores
        (B, K). Copy it before you move it.
    classes, channels : tuple of str
    scaling : Scaling
    native, size : int, pixels
        See `Canvas`.
    settings : TrainSettings
    metrics : dict
        JSON-safe; from the validation specimens, and marked so.
    counts : dict
        Specimens of each class in training and validation.
    training_digests : tuple of str, sorted
        `content_digest` of each training specimen.
    loss_prior : tuple of K float
        The class proportions that the loss pretends.
    versions : dict
        Of the software that trained it.
    parent : str
        Digest of the classifier whose weights the training began with; empty for new weights.
    created : str
        ISO date and time.
    stopped : bool
        Whether a person ended the training early.
    digest : str
        Hexadecimal; covers tensors, classes, channels, scaling, sizes and settings, not times. Computed.
    """

    network_module: nn.Module = field(repr=False)
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    scaling: Scaling
    native: int
    size: int
    settings: TrainSettings
    metrics: Mapping[str, Any] = field(default_factory=dict, repr=False)
    counts: Mapping[str, Any] = field(default_factory=dict, repr=False)
    training_digests: tuple[str, ...] = field(default=(), repr=False)
    loss_prior: tuple[float, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    parent: str = ""
    created: str = ""
    stopped: bool = False
    digest: str = ""

    def __post_init__(self) -> None:
        """Freeze the network, and compute the digest."""
        self.network_module.eval().requires_grad_(False)
        if not self.digest:
            card = json.loads(json.dumps(self._card()))
            object.__setattr__(self, "digest", _digest(self._tensors(), card))

    @property
    def short(self) -> str:
        """The first eight digits of the digest."""
        return self.digest[:8]

    @property
    def channel_count(self) -> int:
        """Number of channels of each specimen."""
        return len(self.channels)

    @property
    def layout(self) -> Layout:
        """How to read specimens for this classifier."""
        return Layout(self.channel_count, self.settings.channel_axis)

    @property
    def canvas(self) -> Canvas:
        """How specimens become the network's input."""
        return Canvas(self.native, self.size, self.scaling.mean, self.scaling.sd)

    def save(self, path: str | Path) -> None:
        """Write the classifier file, the whole of it or nothing.

        Raises
        ------
        CTCError
            If the file cannot be written there.
        """
        card = {"format": FORMAT, "format_version": FORMAT_VERSION, **self._card(), "digest": self.digest}
        metadata = {KEY: json.dumps(card, allow_nan=False)}
        write_whole(Path(path), safetensors.torch.save(self._tensors(), metadata))

    def _tensors(self) -> dict[str, Tensor]:
        return {name: tensor.contiguous() for name, tensor in self.network_module.state_dict().items()}

    def _card(self) -> dict[str, Any]:
        return {
            "classes": self.classes,
            "channels": self.channels,
            "channel_count": self.channel_count,
            "scaling": self.scaling.model_dump(),
            "native": self.native,
            "size": self.size,
            "settings": self.settings.model_dump(),
            "metrics": self.metrics,
            "counts": self.counts,
            "training_digests": self.training_digests,
            "loss_prior": self.loss_prior,
            "versions": self.versions,
            "parent": self.parent,
            "created": self.created,
            "stopped": self.stopped,
        }


def _digest(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> str:
    """Digest tensors and what decides their meaning. `card` is as JSON gives it back."""
    digest = hashlib.sha256()
    decisive = ("classes", "channels", "scaling", "native", "size", "settings")
    digest.update(json.dumps({name: card[name] for name in decisive}, sort_keys=True).encode())
    for name in sorted(tensors):
        array = tensors[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{array.dtype.name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()


# ------------------------------------------------------------------------------------------- loading


def read_card(path: str | Path) -> dict[str, Any]:
    """Read what a classifier file says of itself, without its tensors.

    Raises
    ------
    ClassifierError
        If the file is missing, damaged, of another kind or of a newer format.
    """
    path = Path(path)
    if path.is_dir():
        raise ClassifierError(f"{path.name} is a folder. Choose a classifier file (.safetensors).")
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise ClassifierError(f"{path} does not exist. Choose a classifier file (.safetensors).") from None
    except (SafetensorError, OSError, ValueError) as problem:
        raise ClassifierError(
            f"{path.name} is not a classifier file, or is damaged ({problem}). Choose a .safetensors file that "
            f"napari-ctc saved."
        ) from problem
    if KEY not in metadata:
        raise ClassifierError(
            f"{path.name} holds tensors, but was not saved by napari-ctc. Choose a classifier that it saved."
        )
    try:
        card = json.loads(metadata[KEY])
        kind, version = card["format"], int(card["format_version"])
    except (ValueError, KeyError, TypeError, RecursionError) as problem:
        raise ClassifierError(f"{path.name} is damaged: its description cannot be read. {_AGAIN}") from problem
    if kind != FORMAT:
        raise ClassifierError(f"{path.name} is a '{kind}', not a {FORMAT}. Choose a classifier file.")
    if version > FORMAT_VERSION:
        raise ClassifierError(
            f"{path.name} was saved by a newer napari-ctc (format {version}; this one reads up to "
            f"{FORMAT_VERSION}). Update napari-ctc to use it."
        )
    return dict(card)


_AGAIN = "Copy it again from where it came, or train another."


def load_classifier(path: str | Path) -> Classifier:
    """Load a classifier file.

    Raises
    ------
    ClassifierError
        If the file is missing, damaged, of another kind or of a newer format.
    """
    path = Path(path)
    raw = read_card(path)
    try:
        card = Card.model_validate(raw)
        _check_card(card)
    except (ValidationError, ValueError) as problem:
        why = problem.errors()[0]["loc"] if isinstance(problem, ValidationError) else problem
        raise ClassifierError(
            f"{path.name} is damaged, or from another version of napari-ctc: its description does not hold "
            f"together ({why}). {_AGAIN}"
        ) from problem
    with torch.device("meta"):  # no memory, no random numbers
        network = NETWORKS[card.settings.network].build(len(card.channels), len(card.classes), card.size)
    tensors = _read_tensors(path, network)
    if _digest(tensors, raw) != card.digest:
        raise ClassifierError(f"{path.name} was changed or damaged since it was saved. {_AGAIN}")
    network.load_state_dict(tensors, strict=True, assign=True)
    fields = {name: getattr(card, name) for name in Card.model_fields}
    return Classifier(network, **fields)


def _check_card(card: Card) -> None:
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
    if card.loss_prior and (
        len(card.loss_prior) != len(card.classes) or not math.isclose(sum(card.loss_prior), 1, abs_tol=1e-3)
    ):
        raise ValueError("the loss prior does not fit the classes")


def _read_tensors(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Read the tensors, once their names, types and shapes are known to be the network's."""
    expected = {name: (tuple(one.shape), one.dtype) for name, one in network.state_dict().items()}
    types = {"F32": torch.float32, "I64": torch.int64}
    try:
        with safe_open(path, framework="pt") as file:
            found = {}
            for name in file.keys():
                part = file.get_slice(name)
                found[name] = (tuple(part.get_shape()), types.get(part.get_dtype()))
            if found != expected:
                raise ClassifierError(
                    f"{path.name} is damaged: its tensors do not fit the network it names. {_AGAIN}"
                )
            return {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as problem:
        raise ClassifierError(f"{path.name} is damaged ({problem}). {_AGAIN}") from problem
