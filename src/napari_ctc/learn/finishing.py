"""The end of a training run: the weights that were kept, with all that is known of them, as a classifier."""

from __future__ import annotations

import platform
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from napari_ctc.data.calls import Calls
from napari_ctc.data.hunted import NOT_A_RATE
from napari_ctc.errors import Stopped, TrainingError
from napari_ctc.events import HeldOut, Job
from napari_ctc.learn.agreement import compare
from napari_ctc.learn.card import Scaling
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.runs import Run
from napari_ctc.learn.trials import fastest
from napari_ctc.learn.ways import in_memory_format
from napari_ctc.score.calibration import called
from napari_ctc.score.metrics import score
from napari_ctc.score.reliability import calibrate

HELD_OUT = "validation specimens"
CHOSE = "validation specimens, which chose the epoch"


def finished(run: Run, start: Classifier | None = None) -> tuple[Classifier, HeldOut]:
    """Make the classifier of the epoch that was kept, and fit its temperature.

    Its figures are of the validation specimens, each read with a temperature that it had no part in choosing.

    Returns
    -------
    Classifier
    HeldOut
        The same figures, with the specimens behind them, which a classifier does not name.

    Raises
    ------
    TrainingError
        If no epoch had a finite loss on the validation specimens.
    """
    if run.kept_raw is None:
        raise TrainingError(
            "No epoch had a finite loss on the validation specimens. Try a tenth of the learning rate, and look "
            "for validation specimens with extreme pixel values."
        )
    classes, data = run.deal.classes, run.data
    read = ~np.isnan(run.kept_raw).any(axis=1)
    raw, truth = run.kept_raw[read], data.truth[data.validation][read]
    hunted = any(NOT_A_RATE in told for told in run.warnings)
    calibration = calibrate(raw, truth, run.prior, classes, hunted)
    codes = called(raw, run.prior, run.shown, run.settings.decision, calibration.apart[:, None])
    scores = score(truth, codes, classes)
    held_out = HeldOut(scores=scores, calls=_calls(run, np.flatnonzero(read).tolist(), codes.tolist()))
    in_memory_format(run.network, torch.contiguous_format)
    run.network.load_state_dict(run.kept_weights)
    counts = {
        part: dict(zip(classes, np.bincount(data.truth[rows], minlength=len(classes)).tolist(), strict=True))
        for part, rows in (("training", data.training), ("validation", data.validation))
    }
    classifier = Classifier(
        network_module=run.network,
        classes=classes,
        channels=run.channels,
        scaling=Scaling(mean=data.canvas.mean, sd=data.canvas.sd),
        native=data.canvas.native,
        size=data.canvas.size,
        settings=run.settings,
        structure=run.structure,
        metrics={
            "on": CHOSE if run.settings.patience else HELD_OUT,
            "epoch": run.kept_epoch,
            "epochs": run.ended,
            "log_loss": run.kept_loss,
            "warnings": run.warnings,
            **scores.as_dict(),
            "calibration": calibration.figures,
        },
        counts=counts,
        training_digests=tuple(sorted({*data.digests, *(start.training_digests if start else ())})),
        parent=run.parent,
        loss_prior=run.prior,
        shown=run.shown,
        temperature=calibration.temperature,
        calibrated=calibration.calibrated,
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stopped=run.stopped,
        computed_in=str(run.way),
    )
    return classifier, held_out


def _calls(run: Run, read: list[int], codes: list[int]) -> Calls:
    """Put the names back on what was called of the validation specimens that could be read."""
    rows = run.data.validation[read] - len(run.deal.training)  # the pool begins with the training specimens
    digests = run.data.held_digests
    names = tuple(run.deal.classes[code] for code in codes)
    return Calls(run.deal.validation.rows(rows), names, tuple(digests[place] for place in read))


def with_agreement(run: Run, classifier: Classifier) -> Job[Classifier]:
    """Record what bfloat16 changes on the validation specimens, unless it is hopelessly slow on this machine."""
    network, settings = classifier.network_module, run.settings
    try:
        _, times = yield from fastest(
            network, settings.network, classifier.channel_count, classifier.size, run.device, "classifying"
        )
        if not any(way.precision == "bfloat16" for way in times):
            return classifier
        changed = yield from compare(
            network, classifier.reading(), run.data.kept, run.data.pool, run.data.validation, run.device
        )
    except Stopped:  # all is done but this
        return classifier
    return replace(classifier, low_precision=changed)


def _versions() -> dict[str, str]:
    try:
        own = version("napari-ctc")
    except PackageNotFoundError:  # run from a checkout
        own = "unknown"
    return {
        "napari-ctc": own,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
    }
