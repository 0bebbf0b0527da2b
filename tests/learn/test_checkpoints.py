"""A run that was killed goes on from its last epoch, to the same classifier."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from safetensors import safe_open
from spots import draw_spot, write_spots

from napari_ctc.data.files import checkpoint_path
from napari_ctc.errors import SettingsError, Stopped
from napari_ctc.events import EpochDone, Said, StepDone, run
from napari_ctc.learn import checkpoints, runs
from napari_ctc.learn.deal import deal_out
from napari_ctc.learn.loading import load_classifier
from napari_ctc.learn.networks import NETWORKS, Network
from napari_ctc.learn.optimiser import Optimiser
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

SETTINGS = TrainSettings(epochs=6, precision="float32", device="cpu", threads=1, channel_dropout=0.2)

KILLED = """
import sys, torch
torch.set_num_threads(1)
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import EpochDone, run
from napari_ctc.learn import checkpoints
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings
checkpoints.REST = 0.0
settings = TrainSettings.model_validate_json(sys.argv[3])
def show(event):
    if isinstance(event, EpochDone):
        print(event.epoch, flush=True)
run(train(Manifest.read(sys.argv[1]), settings, sys.argv[2]), show)
"""


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    monkeypatch.setattr(checkpoints, "REST", 0.0)


def stopped_after(epoch, job):
    """Stop a job at the first step after an epoch."""
    event = next(job)
    try:
        while not (isinstance(event, StepDone) and event.epoch == epoch + 1):
            event = next(job)
        while True:
            event = job.throw(Stopped())
    except StopIteration as end:
        return end.value


def killed_after(epoch, folder, out, settings=SETTINGS):
    """Train in a process of its own, and kill it after an epoch."""
    command = [sys.executable, "-c", KILLED, str(folder / "manifest.csv"), str(out), settings.model_dump_json()]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        for line in process.stdout:
            if int(line) == epoch:
                os.kill(process.pid, signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL


def test_the_steps_and_epochs_that_were_chosen_at_the_start_are_kept(spots, tmp_path, monkeypatch):
    """A later version may choose others for as many specimens."""
    out = tmp_path / "one.safetensors"
    settings = SETTINGS.model_copy(update={"epochs": 0})
    monkeypatch.setattr(runs, "choose_steps", lambda specimens, size, settings: (4, 5))
    whole = run(train(spots, settings))
    stopped_after(2, train(spots, settings, out))
    monkeypatch.setattr(runs, "choose_steps", lambda specimens, size, settings: (7, 9))
    resumed = run(train(spots, settings, out, resume=True))
    assert resumed.metrics["epochs"] == 5
    assert resumed.digest == whole.digest


@pytest.mark.skipif(sys.platform == "win32", reason="kills with a signal")
@pytest.mark.parametrize("patience", [0, 50])
def test_a_killed_run_resumes_to_the_same_digest(spots, tmp_path, patience):
    settings = SETTINGS.model_copy(update={"patience": patience})
    whole = run(train(spots, settings, tmp_path / "whole.safetensors"))
    out = tmp_path / "killed.safetensors"
    killed_after(3, tmp_path, out, settings)
    assert not out.exists() and checkpoint_path(out).exists()
    events = []
    resumed = run(train(spots, settings, out, resume=True), events.append)
    epochs = [event.epoch for event in events if isinstance(event, EpochDone)]
    assert epochs[0] >= 4 and epochs[-1] == 6
    assert any(isinstance(event, Said) and event.text.startswith("Going on after epoch") for event in events)
    assert resumed.digest == whole.digest == load_classifier(out).digest
    assert resumed.metrics == whole.metrics
    assert resumed.temperature == whole.temperature
    assert not checkpoint_path(out).exists()


def test_a_stopped_run_resumes_to_the_same_digest(spots, tmp_path):
    whole = run(train(spots, SETTINGS))
    out = tmp_path / "stopped.safetensors"
    assert stopped_after(2, train(spots, SETTINGS, out)).stopped
    assert checkpoint_path(out).exists()
    assert run(train(spots, SETTINGS, out, resume=True)).digest == whole.digest


def change_state(path, change):
    """Write a checkpoint anew, with what `change` makes of its state."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        card = json.loads(file.metadata()["napari_ctc"])
    card["state"] = json.dumps(change(json.loads(card["state"])))
    path.write_bytes(safetensors.torch.save(tensors, {"napari_ctc": json.dumps(card)}))


