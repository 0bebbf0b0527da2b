"""Start a run from a classifier: which settings follow it, and where its weights go when classes are added."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from napari_ctc.errors import SettingsError
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.settings import TrainSettings


def following(start: Classifier, settings: TrainSettings) -> TrainSettings:
    """Let network and size follow a classifier, where they were not set to others.

    Raises
    ------
    SettingsError
        If a setting contradicts the classifier.
    """
    known, chosen = start.settings.network, settings.network
    if chosen != known and "network" in settings.model_fields_set:
        raise SettingsError(
            f"The classifier to start from has the network '{known}', and the settings ask for '{chosen}'. Leave "
            f"the network out, or start from new weights."
        )
    if settings.size not in (0, start.size):
        raise SettingsError(
            f"The classifier to start from sees specimens of {start.size} pixels, and the settings ask for "
            f"{settings.size}. Leave the size out, or start from new weights."
        )
    return settings.model_copy(update={"network": known, "size": start.settings.size})


def check_fit(start: Classifier, classes: Sequence[str], channels: int) -> None:
    """Refuse specimens that a classifier cannot go on with.

    Parameters
    ----------
    start : Classifier
    classes : sequence of str
        Of the specimens to train on.
    channels : int

    Raises
    ------
    SettingsError
    """
    if channels != start.channel_count:
        raise SettingsError(
            f"The classifier to start from was trained on {start.channel_count} channels, and these specimens "
            f"have {channels}. Start from new weights."
        )
    lost = [name for name in start.classes if name not in classes]
    if lost:
        raise SettingsError(
            f"The classifier to start from knows {', '.join(lost)}, and no specimen to train on has that label. "
            f"Label some, or start from new weights."
        )


def adopt(network: nn.Module, start: Classifier, classes: Sequence[str]) -> None:
    """Copy a classifier's weights into a network; outputs of classes that it does not know stay new.

    Parameters
    ----------
    network : torch.nn.Module
        Built for `classes`.
    start : Classifier
    classes : sequence of str
        All that `start` knows, in any order, and perhaps others.
    """
    known = [start.classes.index(name) for name in classes if name in start.classes]
    places = [place for place, name in enumerate(classes) if name in start.classes]
    by_class = _tensors_by_class(start)
    before = start.network_module.state_dict()
    with torch.no_grad():
        for name, weights in network.state_dict().items():
            if name in by_class:
                weights[places] = before[name][known]
            else:
                weights.copy_(before[name])


def _tensors_by_class(start: Classifier) -> set[str]:
    """Name the tensors that have a row for each class: those that grow with one more class."""
    build = NETWORKS[start.settings.network].built(start.structure)
    channels, classes = start.channel_count, len(start.classes)
    with torch.device("meta"):  # no memory, no random numbers
        now = build(channels, classes, start.size).state_dict()
        more = build(channels, classes + 1, start.size).state_dict()
    return {name for name, one in now.items() if one.shape != more[name].shape}
