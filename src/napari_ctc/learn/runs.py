"""The state of one training run: network, optimiser, clock, and the weights to keep."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from time import monotonic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_ctc.events import Job, Said, StepDone
from napari_ctc.learn.augment import Changes, forget_noise, noise_table
from napari_ctc.learn.batches import Batch
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.continuing import adopt
from napari_ctc.learn.deal import Deal
from napari_ctc.learn.devices import choose_device, name_of
from napari_ctc.learn.gradients import Gradients
from napari_ctc.learn.losses import guessing
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.on_card import Parcel, input_of, parcel
from napari_ctc.learn.optimiser import Optimiser
from napari_ctc.learn.reading import Data
from napari_ctc.learn.schedule import choose_steps
from napari_ctc.learn.sentinel import Sentinel
from napari_ctc.learn.threads import Threads
from napari_ctc.learn.trials import fastest, told
from napari_ctc.learn.ways import Way, in_memory_format, scores_of
from napari_ctc.learn.weights import WEIGHTINGS, class_weights, loss_prior, met_shares, score_shifts
from napari_ctc.score.calibration import read_proportions
from napari_ctc.settings import TrainSettings

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
WARM_UP, WARM_UP_EPOCHS = 0.05, 3  # the learning rate rises for this share of the run, at most so many epochs
AVERAGING = 0.995  # of the running average of the weights, once it is warm


@dataclass
class Run:
    """What a run knows between two steps; made by `begin`."""

    deal: Deal
    data: Data
    settings: TrainSettings
    channels: tuple[str, ...]
    loss: Loss
    device: torch.device
    network: nn.Module
    structure: int  # of the network, see `Network.built`
    optimiser: Optimiser
    weights: NDArray[np.float32]  # (K,) of the classes, in the loss
    shifts: NDArray[np.float32]  # (K,) nats, added to the scores in the loss
    spread: NDArray[np.float64]  # (K,) what each class gets of every label
    prior: tuple[float, ...]  # (K,) the proportions that the scores are for
    shown: tuple[float, ...]  # (K,) the proportions that probabilities are for
    guessing: float  # nats; the least training loss without telling specimens apart
    sentinel: Sentinel
    steps: int  # of an epoch
    epochs: int
    threads: Threads
    started: float
    way: Way = field(default_factory=Way)  # until it is chosen
    step: int = 0  # optimiser steps so far
    done: int = 0  # optimiser steps and validation batches so far
    ended: int = 0  # epochs so far
    stopped: bool = False
    averaged: nn.Module | None = None
    history: list[tuple[float, float]] = field(default_factory=list)  # training and validation loss, nats
    warnings: list[str] = field(default_factory=list)  # sentences without file names, kept in the classifier
    parent: str = ""  # digest of the classifier that the run began from
    kept_loss: float = math.inf
    kept_epoch: int = 0
    kept_weights: dict[str, Tensor] = field(default_factory=dict)
    kept_raw: NDArray[np.float32] | None = None  # (validation, K) scores; NaN where none could be read

    def __post_init__(self) -> None:
        """Bring what the loss needs to the device."""
        self._in_loss = [torch.from_numpy(one).to(self.device) for one in (self.weights, self.shifts)]
        self.gradients = Gradients(self.network, self.loss_of, lambda: self.optimiser.even_out())
        self._noise: Tensor | None = None
        self._averaging: list[list[Tensor]] = []  # the numbers that are averaged, and those of the network

    @classmethod
    def begin(
        cls,
        deal: Deal,
        data: Data,
        settings: TrainSettings,
        channels: tuple[str, ...],
        loss: Loss,
        start: Classifier | None = None,
        structure: int = 0,
    ) -> Run:
        """Build the network, with new weights or those of `start`, and all that a run needs.

        It has the structure of `start`; without one the structure that is given, or today's if that is 0.
        """
        device = choose_device(settings.device)
        structure = (start.structure if start else structure) or NETWORKS[settings.network].structure
        network = _build(settings, structure, len(channels), len(deal.classes), data.canvas.size)
        if start is not None:
            adopt(network, start, deal.classes)
        in_memory_format(network.to(device), torch.channels_last)
        steps, epochs = choose_steps(len(data.training), data.canvas.size, settings)
        counts = np.bincount(data.truth[data.training], minlength=len(deal.classes))
        spread = np.zeros(len(counts))
        if settings.label_smoothing:
            spread = settings.label_smoothing * met_shares(counts, settings.weighting)
            loss = partial(loss, spread=torch.from_numpy(spread).float().to(device))  # type: ignore[call-arg]
        return cls(
            deal=deal,
            data=data,
            settings=settings,
            channels=channels,
            loss=loss,
            device=device,
            network=network,
            structure=structure,
            optimiser=Optimiser(network, settings),
            weights=class_weights(counts, settings.weighting),
            shifts=score_shifts(counts, settings.weighting),
            spread=spread,
            prior=loss_prior(counts, settings.weighting),
            shown=read_proportions(settings.proportions, deal.classes, counts),
            guessing=guessing(counts, settings.weighting),
            parent=start.digest if start else "",
            averaged=copy.deepcopy(network).eval().requires_grad_(False) if settings.averaging else None,
            sentinel=Sentinel(
                len(deal.classes), settings.learning_rate, tuple(channels[one] for one in data.constant)
            ),
            steps=steps,
            epochs=epochs,
            threads=Threads(settings.threads, adapts=device.type == "cpu"),
            started=monotonic(),
        )

    def compute_in(self, way: Way) -> None:
        """Settle on a way of computing, before the first step."""
        self.way = way
        for network in (self.network, self.averaged):
            if network is not None:
                in_memory_format(network, way.memory_format)

    def choose_way(self) -> Job[None]:
        """Settle on the fastest way of computing, and say which it is."""
        settings, asked = self.settings, self.settings.precision
        way, times = yield from fastest(
            self.network,
            settings.network,
            len(self.channels),
            self.data.canvas.size,
            self.device,
            "training",
            asked,
        )
        self.compute_in(way)
        yield Said(text=f"Training on {name_of(self.device)} {told(way, times, asked)}.")

    @property
    def checks(self) -> int:
        """Validation batches of an epoch: of twice the size of a training batch."""
        return -(-len(self.data.validation) // max(2 * (len(self.data.training) // self.steps), 1))

    @property
    def total(self) -> int:
        """Optimiser steps and validation batches of the whole run."""
        return self.epochs * (self.steps + self.checks)

    @property
    def progress(self) -> float:
        """How far the run is, from 0 to 1: by steps or by the time budget, whichever is further."""
        by_time = (monotonic() - self.started) / (60 * self.settings.minutes) if self.settings.minutes else 0.0
        return min(max(self.step / (self.epochs * self.steps), by_time), 1.0)

    @property
    def continued(self) -> bool:
        """Whether the run began from a classifier, whose weights are no longer at chance."""
        return bool(self.parent)

    @property
    def over(self) -> bool:
        """Whether the run has come to its end: its epochs, its time budget or its patience."""
        if not self.ended:
            return False
        waited = self.ended - self.kept_epoch
        patience = self.settings.patience
        return self.ended >= self.epochs or self.progress >= 1 or (0 < patience <= waited)

    def chance(self, rows: NDArray[np.int64]) -> float:
        """Give the loss of equal scores for some specimens: what an untrained network should have; nats."""
        truth = self.data.truth[rows]
        labels = (1 - self.spread.sum()) * np.eye(len(self.spread)) + self.spread  # (K, K) smoothed
        equal = np.log(np.exp(self.shifts).sum()) - labels @ self.shifts  # (K,) nats, for each true class
        return float((self.weights[truth] * equal[truth]).mean())

    @property
    def seconds_left(self) -> float:
        """Estimate of the time left; NaN at first."""
        elapsed = monotonic() - self.started
        if self.done < 3 or elapsed <= 0:
            return math.nan
        left = elapsed * (self.total - self.done) / self.done
        return min(left, max(60 * self.settings.minutes - elapsed, 0)) if self.settings.minutes else left

    def tick(self) -> StepDone:
        """Make the event of a step that is done."""
        self.done += 1
        return StepDone(
            done=min(self.done, self.total),
            total=self.total,
            epoch=self.ended + 1,
            epochs=self.epochs,
            seconds_left=self.seconds_left,
        )

    def learning_rate(self) -> float:
        """Give the rate of the next step: a short rise, then half a cosine (Loshchilov and Hutter 2017)."""
        progress = self.progress
        by_share = (progress + 1 / (self.epochs * self.steps)) / WARM_UP
        rise = min(max(by_share, (self.step + 1) / (WARM_UP_EPOCHS * self.steps)), 1.0)
        return self.settings.learning_rate * rise * max((1 + math.cos(math.pi * progress)) / 2, 1e-3)

    def input_of(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Bring a batch to the device: (B, C, size, size) pixels in the number format of the way, (B,) classes."""
        pixels = self.data.kept.to_input(batch.pixels, self.device, batch.changes, self.way.dtype)
        return pixels, torch.from_numpy(self.data.truth[batch.rows]).to(self.device)

    def training_batch(self, rows: NDArray[np.int64], changes: Changes | None) -> tuple[Batch, Parcel | None]:
        """Gather a training batch, and for a CUDA card also what is sent to it; runs in any thread."""
        if self.device.type == "cuda" and changes is not None:
            return parcel(self.data.pool, self.data.kept, rows, changes, self.data.truth)
        return self.data.pool.batch(rows, changes), None

    def loss_of(self, *given: Tensor) -> Tensor:
        """Give the loss of a batch that was sent to the device: an input and its classes, or a `Parcel`."""
        if len(given) == len(Parcel._fields):
            canvas = self.data.kept
            if self._noise is None:  # kept by this run, since the graph of a step reads it where it lies
                self._noise = noise_table(canvas.size, len(self.channels), self.device)
            pixels, truth = input_of(canvas, Parcel(*given), self.way.dtype, self._noise)
        else:
            pixels, truth = given
        weights, shifts = self._in_loss
        return self.loss(self.scores_of(pixels) + shifts, truth, weights)

    @property
    def steady(self) -> nn.Module:
        """The network that is checked and kept: the average, or the one that learns."""
        return self.network if self.averaged is None else self.averaged

    @property
    def equal_classes(self) -> bool:
        """Whether every class is shown equally often."""
        return WEIGHTINGS[self.settings.weighting].resamples

    def keep(self, loss: float, raw: NDArray[np.float32]) -> bool:
        """Keep weights and raw scores of the epoch that ended, unless `patience` looks for the best and it is not.

        The last epoch is the better choice: the schedule ends there, and a class with few validation specimens
        makes a poor judge of epochs (docs/benchmarks.md has the comparison).
        """
        if not (loss < self.kept_loss if self.settings.patience else math.isfinite(loss)):
            return False
        self.kept_loss, self.kept_epoch, self.kept_raw = loss, self.ended, raw
        self.kept_weights = {
            name: one.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, one in self.steady.state_dict().items()
        }
        return True

    def average(self) -> None:
        """Take a step of the running average; it follows closely at first (as in Tan and Le 2019)."""
        if self.averaged is None:
            return
        share = 1 - min(AVERAGING, (1 + self.step) / (10 + self.step))
        if not self._averaging:
            self._averaging = [
                [one for one in (*network.parameters(), *network.buffers()) if one.is_floating_point()]
                for network in (self.averaged, self.network)
            ]
        kept, now = self._averaging
        with torch.no_grad():
            torch._foreach_lerp_(kept, now, share)

    def scores_of(self, pixels: Tensor, network: nn.Module | None = None) -> Tensor:
        """Run a network, by default the one that learns, in the way of the run; (B, K) float32."""
        return scores_of(network or self.network, pixels, self.way)

    def release(self) -> None:
        """Give the device's memory back."""
        self.gradients.forget()
        self.optimiser.forget()
        self.network.to("cpu")
        self._noise = None
        forget_noise()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _build(settings: TrainSettings, structure: int, channels: int, classes: int, size: int) -> nn.Module:
    """Build a network with the seed of the run, and leave PyTorch's random state as it was."""
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(settings.seed)  # manual_seed would reach the GPUs, too
        return NETWORKS[settings.network].built(structure)(channels, classes, size).float()
