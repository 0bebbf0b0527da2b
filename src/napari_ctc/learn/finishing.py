"""The end of a training run: the weights that were kept, with all that is known of them, as a classifier."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

import numpy as np
import torch

from napari_ctc.errors import TrainingError
from napari_ctc.learn.classifier import Classifier, Scaling
from napari_ctc.learn.runs import Run, in_memory_format

HELD_OUT = "validation specimens"
CHOSE = "validation specimens, which chose the epoch"


def finished(run: Run, start: Classifier | None = None) -> Classifier:
    """Make the classifier of the epoch that was kept.

    Raises
    ------
    TrainingError
        If no epoch had a finite loss on the validation specimens.
    """
    if run.kept_scores is None:
        raise TrainingError(
            "No epoch had a finite loss on the validation specimens. Try a tenth of the learning rate, and look "
            "for validation specimens with extreme pixel values."
        )
    classes, data = run.deal.classes, run.data
    in_memory_format(run.network, torch.contiguous_format)
    run.network.load_state_dict(run.kept_weights)
    counts = {
        part: dict(zip(classes, np.bincount(data.truth[rows], minlength=len(classes)).tolist(), strict=True))
        for part, rows in (("training", data.training), ("validation", data.validation))
    }
    return Classifier(
        network_module=run.network,
        classes=classes,
        channels=run.channels,
        scaling=Scaling(mean=data.canvas.mean, sd=data.canvas.sd),
        native=data.canvas.native,
        size=data.canvas.size,
        settings=run.settings,
        metrics={
            "on": CHOSE if run.settings.patience else HELD_OUT,
            "epoch": run.kept_epoch,
            "epochs": run.ended,
            "log_loss": run.kept_loss,
            **run.kept_scores.as_dict(),
        },
        counts=counts,
        training_digests=tuple(sorted({*data.digests, *(start.training_digests if start else ())})),
        parent=run.parent,
        loss_prior=run.prior,
        versions=_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        stopped=run.stopped,
    )


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
