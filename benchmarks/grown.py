"""What held-out scores promise once specimens have been added: `python benchmarks/grown.py DATA_FOLDER`.

For each draw, a first classifier is trained on the first specimens. Then some are added, and training goes on from
it with `start`, which deals anew who validates. Balanced accuracy and log-loss on those that validate stand beside
those on others that no training has seen. Each draw goes on twice: once as it is ("aware"), and once from the same
weights without a word on what they were trained on ("unaware"), which deals as if nothing had been seen. Sources
are left out.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from rare_class import part, raw_scores

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.events import run
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.training import train
from napari_ctc.score.calibration import called, log_posterior
from napari_ctc.score.metrics import balanced_log_loss, score
from napari_ctc.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--classes", help="as a,b,c; all, if not given")
    parser.add_argument("--first", type=int, default=200, help="specimens at first")
    parser.add_argument("--added", type=int, default=50, help="specimens added")
    parser.add_argument("--test", type=int, default=150, help="specimens that no training sees")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=0)
    parser.add_argument("--precision", default="auto")
    arguments = parser.parse_args()
    channels = np.load(next((arguments.folder / "npy").iterdir()), mmap_mode="r").shape[-1]
    manifest = Manifest.open(arguments.folder / "manifest.csv", Layout(channels)).labelled()
    if arguments.classes:
        wanted = manifest.table["label"].isin(arguments.classes.split(","))
        manifest = manifest.rows(np.flatnonzero(wanted))
    for seed in range(arguments.draws):
        print(json.dumps(measured(arguments, manifest, channels, seed)), flush=True)


def measured(arguments: argparse.Namespace, manifest: Manifest, channels: int, seed: int) -> dict:
    both = arguments.first + arguments.added
    drawn = part(manifest, both + arguments.test, seed)
    drawn = drawn.rows(np.random.default_rng(seed).permutation(len(drawn)))
    test = drawn.rows(np.arange(both, len(drawn)))
    settings = TrainSettings(
        channels=channels, seed=seed, epochs=arguments.epochs, precision=arguments.precision, patience=0
    )
    first = run(train(drawn.rows(np.arange(arguments.first)), settings))
    # Another run has another split; the first one's seed would hold out some of the same specimens by luck.
    grown, settings = drawn.rows(np.arange(both)), settings.model_copy(update={"seed": seed + 100})
    figures: dict = {"seed": seed, "first": told(first, test)}
    for name, start in (("unaware", replace(first, training_digests=())), ("aware", first)):
        figures[name] = told(run(train(grown, settings, start=start)), test)
    return figures


def told(classifier: Classifier, test: Manifest) -> dict:
    """Give what a classifier says of itself, and how it does on specimens that nobody has seen."""
    raw, truth = raw_scores(classifier, test), test.labels(classifier.classes)
    predicted = called(raw, classifier.loss_prior, classifier.shown, classifier.settings.decision)
    uniform = np.full(len(classifier.classes), 1 / len(classifier.classes))
    loss = balanced_log_loss(log_posterior(raw, classifier.loss_prior, uniform), truth)
    tested = score(truth, predicted, classifier.classes).balanced_accuracy
    return {
        "validation": sum(classifier.counts["validation"].values()),
        "balanced accuracy": {
            "held out": round(classifier.metrics["balanced_accuracy"], 3),
            "test": round(tested, 3),
        },
        "log-loss": {"held out": round(classifier.metrics["log_loss"], 3), "test": round(loss, 3)},
        "temperature": round(classifier.temperature, 2),
    }


if __name__ == "__main__":
    main()
