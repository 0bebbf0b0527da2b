"""What one packed stack gains over a folder of small files: `python benchmarks/packing.py`.

Draws specimens, packs them, and does the same work on both in turns, in one run: list them as a manifest, open
them as the viewer does (contrast included), look at 2,000 of them one by one, read each once as training does, and
classify all into a table. Prints how many times as fast the stack is. The files are in the page cache, so what a
slow or distant disk adds to the folder is not in it.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from napari_ctc.apply.inference import classify
from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.packing import pack
from napari_ctc.data.stacks import SpecimenStack
from napari_ctc.events import run
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.deal import deal_out
from napari_ctc.learn.reading import read_data
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings

WORKS = ("list", "open", "look", "train", "classify")
LOOKED_AT = 2_000
CLASSES = ("leukocyte", "debris", "tumour cell")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as kept:
        figures = measure(Path(kept), arguments.files, arguments.size, arguments.rounds)
    rate = figures["packed_per_second"]
    print(f"{arguments.files:,} specimens of {arguments.size} px; packing: {rate:,.0f} a second")
    for what in WORKS:
        one = figures[what]
        print(
            f"{what}: folder {one['folder_seconds']:.3f} s, stack {one['stack_seconds']:.3f} s, "
            f"ratio {one['ratio']:.2f} ({one['ratio_min']:.2f} to {one['ratio_max']:.2f})"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def measure(place: Path, files: int, size: int, rounds: int) -> dict:
    classifier = little_classifier(place / "drawn", size)
    folder, stack = place / "folder", place / "packed.npy"
    write_folder(folder, files, size)
    start = time.perf_counter()
    run(pack(Manifest.open(folder), stack))
    figures: dict = {"files": files, "size": size, "packed_per_second": files / (time.perf_counter() - start)}

    def read_as_training_does(table: Path) -> None:
        found = Manifest.open(table)
        # Classes by turns: what is measured is reading, and it asks for labels.
        labels = [CLASSES[row % len(CLASSES)] for row in range(len(found))]
        labelled = Manifest(found.table.assign(label=labels, by="person"), found.root, found.layout)
        settings = TrainSettings(size=size)
        run(read_data(deal_out(labelled, settings), settings, classifier.channels))

    def look(table: Path) -> None:
        for row in chosen:
            stacks[table].frame(int(row))

    packed = stack.with_suffix(".csv")
    stacks = {table: SpecimenStack(Manifest.open(table), memory=0) for table in (folder, packed)}
    chosen = np.random.default_rng(1).integers(0, files, LOOKED_AT)  # as by the slider, or from the table
    works: dict[str, Callable[[Path], object]] = {
        "list": lambda table: Manifest.open(table),
        "open": lambda table: SpecimenStack(Manifest.open(table)).contrast,
        "look": look,
        "train": read_as_training_does,
        "classify": lambda table: run(classify(table, classifier, place / "rows.parquet", replace=True)),
    }
    for name in WORKS:
        work = works[name]
        pairs = [(seconds(work, folder), seconds(work, packed)) for _ in range(rounds)]
        ratios = [slow / fast for slow, fast in pairs]
        figures[name] = {
            "folder_seconds": statistics.median(slow for slow, _ in pairs),
            "stack_seconds": statistics.median(fast for _, fast in pairs),
            "ratio": statistics.median(ratios),
            "ratio_min": min(ratios),
            "ratio_max": max(ratios),
        }
    return figures


def seconds(work: Callable[[Path], object], table: Path) -> float:
    start = time.perf_counter()
    work(table)
    return time.perf_counter() - start


def little_classifier(folder: Path, size: int) -> Classifier:
    table = run(write_drawn(folder, 120, size=size, shares=(0.4, 0.4, 0.2)))
    return run(train(Manifest.read(table), TrainSettings(size=size, epochs=2), folder / "little.safetensors"))


def write_folder(folder: Path, files: int, size: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(files):
        buffer = io.BytesIO()
        np.save(buffer, rng.integers(0, 256, (size, size, 4), np.uint8))  # unlike each other, as their digests are
        path = folder / f"slide_{number // 1000}" / f"specimen_{number:06d}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(buffer.getvalue())


if __name__ == "__main__":
    main()
