"""Labels needed to find a rare class: `python benchmarks/labelling.py DATA_FOLDER --channels 4 --json FILE`.

A simulated person labels what the queue shows, one specimen at a time, and is always right. The rare class
(another one for each seed) is thinned to 1.5 % of the pool and named beforehand; nothing has a label at the start.
The fixed measurements and the instant head are the product's; it refits after each of the first 50 labels and then
after every fifth (the product: after each). Every order but random has its one in five random draws. Counted are
the labels until the first of the rare class, and until 80 % of it have a label. At the end the random draws are
put to the test: how often the bound on what is unseen holds while a hunt goes on beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from napari_ctc.data.history import History
from napari_ctc.data.labels import LabelTable
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.specimens import Layout
from napari_ctc.events import run
from napari_ctc.review.audit import Round, bound, frozen_round
from napari_ctc.review.features import measure
from napari_ctc.review.head import fit_head
from napari_ctc.review.queue import DEFAULT, ORDERS, State, next_up
from napari_ctc.review.space import Space

SHARE = 0.015  # of the pool that is of the rare class
FEWEST = 0.01  # a class with fewer is not tried
RECALL = 0.8
EACH_UNTIL, THEN_EVERY = 50, 5  # labels between two fits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="with a manifest.csv in which everything is labelled")
    parser.add_argument("--channels", type=int, default=4)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--orders", default=",".join(ORDERS))
    parser.add_argument("--most", type=int, default=4000, help="specimens in the pool, drawn at random")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    arguments = parser.parse_args()
    manifest = Manifest.open(arguments.folder / "manifest.csv", Layout(arguments.channels)).labelled()
    if len(manifest) > arguments.most:
        chosen = np.random.default_rng(0).permutation(len(manifest))[: arguments.most]
        manifest = manifest.rows(np.sort(chosen))
    start = time.perf_counter()
    features = run(measure(manifest))
    print(f"{len(manifest):,} specimens measured in {time.perf_counter() - start:.1f} s", flush=True)
    trials = all_trials(manifest, features, arguments.orders.split(","), arguments.seeds)
    figures = summary(trials, len(manifest)) | {"coverage_of_100": coverage()}
    print(json.dumps(figures, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(figures | {"trials": trials}, indent=2) + "\n")
    if arguments.plot:
        plot(trials, arguments.plot)


def all_trials(manifest: Manifest, features: np.ndarray, orders: list[str], seeds: int) -> list[dict]:
    """Let the person label with every order, once a seed."""
    classes = manifest.classes
    truth = manifest.labels(classes)
    counts = np.bincount(truth, minlength=len(classes))
    able = np.flatnonzero(counts >= FEWEST * len(truth))
    trials = []
    for seed in range(seeds):
        rare = int(able[seed % len(able)])
        rows = thinned(truth, rare, seed)
        for order in orders:
            start = time.perf_counter()
            found = label_by(order, Space.of(features[rows]), truth[rows], rare, len(classes), seed)
            trial = {"seed": seed, "rare": classes[rare], "pool": len(rows), "order": order, "found_at": found}
            trial["of_rare"] = int((truth[rows] == rare).sum())
            trials.append(trial)
            print(
                f"seed {seed}, {classes[rare]}: {order} finds one of {trial['of_rare']} after {found[0]} labels, "
                f"{RECALL:.0%} after {found[-1]} of {len(rows):,} ({time.perf_counter() - start:.0f} s)",
                flush=True,
            )
    return trials


def thinned(truth: np.ndarray, rare: int, seed: int) -> np.ndarray:
    """Give the rows of a pool in which a class is rare."""
    others = np.flatnonzero(truth != rare)
    wanted = max(round(SHARE / (1 - SHARE) * len(others)), 3)
    kept = np.random.default_rng(seed).permutation(np.flatnonzero(truth == rare))[:wanted]
    return np.sort(np.concatenate([others, kept]))


def label_by(order: str, space: Space, truth: np.ndarray, rare: int, classes: int, seed: int) -> list[int]:
    """Label until `RECALL` of the rare class have a label; give the number of labels at each that was found."""
    wanted = int(np.ceil(RECALL * (truth == rare).sum()))
    keys = [f"{row}" for row in range(len(truth))]
    given = np.full(len(truth), -1)
    unsure = np.zeros(len(truth), bool)
    round_ = Round.drawn(1, keys, frozenset(), seed=str(seed))
    head, probabilities, found = None, None, []
    for turn in range(len(truth)):
        if order != "random" and (turn <= EACH_UNTIL or turn % THEN_EVERY == 0):
            head = fit_head(space.values, given, head)
            probabilities = None if head is None else head.probabilities(space.values, classes)
        if all(given[int(key)] >= 0 for key in round_.draws[:100]):
            seen = frozenset(key for key in keys if given[int(key)] >= 0)
            round_ = Round.drawn(round_.number + 1, keys, seen, seed=str(seed))
        state = State(space, given, unsure, probabilities, rare)
        row = next_up(state, keys, round_, order, turn=turn)[0].row
        given[row] = truth[row]
        if truth[row] == rare:
            found.append(turn + 1)
            if len(found) == wanted:
                break
    return found


def summary(trials: list[dict], size: int) -> dict:
    """Give the means over seeds."""
    orders = list(dict.fromkeys(trial["order"] for trial in trials))
    whole = {order: [one["found_at"][-1] for one in trials if one["order"] == order] for order in orders}
    first = {order: [one["found_at"][0] for one in trials if one["order"] == order] for order in orders}
    figures = {
        "specimens": size,
        "default": DEFAULT,
        "labels_to_first": {order: round(float(np.mean(first[order])), 1) for order in orders},
        "labels_to_80_recall": {order: round(float(np.mean(whole[order])), 1) for order in orders},
    }
    if {"random", DEFAULT} <= set(orders):
        figures["ratio"] = round(float(np.mean(whole["random"]) / np.mean(whole[DEFAULT])), 2)
    return figures


# -------------------------------------------------------------------------------------------- the bound


def coverage(trials: int = 300, size: int = 2000, labels: int = 450) -> float:
    """Say how many times in 100 the bound holds, while 4 of 5 labels go to what a fair judge thinks likely."""
    keys = [f"{row}" for row in range(size)]
    held = 0
    for trial in range(trials):
        random = np.random.default_rng(trial)
        rare = random.random(size) < random.uniform(0, 0.05)
        likely = np.argsort(-(rare + random.normal(0, 1, size)), kind="stable").tolist()
        history = History(LabelTable())
        frozen = Round.drawn(1, keys, frozenset(), seed=str(trial))
        hunted = [keys[row] for row in likely if keys[row] not in frozen.kept_back]
        for step in range(labels):
            blind = step % 5 == 4
            key = frozen.draws[step // 5] if blind else hunted[step - step // 5]
            history.apply(
                {
                    "entry": "labelled",
                    "step": step + 1,
                    "key": key,
                    "label": "rare" if rare[int(key)] else "other",
                    "picked": "random" if blind else "rare",
                    "prediction": "hidden" if blind else "visible",
                    "round": int(blind),
                }
            )
        said = bound(frozen_round(history, keys, 1, str(trial)), history, keys, "rare")
        unseen = sum(rare[int(key)] for key in keys if not history.label_of(key).name)
        assert said.most is not None
        held += unseen <= said.most
    return round(100 * held / trials, 1)


def plot(trials: list[dict], path: Path) -> None:
    """Draw the share of the rare class found against the share of the pool labelled, means over seeds."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph

    pyqtgraph.setConfigOptions(background="w", foreground="k", antialias=True)
    pyqtgraph.mkQApp()
    widget = pyqtgraph.PlotWidget(
        labels={"bottom": "labelled, % of the pool", "left": "of the rare class found, %"}
    )
    widget.addLegend(offset=(-20, -20))
    shares = np.linspace(0, 1, 201)
    colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000"]
    for order, colour in zip(dict.fromkeys(trial["order"] for trial in trials), colours, strict=False):
        curves = [
            np.searchsorted(np.array(one["found_at"]) / one["pool"], shares, side="right") / one["of_rare"]
            for one in trials
            if one["order"] == order
        ]
        mean = 100 * np.minimum(np.mean(curves, axis=0), RECALL)
        widget.plot(100 * shares, mean, name=order, pen=pyqtgraph.mkPen(colour, width=3))
    widget.resize(800, 500)
    widget.grab().save(str(path))


if __name__ == "__main__":
    main()