def test_a_run_that_began_before_rings_and_muon_resumes_without_them(spots, tmp_path, monkeypatch):
    out = tmp_path / "old.safetensors"
    with monkeypatch.context() as before:
        before.setitem(NETWORKS, "compact", Network(NETWORKS["compact"].built(1), smallest=24))
        before.setattr(runs, "Optimiser", partial(Optimiser, kind="AdamW"))
        stopped_after(2, train(spots, SETTINGS, out))
        whole = run(train(spots, SETTINGS))
    change_state(
        checkpoint_path(out), lambda state: {name: one for name, one in state.items() if name != "optimiser"}
    )
    resumed = run(train(spots, SETTINGS, out, resume=True))
    assert (resumed.structure, resumed.digest) == (1, whole.digest)


def test_the_time_already_used_counts(spots, tmp_path):
    out = tmp_path / "timed.safetensors"
    settings = SETTINGS.model_copy(update={"epochs": 10_000, "minutes": 0.05})
    stopped_after(1, train(spots, settings, out))
    change_state(checkpoint_path(out), lambda state: state | {"elapsed": 3.5})
    start = time.monotonic()
    resumed = run(train(spots, settings, out, resume=True))
    assert resumed.metrics["epochs"] <= 2
    assert time.monotonic() - start < 30


def test_the_schedule_ends_when_the_time_does(spots):
    settings = SETTINGS.model_copy(update={"epochs": 10_000, "minutes": 0.03})
    job, rates = train(spots, settings), []
    for event in job:
        frame = job.gi_frame
        if isinstance(event, EpochDone) and frame is not None:
            rates.append(event.seconds_left)
    assert 0 <= rates[-1] < 1.0  # seconds


def test_a_new_run_says_that_it_replaces_an_unfinished_one(spots, tmp_path):
    out = tmp_path / "m.safetensors"
    stopped_after(1, train(spots, SETTINGS, out))
    out.unlink()
    events = []
    run(train(spots, SETTINGS, out), events.append)
    said = [event.text for event in events if isinstance(event, Said) and event.warning]
    assert any("unfinished run is here (m.checkpoint.safetensors)" in text for text in said)


def test_without_a_checkpoint_there_is_nothing_to_resume(spots, tmp_path):
    with pytest.raises(SettingsError, match=r"no unfinished run to resume.*Train anew"):
        run(train(spots, SETTINGS, tmp_path / "none.safetensors", resume=True))
    with pytest.raises(SettingsError, match="Name it with 'out'"):
        run(train(spots, SETTINGS, resume=True))


@pytest.fixture
def unfinished(spots, tmp_path) -> Path:
    out = tmp_path / "m.safetensors"
    stopped_after(2, train(spots, SETTINGS, out))
    return out


def test_other_settings_are_named(spots, unfinished):
    other = SETTINGS.model_copy(update={"learning_rate": 0.01})
    with pytest.raises(SettingsError, match=r"had learning_rate = 0\.002, and now it is 0\.01"):
        run(train(spots, other, unfinished, resume=True))


def test_changed_pixels_are_refused(spots, tmp_path, unfinished):
    np.save(tmp_path / spots.keys[0], draw_spot(0, 77))
    with pytest.raises(SettingsError, match="have changed since the unfinished run began"):
        run(train(spots, SETTINGS, unfinished, resume=True))


def overwrite_validation(spots, folder):
    held = deal_out(spots, SETTINGS).validation
    np.save(folder / held.keys[0], draw_spot(0, 77))


def test_changed_pixels_of_validation_are_refused(spots, tmp_path, unfinished):
    overwrite_validation(spots, tmp_path)
    with pytest.raises(SettingsError, match="have changed since the unfinished run began"):
        run(train(spots, SETTINGS, unfinished, resume=True))


def test_a_run_that_did_not_keep_what_validates_is_resumed(spots, tmp_path, unfinished):
    change_state(checkpoint_path(unfinished), lambda state: {k: v for k, v in state.items() if k != "held_out"})
    overwrite_validation(spots, tmp_path)
    assert not run(train(spots, SETTINGS, unfinished, resume=True)).stopped


def test_other_labels_are_refused(tmp_path, unfinished):
    (tmp_path / "other").mkdir()
    with pytest.raises(SettingsError, match="have changed"):
        run(train(write_spots(tmp_path / "other", counts=(15, 13, 6)), SETTINGS, unfinished, resume=True))


@pytest.mark.parametrize("damage", ["cut", "empty", "another kind", "a tensor short", "another shape"])
def test_a_damaged_checkpoint_is_refused_in_words(spots, unfinished, damage):
    path = checkpoint_path(unfinished)
    content = path.read_bytes()
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        metadata = file.metadata()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "another kind":
        path.write_bytes(unfinished.read_bytes())
    else:
        name = next(iter(tensors))
        tensors[name] = tensors[name][:1].clone()
        if damage == "a tensor short":
            del tensors[name]
        path.write_bytes(safetensors.torch.save(tensors, metadata))
    with pytest.raises(SettingsError, match=r"(damaged|another version).*Train anew"):
        run(train(spots, SETTINGS, unfinished, resume=True))
