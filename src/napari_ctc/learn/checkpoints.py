"""Checkpoints: the state of a run on disk after an epoch, so that a run that was killed can go on.

One `.safetensors` file beside the classifier-to-be: tensors, and JSON with all other state. The order of the
specimens and all that is drawn at random follow from the seed and the epoch, so no random state needs to be kept.
A file of a stranger may be hostile: names, types and shapes are checked against the run before a tensor is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from time import monotonic

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from napari_ctc.data.files import is_file, replacing
from napari_ctc.errors import SettingsError
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.optimiser import Kind, Optimiser
from napari_ctc.learn.runs import Run
from napari_ctc.learn.ways import Way
from napari_ctc.settings import NetworkName, TrainSettings

FORMAT = "napari-ctc checkpoint"
FORMAT_VERSION = 2
KEY = "napari_ctc"
REST = 2.0  # seconds between two writings, so that short epochs are not slowed

_HELD = "held/scores"  # of the validation specimens, at the epoch that is kept
_TYPES = {"F32": torch.float32, "I64": torch.int64}
_ANEW = "Train anew, without resuming."


class State(BaseModel):
    """What a checkpoint holds besides tensors."""

    model_config = ConfigDict(frozen=True, ser_json_inf_nan="strings")

    settings: TrainSettings
    specimens: str  # digest of what is trained on, in order
    held_out: str = ""  # digest of what validates, in order; none in files of builds that did not keep it
    classes: tuple[str, ...]
    parent: str = ""  # digest of the classifier that the run began from
    structure: int = Field(1, ge=1)  # of the network
    optimiser: Kind = "AdamW"  # as before files said which
    way: Way
    epochs: int = Field(0, ge=0)  # of the whole run; 0 in files of builds that did not keep it
    step: int = Field(ge=0)
    done: int = Field(ge=0)
    ended: int = Field(ge=1)
    elapsed: float = Field(ge=0)  # seconds
    kept_epoch: int = Field(ge=0)
    kept_loss: float | None  # nats; none if no epoch was kept
    history: tuple[tuple[float, float], ...] = ()  # nats; training and validation loss of each epoch

    def structure_of(self, network: NetworkName) -> int:
        """Give the structure of the run's network; 0 for a network that is not the run's."""
        return self.structure if network == self.settings.network else 0


class Keeper:
    """Writes the checkpoints of a run.

    Parameters
    ----------
    path : Path or None
        None writes none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._written = -math.inf

    def keep(self, run: Run) -> None:
        """Write the state after an epoch, unless the last was written a moment ago.

        Raises
        ------
        CTCError
            If it cannot be written, as on a full disk.
        """
        if self.path is None or monotonic() - self._written < REST:
            return
        state = _state(run).model_dump_json()
        card = {"format": FORMAT, "format_version": FORMAT_VERSION, "state": state}
        content = safetensors.torch.save(_contiguous(_tensors(run)), {KEY: json.dumps(card)})
        with replacing(self.path, durable=False) as temporary:
            temporary.write_bytes(content)
        self._written = monotonic()

    def forget(self) -> None:
        """Remove the checkpoint of a run that came to its end."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def read_state(path: Path) -> State:
    """Read what a checkpoint says of its run, without its tensors.

    Raises
    ------
    SettingsError
        If the file is missing, damaged or of another kind.
    """
    if not is_file(path):
        raise SettingsError(f"There is no unfinished run to resume: {path} does not exist. {_ANEW}")
    try:
        with safe_open(path, framework="numpy") as file:
            card = json.loads((file.metadata() or {})[KEY])
        if card["format"] != FORMAT or card["format_version"] != FORMAT_VERSION:
            raise ValueError("it is of another kind or version")
        state = State.model_validate_json(card["state"])
        if state.structure > NETWORKS[state.settings.network].structure:
            raise ValueError("its network is unknown")
        return state
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError, ValidationError) as problem:
        raise SettingsError(
            f"{path.name} is damaged, or of another version, and cannot be resumed. {_ANEW}"
        ) from problem


def restore(run: Run, path: Path) -> None:
    """Bring a run that was just begun to the state of its checkpoint.

    Raises
    ------
    SettingsError
        If the checkpoint is of another run, or damaged.
    """
    state = read_state(path)
    _check_same(run, state)
    run.compute_in(state.way)  # what was fastest then decides the result
    run.optimiser = Optimiser(run.network, run.settings, state.optimiser)
    with torch.no_grad():
        optimiser = {}
        for name, target in _read(path, run, state).items():
            part, _, key = name.partition("/")
            if part == "kept":
                run.kept_weights[key] = target
            elif part == "held":
                run.kept_raw = target.numpy()
            elif part == "optimiser":
                optimiser[key] = target
            else:
                _parts(run)[part][key].copy_(target)
    if not run.kept_weights and state.kept_epoch:
        run.kept_weights = {key: one.detach().cpu().clone() for key, one in run.steady.state_dict().items()}
    run.optimiser.restore(optimiser)
    run.step, run.done, run.ended = state.step, state.done, state.ended
    run.steps = state.step // state.ended  # as they were chosen then: the schedule follows from them
    run.epochs = state.epochs or run.epochs
    run.started = monotonic() - state.elapsed
    run.kept_epoch, run.history = state.kept_epoch, list(state.history)
    if state.kept_loss is not None:
        run.kept_loss = state.kept_loss


# ------------------------------------------------------------------------------------------ the state


def _state(run: Run) -> State:
    return State(
        settings=run.settings,
        specimens=_digest(run),
        held_out=_held_digest(run),
        classes=run.deal.classes,
        parent=run.parent,
        structure=run.structure,
        optimiser=run.optimiser.kind,
        way=run.way,
        epochs=run.epochs,
        step=run.step,
        done=run.done,
        ended=run.ended,
        elapsed=monotonic() - run.started,
        kept_epoch=run.kept_epoch,
        kept_loss=run.kept_loss if math.isfinite(run.kept_loss) else None,
        history=tuple(run.history),
    )


def _digest(run: Run) -> str:
    """Digest the specimens of a run: their names in order, their classes, the pixels of those trained on."""
    data = run.data
    parts = (data.keys, data.truth.tolist(), data.training.tolist(), data.validation.tolist(), data.digests)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _held_digest(run: Run) -> str:
    """Digest the pixels that validate: by them one epoch is kept of those before and after a resumption."""
    return hashlib.sha256(json.dumps(run.data.held_digests).encode()).hexdigest()


def _check_same(run: Run, state: State) -> None:
    """Refuse the checkpoint of another run."""
    now, then = run.settings.model_dump(), state.settings.model_dump()
    for name in now:
        if now[name] != then[name]:
            raise SettingsError(
                f"The unfinished run had {name} = {then[name]}, and now it is {now[name]}. Resume with the "
                f"settings that it began with, or train anew."
            )
    if run.parent != state.parent:
        raise SettingsError(
            "The unfinished run began from another classifier, or from new weights. Resume it as it began, or "
            "train anew."
        )
    held_changed = state.held_out not in ("", _held_digest(run))
    if held_changed or run.deal.classes != state.classes or _digest(run) != state.specimens:
        raise SettingsError(
            "The specimens or their labels have changed since the unfinished run began, so it cannot be resumed. "
            "Train anew: it can start from a classifier."
        )


# ---------------------------------------------------------------------------------------- the tensors


def _parts(run: Run) -> dict[str, dict[str, Tensor]]:
    """Give the networks' tensors by the name of their part; they share memory with the run."""
    parts = {"weights": run.network.state_dict()}
    if run.averaged is not None:
        parts["average"] = run.averaged.state_dict()
    return parts


