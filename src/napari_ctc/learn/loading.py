"""Read a classifier file. A stranger's may be hostile: everything is checked before a tensor is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from napari_ctc.data.files import is_folder
from napari_ctc.errors import ClassifierError, SettingsError
from napari_ctc.learn.card import FORMAT, FORMAT_VERSION, KEY, Card, digest_of, understood
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.networks import NETWORKS

_AGAIN = "Copy it again from where it came, or train another."


def read_card(path: str | Path) -> dict[str, Any]:
    """Read what a classifier file says of itself, without its tensors.

    Raises
    ------
    ClassifierError
        If the file is missing, damaged, of another kind or of a newer format.
    """
    path = Path(path)
    if is_folder(path):
        raise ClassifierError(f"{path.name} is a folder. Choose a classifier file (.safetensors).")
    try:
        # safetensors says of a file that may not be read that there is none, so Python is asked first.
        with path.open("rb"), safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise ClassifierError(f"{path} does not exist. Choose a classifier file (.safetensors).") from None
    except OSError as problem:
        why = problem.strerror or problem
        raise ClassifierError(f"{path} cannot be read: {why}. Check the file and its rights.") from problem
    except (SafetensorError, ValueError) as problem:
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
    return {**card, "format_version": version}


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
        card = understood(raw)
    except (ValidationError, ValueError, SettingsError) as problem:
        why = problem.errors()[0]["loc"] if isinstance(problem, ValidationError) else problem
        raise ClassifierError(
            f"{path.name} is damaged, or from another version of napari-ctc: its description does not hold "
            f"together ({why}). {_AGAIN}"
        ) from problem
    with torch.device("meta"):  # no memory, no random numbers
        build = NETWORKS[card.settings.network].built(card.structure)
        network = build(len(card.channels), len(card.classes), card.size)
    tensors = _read_tensors(path, network)
    if digest_of(tensors, raw) != card.digest:
        raise ClassifierError(f"{path.name} was changed or damaged since it was saved. {_AGAIN}")
    network.load_state_dict(tensors, strict=True, assign=True)
    fields = {name: getattr(card, name) for name in Card.model_fields}
    return Classifier(network, **fields)


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
