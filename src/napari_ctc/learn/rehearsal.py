"""The rehearsal: before the first epoch, a dozen specimens must be learnable in a few seconds.

A copy of the untrained network, an optimiser of its own, and the same few specimens at every step, not augmented.
A network of 80,000 weights learns a dozen images by heart, even noise; where it does not, thousands will not
help. The run itself is left as it was: its weights, norms, optimiser, steps and random state.
"""

from __future__ import annotations

import copy
import math
from time import monotonic

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from napari_ctc.errors import TrainingError
from napari_ctc.events import Job, Said, StepDone
from napari_ctc.learn.batches import Batch
from napari_ctc.learn.losses import entropy
from napari_ctc.learn.optimiser import Optimiser
from napari_ctc.learn.runs import Run
from napari_ctc.settings import TrainSettings

DOZEN = 12  # specimens
STEPS = 20  # real specimens took 3 to 6, drawn ones 3
SECONDS = 3.0
WARM_UP = 5  # steps
# In units of the loss of guessing:
LEARNT = 0.5
NOTHING = 0.95  # no step came below it
WILD = 4.0  # rates up to 0.1, which still train, stayed below 3; a rate of 1 went from 4 to 30

_USUAL = TrainSettings().learning_rate


def rehearse(run: Run) -> Job[None]:
    """Learn a dozen specimens by heart, and say so where that fails; a run out of time passes.

    Yields
    ------
    StepDone, Said

    Raises
    ------
    TrainingError
        If nothing at all was learnt, and a usual learning rate would not help.
    """
    rate = run.settings.learning_rate
    batch = run.data.pool.batch(_dozen(run))
    losses = yield from _losses(run, batch, rate)
    nothing, wild = _failed(losses), max(losses, default=0) > WILD
    if not (nothing or wild):
        return
    if rate != _USUAL:
        usual = yield from _losses(run, batch, _USUAL)
        if usual and usual[-1] <= LEARNT:
            size = "large" if rate > _USUAL else "small"
            what = "the loss rose far above that of guessing" if wild else f"{STEPS} steps taught it nothing"
            yield Said(
                text=f"The learning rate of {rate:g} looks too {size}: in a short "
                f"rehearsal on {len(batch.rows)} specimens {what}, and with {_USUAL:g} they were learnt. If the "
                f"run goes badly, set {_USUAL:g}.",
                warning=True,
            )
            return
        nothing = nothing and _failed(usual)
    if nothing and math.isfinite(losses[-1]):  # else the first steps of the run will name it
        raise TrainingError(
            f"Training was stopped before its first step: not even {len(batch.rows)} specimens could be learnt by "
            f"heart in {STEPS} steps. {_cause(run, batch)}"
        )


def _dozen(run: Run) -> NDArray[np.int64]:
    """Draw about a dozen training specimens, equally many of each class."""
    random = np.random.default_rng(run.settings.seed)
    rows = random.permutation(run.data.training)
    truth = run.data.truth[rows]
    classes = len(run.deal.classes)
    drawn = [rows[truth == place][: max(DOZEN // classes, 1)] for place in range(classes)]
    return random.permutation(np.concatenate(drawn))[:DOZEN]


def _losses(run: Run, batch: Batch, rate: float) -> Job[list[float]]:
    """Train a copy of the network until it has learnt; the loss at each step, in units of that of guessing."""
    losses: list[float] = []
    guessing = entropy(np.bincount(run.data.truth[batch.rows]))
    if not guessing:  # specimens of one class: the others could not be read again
        return losses
    with torch.inference_mode(False):
        network = copy.deepcopy(run.network).train()
        optimiser = Optimiser(network, run.settings)
        equal = torch.ones(len(run.deal.classes), dtype=torch.float32, device=run.device)
    # A twentieth of a time budget, at most.
    end = monotonic() + min(SECONDS, 3 * run.settings.minutes or SECONDS)
    while len(losses) < STEPS and monotonic() < end:
        now = rate * min((len(losses) + 1) / WARM_UP, 1)
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
            pixels, truth = run.input_of(batch)
            scores = run.scores_of(pixels, network)
            # Told by the cross-entropy, whatever the loss is: one may fall while nothing is learnt.
            losses.append(float(F.cross_entropy(scores.detach(), truth)) / guessing)
            if losses[-1] <= LEARNT or not math.isfinite(losses[-1]):
                break
            optimiser.forget_gradients()
            run.loss(scores, truth, equal).backward()  # type: ignore[no-untyped-call]
            optimiser.even_out()
            optimiser.step(now)
        yield StepDone(epoch=0, epochs=0)
    return losses


def _failed(losses: list[float]) -> bool:
    """Whether nothing was learnt, though there was time."""
    if losses and not math.isfinite(losses[-1]):
        return True
    return len(losses) == STEPS and min(losses) > NOTHING


def _cause(run: Run, batch: Batch) -> str:
    names = [run.deal.classes[place] for place in np.unique(run.data.truth[batch.rows])]
    if (batch.pixels == batch.pixels[:1]).all():
        return (
            f"Their pixels are all the same, and their labels are not ({', '.join(names)}). Check how the "
            f"specimens were saved, and whether the table names the right files."
        )
    return (
        "Either specimens of different classes have the same pixels (look at some of each class), or, if you "
        "changed the network or the loss, it passes nothing on to the weights."
    )