def _tensors(run: Run) -> dict[str, Tensor]:
    every = {f"{part}/{name}": one for part, tensors in _parts(run).items() for name, one in tensors.items()}
    if run.kept_epoch != run.ended:  # else they are those of the network or of its average
        every |= {f"kept/{name}": one for name, one in run.kept_weights.items()}
    if run.kept_raw is not None:
        every[_HELD] = torch.from_numpy(run.kept_raw)
    return every | {f"optimiser/{name}": one for name, one in run.optimiser.tensors().items()}


def _expected(run: Run, state: State) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """Say which tensors the checkpoint of a run has, of which shapes and types."""
    parts = _parts(run)
    if state.kept_epoch and state.kept_epoch != state.ended:
        parts["kept"] = run.steady.state_dict()
    expected = {
        f"{part}/{name}": (tuple(one.shape), one.dtype)
        for part, all_ in parts.items()
        for name, one in all_.items()
    }
    if state.kept_epoch:
        expected[_HELD] = ((len(run.data.validation), len(run.prior)), torch.float32)
    shapes = run.optimiser.shapes()
    return expected | {f"optimiser/{name}": (shape, torch.float32) for name, shape in shapes.items()}


def _read(path: Path, run: Run, state: State) -> dict[str, Tensor]:
    expected = _expected(run, state)
    try:
        with safe_open(path, framework="pt") as file:
            found = {}
            for name in file.keys():
                part = file.get_slice(name)
                found[name] = (tuple(part.get_shape()), _TYPES.get(part.get_dtype()))
            if found == expected:
                return {name: file.get_tensor(name) for name in expected}
    except (SafetensorError, OSError) as problem:
        raise SettingsError(f"{path.name} is damaged ({problem}) and cannot be resumed. {_ANEW}") from problem
    raise SettingsError(f"{path.name} is damaged: its tensors do not fit the run. {_ANEW}")


def _contiguous(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: one.detach().cpu().contiguous() for name, one in tensors.items()}
