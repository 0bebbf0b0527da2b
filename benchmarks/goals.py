"""How good the defaults are on real sets, beside published figures: `python benchmarks/goals.py DATA_FOLDER`.

A random part of the labelled specimens is kept for the test, each class in proportion, as the published figures
did it; all else goes to one training with the defaults of `napari-ctc train`, which holds out a fifth of it by
itself. Sources are left out, since a random split does not keep them together. Prints the scores on the test part
for both decisions, and how long the training took.

Goals, each with a training of under 15 minutes on two cores: weighted F1 above 0.846 on `mitocheck`, 15 % kept for
the test (Tomkinson & Way 2024); macro F1 above 0.868 on `chula_rbc12_even`, 20 % kept (arXiv 2012.01321, on all
images of that set).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from rare_class import other_network, part, raw_scores
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split

from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.events import run
from napari_ctc.learn.training import train
from napari_ctc.score.calibration import called
from napari_ctc.score.metrics import score
from napari_ctc.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--test", type=float, default=0.15, help="share kept for the test")
    parser.add_argument("--seeds", default="0", help="of the split and of the training")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--set", nargs="*", default=[], metavar="NAME=VALUE", help="settings other than the defaults"
    )
    parser.add_argument("--variant", default="", help="another `compact`, of those in rare_class.py")
    arguments = parser.parse_args()
    figures = [measured(arguments, int(seed)) for seed in arguments.seeds.split(",")]
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def measured(arguments: argparse.Namespace, seed: int) -> dict:
    channels = np.load(next((arguments.folder / "npy").iterdir()), mmap_mode="r").shape[-1]
    manifest = Manifest.open(arguments.folder / "manifest.csv", Layout(channels)).labelled()
    manifest = part(manifest, len(manifest), seed)
    truth = manifest.labels(manifest.classes)
    training, test = train_test_split(
        np.arange(len(manifest)), test_size=arguments.test, stratify=truth, random_state=seed
    )
    given = dict(one.split("=", 1) for one in arguments.set)
    settings = TrainSettings.model_validate({"channels": channels, "seed": seed, **given})
    begun = time.perf_counter()
    with other_network(arguments.variant):
        classifier = run(train(manifest.rows(np.sort(training)), settings))
    seconds = time.perf_counter() - begun
    held = manifest.rows(np.sort(test))
    truth, raw = held.labels(classifier.classes), raw_scores(classifier, held)
    counts = np.array([classifier.counts["training"][name] for name in classifier.classes])
    shown = counts / counts.sum()
    figures = {
        "seed": seed,
        "settings": given,
        "variant": arguments.variant,
        "trained": int(counts.sum()),
        "tested": len(held),
    }
    figures |= {"minutes": round(seconds / 60, 2)}
    for decision in ("balanced", "most-probable"):
        predicted = called(raw, classifier.loss_prior, shown, decision)
        scores = score(truth, predicted, classifier.classes)
        figures[decision] = {
            "weighted_f1": round(float(f1_score(truth, predicted, average="weighted")), 4),
            "macro_f1": round(scores.macro_f1, 4),
            "balanced_accuracy": round(scores.balanced_accuracy, 4),
            "found": {
                name: [int(scores.found[at]), int(scores.counts[at])] for at, name in enumerate(scores.classes)
            },
        }
    print(json.dumps(figures, indent=1), flush=True)
    return figures


if __name__ == "__main__":
    main()
