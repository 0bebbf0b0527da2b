"""Which recipe finds a rare class: `python benchmarks/rare_class.py DATA_FOLDER --out RESULTS.csv`.

Each fold's training part has one class thinned to 1.5 % (another class for each seed); the test part is left as it
is. Every variant trains on the same folds. One row a training: balanced accuracy and macro F1 on the test part for
both decisions, and how many of the thinned class were found. Rows that `--out` already has are not run again, so a
run that was ended goes on; `--table` prints the means of a file of results.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import StratifiedKFold

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.events import run
from napari_ctc.learn import networks, runs
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.optimiser import Optimiser
from napari_ctc.learn.training import train
from napari_ctc.learn.turning import TurnedNorm
from napari_ctc.score.calibration import called, log_posterior
from napari_ctc.score.metrics import score
from napari_ctc.settings import TrainSettings

THINNED = 0.015  # share of the training part that the thinned class is left

VARIANTS: dict[str, dict[str, object]] = {
    "balanced": {"weighting": "balanced"},
    "logit-adjusted": {"weighting": "logit-adjusted"},
    "none": {"weighting": "none"},
    "effective": {"weighting": "effective"},
    "sampler": {"weighting": "sampler"},
    "no averaging": {"averaging": False},
    "smoothing 0.05": {"label_smoothing": 0.05},
    "smoothing 0.1": {"label_smoothing": 0.1},
    "channel dropout 0.1": {"channel_dropout": 0.1},
    "twice as long": {"epochs": 80},
    "half the rate": {"learning_rate": 0.001},
    "twice the rate": {"learning_rate": 0.004},
    "decay 0.05": {"weight_decay": 0.05},
    "batches of 16": {"batch_size": 16},
    "norm momentum 0.02": {},
    "half the width": {},
    "twice the width": {},
    "fine stem": {},
    "coarse stem": {},
    "mean pooling": {},
    "ring pooling": {},
    "one orientation": {},
    "AdamW": {},
    "rings alone": {},
    "AdamW and rings alone": {},
}
OTHER_WIDTHS = {"half the width": (8, 16, 32, 64), "twice the width": networks.WIDE}
WEIGHTINGS = list(VARIANTS)[:5]
MEASURES = [
    "balanced_accuracy",
    "macro_f1",
    "balanced_probable",
    "f1_probable",
    "balanced_tempered",
    "f1_tempered",
]
MEASURES += ["balanced_turns", "f1_turns"]


@contextmanager
def other_network(variant: str) -> Iterator[None]:
    """Train with another `compact`, or another optimiser, for a while."""
    compact = networks.compact
    widths = OTHER_WIDTHS.get(variant, networks.WIDTHS)
    stems = {"fine stem": ((3, 1),) * 3, "coarse stem": ((5, 2), (7, 4), (7, 4))}.get(variant, networks.STEMS)

    def build(channels: int, classes: int, size: int) -> torch.nn.Module:
        ways = {"rings": variant != "mean pooling", "turns": variant != "one orientation"}
        ways["largest"] = "rings alone" not in variant
        network = compact(channels, classes, size, widths, stems, **ways)
        if variant == "norm momentum 0.02":
            for one in network.modules():
                if isinstance(one, torch.nn.BatchNorm2d | TurnedNorm):
                    one.momentum = 0.02
        return network

    before = networks.NETWORKS["compact"]
    networks.NETWORKS["compact"] = replace(before, build=build)
    if variant.startswith("AdamW"):
        runs.Optimiser = partial(Optimiser, kind="AdamW")
    try:
        yield
    finally:
        networks.NETWORKS["compact"] = before
        runs.Optimiser = Optimiser


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--variants", default=",".join(WEIGHTINGS))
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--most", type=int, default=800, help="specimens, drawn at random by class")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument(
        "--turns", action="store_true", help="also score the mean over turns, at eight times the cost"
    )
    parser.add_argument("--table", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if not arguments.table:
        measure(arguments)
    table = pd.read_csv(arguments.out)
    rare = table.groupby("variant")[["rare_found", "rare_tested"]].sum()
    means = table.groupby("variant")[MEASURES].mean()
    means["mean"] = (means["balanced_accuracy"] + means["macro_f1"]) / 2
    means["seconds"] = table.groupby("variant")["seconds"].median()
    print(
        means.join(rare).join(table.groupby("variant").size().rename("n")).sort_values("mean").round(3).to_string()
    )


def measure(arguments: argparse.Namespace) -> None:
    """Train every variant on every fold, and write a row for each."""
    whole = Manifest.open(arguments.folder / "manifest.csv", Layout(arguments.channels)).labelled()
    done = set()
    if arguments.out.exists():
        before = pd.read_csv(arguments.out)
        done = set(zip(before["variant"], before["seed"], before["fold"], strict=True))
    for seed in (int(one) for one in arguments.seeds.split(",")):
        chosen = part(whole, arguments.most, seed)
        truth = chosen.labels(chosen.classes)
        thinned = np.argsort(-np.bincount(truth))[(2 * seed * len(chosen.classes) // 5) % len(chosen.classes)]
        folds = StratifiedKFold(arguments.folds, shuffle=True, random_state=seed)
        for fold, (training, test) in enumerate(folds.split(truth, truth)):
            training = thin(training, truth, thinned, seed)
            for variant in arguments.variants.split(","):
                if (variant, seed, fold) in done:
                    continue
                with other_network(variant):
                    row = one_training(chosen, training, test, VARIANTS[variant], arguments, seed, thinned)
                row = {"variant": variant, "seed": seed, "fold": fold, **row}
                fresh = not arguments.out.exists()
                with arguments.out.open("a", newline="") as file:
                    writer = csv.DictWriter(file, list(row))
                    if fresh:
                        writer.writeheader()
                    writer.writerow(row)
                print(row, flush=True)


def part(manifest: Manifest, most: int, seed: int) -> Manifest:
    """Take some of the specimens, each class in proportion; sources are left out, since the folds are random."""
    manifest = manifest.with_column("source", [""] * len(manifest)).with_column("split", [""] * len(manifest))
    if len(manifest) <= most:
        return manifest
    random = np.random.default_rng(seed)
    truth = manifest.labels(manifest.classes)
    rows = [
        random.permutation(np.flatnonzero(truth == place))[: round(most * np.mean(truth == place))]
        for place in range(len(manifest.classes))
    ]
    return manifest.rows(np.sort(np.concatenate(rows)))


def thin(rows: np.ndarray, truth: np.ndarray, thinned: int, seed: int) -> np.ndarray:
    """Leave so many of one class that they are `THINNED` of all, at least four."""
    rare = np.random.default_rng(seed).permutation(rows[truth[rows] == thinned])
    others = rows[truth[rows] != thinned]
    keep = max(round(THINNED / (1 - THINNED) * len(others)), 4)
    return np.concatenate([others, rare[:keep]])


def one_training(chosen, training, test, overrides, arguments, seed, thinned) -> dict[str, float]:
    settings = TrainSettings(
        **{"epochs": arguments.epochs, "seed": seed, "channels": arguments.channels, **overrides}
    )
    start = time.perf_counter()
    classifier = run(train(chosen.rows(training), settings))
    seconds = time.perf_counter() - start
    held = chosen.rows(test)
    truth, raw = held.labels(classifier.classes), raw_scores(classifier, held)
    counts = np.array([classifier.counts["training"][name] for name in classifier.classes])
    shown = counts / counts.sum()
    said = called(raw, classifier.loss_prior, shown, "balanced")
    balanced = score(truth, said, classifier.classes)
    probable = score(truth, called(raw, classifier.loss_prior, shown, "most-probable"), classifier.classes)
    tempered = (log_posterior(raw, classifier.loss_prior, shown, classifier.temperature) - np.log(shown)).argmax(1)
    with_temperature = score(truth, tempered, classifier.classes)
    flips = None
    if arguments.turns:
        turned = raw_scores(classifier, held, turns=True)
        flips = score(truth, called(turned, classifier.loss_prior, shown, "balanced"), classifier.classes)
    return {
        "balanced_accuracy": balanced.balanced_accuracy,
        "macro_f1": balanced.macro_f1,
        "balanced_probable": probable.balanced_accuracy,
        "f1_probable": probable.macro_f1,
        "balanced_tempered": with_temperature.balanced_accuracy,
        "f1_tempered": with_temperature.macro_f1,
        "rare_found": int(balanced.found[thinned]),
        "rare_found_tempered": int(with_temperature.found[thinned]),
        "rare_false": int(np.sum((said == thinned) & (truth != thinned))),
        "rare_false_tempered": int(np.sum((tempered == thinned) & (truth != thinned))),
        "rare_found_probable": int(probable.found[thinned]),
        "rare_tested": int(balanced.counts[thinned]),
        "rare_trained": int(counts[thinned]),
        "balanced_turns": flips.balanced_accuracy if flips else math.nan,
        "f1_turns": flips.macro_f1 if flips else math.nan,
        "seconds": seconds,
    }


@torch.inference_mode()
def raw_scores(classifier: Classifier, manifest: Manifest, turns: bool = False) -> np.ndarray:
    """Run the network on every specimen in float32; with `turns`, the mean over the square's eight."""
    scores = []
    for rows in np.array_split(np.arange(len(manifest)), -(-len(manifest) // 64)):
        pixels = classifier.canvas.batch([manifest.specimen(row) for row in rows])
        images = classifier.canvas.to_input(pixels, torch.device("cpu"))
        views = [torch.rot90(image, turn, (2, 3)) for image in (images, images.flip(3)) for turn in range(4)]
        seen = views if turns else [images]
        scores.append(torch.stack([classifier.network_module(view) for view in seen]).mean(0).numpy())
    return np.concatenate(scores)


if __name__ == "__main__":
    main()
