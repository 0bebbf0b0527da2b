"""How fast a folder is classified in each place: `python benchmarks/places.py --files 6144 --size 64`.

Classifies the same files, from the page cache, here, in two processes, and on a Dask scheduler with two workers of
one thread, in turns. The rate is that from the moment when as many rows have come as two workers compute first, so
what it takes to begin is not in it, and is told beside it. All write a table, and keep its chunks beside it.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from napari_ctc.apply.elsewhere import BATCHES_IN_PIECE
from napari_ctc.apply.forward import batch_size
from napari_ctc.apply.inference import classify
from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import Classified, Event, run
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from clusters import LocalCluster

DIFFERENT = 2_000  # files with pixels of their own; the others are links to them, read and digested all the same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=6_144)
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16", "auto"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        figures = measure(Path(kept), arguments)
    print(f"{arguments.files:,} specimens of {arguments.size} px, {arguments.precision}")
    for place, one in figures.items():
        print(
            f"{place}: {one['rate']:,.0f} a second, {one['ratio']:.2f} of here "
            f"({one['ratio_min']:.2f} to {one['ratio_max']:.2f}); {one['begins']:.1f} s to begin"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def measure(folder: Path, arguments: argparse.Namespace) -> dict:
    classifier = little_classifier(folder / "drawn", arguments.size)
    write_folder(folder / "specimens", arguments.files, arguments.size)
    manifest = Manifest.open(folder / "specimens")
    first = 2 * BATCHES_IN_PIECE * batch_size(classifier)
    few = manifest.rows(range(first))
    (folder / "cluster").mkdir()
    cluster = LocalCluster(folder / "cluster")
    try:
        cluster.wait(2)
        places = {"here": "here", "processes:2": "processes:2", "two workers": cluster.address}

        def work(specimens: Manifest, place: str) -> tuple[float, float]:
            return classified(specimens, classifier, place, arguments.precision, first)

        for place in places.values():  # PyTorch is loaded, the way of computing chosen, and the files read
            work(few, place)
        turns = [
            {
                name: classified(manifest, classifier, place, arguments.precision, first)
                for name, place in places.items()
            }
            for _ in range(arguments.rounds)
        ]
    finally:
        cluster.end()
    return {name: told([(turn[name], turn["here"]) for turn in turns]) for name in turns[0]}


def told(pairs: list[tuple[tuple[float, float], tuple[float, float]]]) -> dict:
    ratios = [rate / rate_here for (rate, _), (rate_here, _) in pairs]
    return {
        "rate": statistics.median(rate for (rate, _), _ in pairs),
        "begins": statistics.median(begins for (_, begins), _ in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def classified(
    manifest: Manifest, classifier: Classifier, place: str, precision: str, first: int
) -> tuple[float, float]:
    """Classify all; give specimens a second once the first of them have come, and the seconds it took to begin."""
    came = []

    def look(event: Event) -> None:
        if isinstance(event, Classified) and event.done >= first:
            came.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as fresh:  # nothing there to go on with
        start = time.perf_counter()
        job = classify(manifest, classifier, Path(fresh) / "a.parquet", precision=precision, on=place)
        predictions = run(job, look)
        end = time.perf_counter()
    assert len(predictions) == len(manifest)
    assert predictions.failed == 0
    rate = (len(manifest) - first) / (end - came[0])
    begins = came[0] - start - (first / rate if rate else 0)
    print(
        f"{place.partition('//')[0]} {len(manifest):,}: {rate:,.0f} a second, {begins:.1f} s to begin", flush=True
    )
    return rate, begins


def little_classifier(folder: Path, size: int) -> Classifier:
    table = run(write_drawn(folder, 120, size=size, shares=(0.4, 0.4, 0.2)))
    return run(train(Manifest.read(table), TrainSettings(size=size, epochs=2), folder / "little.safetensors"))


def write_folder(folder: Path, files: int, size: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(files):
        path = folder / f"slide_{number // 1000}" / f"specimen_{number:06d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        if number < DIFFERENT:
            buffer = io.BytesIO()
            np.save(buffer, rng.integers(0, 256, (size, size, 4), np.uint8))
            path.write_bytes(buffer.getvalue())
        else:
            other = number % DIFFERENT
            os.link(folder / f"slide_{other // 1000}" / f"specimen_{other:06d}.npy", path)


if __name__ == "__main__":
    main()
