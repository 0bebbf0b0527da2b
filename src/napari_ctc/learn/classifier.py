"""The classifier: a frozen network with all that is needed to use it, and its one file.

The file is a `.safetensors`: tensors, and JSON under the key ``napari_ctc``. No code is in it, and no path or
source name, so it is safe to share and to open. Reading it is in `loading`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch

from napari_ctc.data.files import write_whole
from napari_ctc.data.specimens import Layout
from napari_ctc.learn.agreement import LowPrecision
from napari_ctc.learn.canvas import Canvas
from napari_ctc.learn.card import FORMAT, FORMAT_VERSION, KEY, Scaling, digest_of, shown_by
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.score.calibration import Reading, describe_proportions
from napari_ctc.settings import Decision, TrainSettings

if TYPE_CHECKING:
    from torch import Tensor, nn


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
    structure : int
        Which of the network's ways to be built it has (`Network.built`); today's if 0 is given.
    metrics : dict
        JSON-safe; from the validation specimens, and marked so.
    counts : dict
        Specimens of each class in training and validation.
    training_digests : tuple of str, sorted
        `content_digest` of each training specimen, and of those of the classifiers that it came from.
    loss_prior : tuple of K float, summing to one
        The class proportions that the loss pretends; equal ones where none are given.
    shown : tuple of K float, summing to one
        The class proportions that the probabilities are for; equal ones where none are given.
    temperature : float, dimensionless
        See `napari_ctc.score.temperature`.
    calibrated : tuple of str
        The classes with enough held-out specimens for their probability to be more than a score.
    versions : dict
        Of the software that trained it.
    parent : str
        Digest of the classifier whose weights the training began with; empty for new weights.
    created : str
        ISO date and time.
    stopped : bool
        Whether a person ended the training early.
    computed_in : str
        The way of computing in training, as in "bfloat16, channels-last".
    low_precision : LowPrecision or None
        What bfloat16 changes in its answers; None if that was not asked.
    digest : str
        Hexadecimal; covers tensors and all that decides what they mean, not times. Computed.
    format_version : int
        Of the file that it came from: it is saved so again, since the digest of version 1 covers less.
    """

    network_module: nn.Module = field(repr=False)
    classes: tuple[str, ...]
    channels: tuple[str, ...]
    scaling: Scaling
    native: int
    size: int
    settings: TrainSettings
    structure: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict, repr=False)
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=dict, repr=False)
    training_digests: tuple[str, ...] = field(default=(), repr=False)
    loss_prior: tuple[float, ...] = ()
    shown: tuple[float, ...] = ()
    temperature: float = 1.0
    calibrated: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    parent: str = ""
    created: str = ""
    stopped: bool = False
    computed_in: str = ""
    low_precision: LowPrecision | None = None
    digest: str = ""
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Freeze the network, and compute the digest."""
        self.network_module.eval().requires_grad_(False)
        if not self.structure:
            object.__setattr__(self, "structure", NETWORKS[self.settings.network].structure)
        for name in ("loss_prior", "shown"):
            if not getattr(self, name):
                object.__setattr__(self, name, (1 / len(self.classes),) * len(self.classes))
        if not self.digest:
            object.__setattr__(self, "settings", TrainSettings(**self.settings.model_dump()))
            card = json.loads(json.dumps(self._card()))
            object.__setattr__(self, "digest", digest_of(self._tensors(), card))

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

    def reading(self, decision: Decision | None = None, proportions: str | None = None) -> Reading:
        """Say how its raw scores are read: as it was trained to be, or otherwise.

        Parameters
        ----------
        decision : "balanced" or "most-probable", optional
        proportions : str, optional
            As `napari_ctc.score.calibration.read_proportions` takes them.

        Raises
        ------
        SettingsError
            If the proportions do not fit the classes.
        """
        shown = self.shown if proportions is None else shown_by(proportions, self.classes, self.counts)
        return Reading(self.loss_prior, shown, self.temperature, decision or self.settings.decision)

    def described(self, decision: Decision | None = None, proportions: str | None = None) -> dict[str, str]:
        """Say in words how its raw scores are read, under the names of the columns of `Predictions`."""
        reading = self.reading(decision, proportions)
        return {
            "decision": reading.decision,
            "proportions": describe_proportions(reading.shown, self.classes),
            "calibrated": ", ".join(self.calibrated),
        }

    def save(self, path: str | Path) -> None:
        """Write the classifier file, the whole of it or nothing.

        Raises
        ------
        CTCError
            If the file cannot be written there.
        """
        write_whole(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """Give what its file holds."""
        card = {"format": FORMAT, **self._card(), "digest": self.digest}
        metadata = {KEY: json.dumps(card, allow_nan=False)}
        return safetensors.torch.save(self._tensors(), metadata)

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
            # A loaded file may know fewer settings than there are today: its digest covers those that it knew.
            "settings": self.settings.model_dump(exclude_unset=True),
            "structure": self.structure,
            "metrics": self.metrics,
            "counts": self.counts,
            "training_digests": self.training_digests,
            "loss_prior": self.loss_prior,
            "shown": self.shown,
            "temperature": self.temperature,
            "calibrated": self.calibrated,
            "versions": self.versions,
            "parent": self.parent,
            "created": self.created,
            "stopped": self.stopped,
            "computed_in": self.computed_in,
            "low_precision": self.low_precision and self.low_precision.model_dump(),
            "format_version": self.format_version,
        }
