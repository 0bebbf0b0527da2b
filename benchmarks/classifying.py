"""From files to rows, beside the bare network: `python benchmarks/classifying.py`.

Writes specimens (so they are in the page cache) and classifies the folder into a CSV: listing, reading, SHA-256,
network, rows, chunks on the disk. In turns with it, in one run, the bare network: norms folded, in the same
precision and layout and in batches of the same size, on tensors that are in memory and scaled already. Prints the
ratio of both rates for each size, and what each stage takes alone for one specimen, so that one sees what limits.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from napari_ctc.apply.chunks import READERS_AT_ONCE
from napari_ctc.apply.forward import Forward, batch_size
from napari_ctc.apply.inference import classify
from napari_ctc.apply.rows import columns_of, rows_of
from napari_ctc.data.bulk import read_bulk
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.writers import CSVWriter
from napari_ctc.events import run
from napari_ctc.learn.card import Scaling
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.trials import fastest
from napari_ctc.settings import TrainSettings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 64])
    parser.add_argument("--seconds", type=float, default=5, help="of the bare network in each round, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    every = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as place:
            figures = every[size] = measure(Path(place), size, arguments.seconds, arguments.rounds)
        print(
            f"{size} px, {figures['way']}, batches of {figures['batch']}: {figures['files_per_second']:,.0f} from "
            f"files a second, bare network {figures['bare_per_second']:,.0f}; ratio {figures['ratio']:.3f} "
            f"({figures['ratio_min']:.3f} to {figures['ratio_max']:.3f})"
        )
        for stage, micros in figures["microseconds"].items():
            print(f"    {stage}: {micros:,.0f} us a specimen")
    if arguments.json:
        arguments.json.write_text(json.dumps(every, indent=2))


def measure(place: Path, size: int, seconds: float, rounds: int) -> dict:
    classifier = untrained(size)
    way, _ = run(
        fastest(
            classifier.network_module, "compact", 4, size, torch.device("cpu"), "classifying"
        )  # as classify asks
    )
    forward, batch = Forward.of(classifier, way, "cpu"), batch_size(classifier)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch, size, size, 4), np.uint8)
    with torch.inference_mode():
        ready = classifier.canvas.to_input(pixels, forward.device).to(way.dtype, memory_format=way.memory_format)

    def bare(batches: int) -> None:
        with torch.inference_mode():
            for _ in range(batches):
                forward.network(ready).float().numpy()

    bare(2)
    batches = max(round(seconds / timed(lambda: bare(3)) * 3), 3)
    folder = place / "specimens"
    folder.mkdir()
    for number in range(batches * batch):
        np.save(folder / f"{number:06}.npy", np.roll(pixels[number % batch], number))

    def whole() -> None:
        run(classify(folder, classifier, place / "out.csv", precision=way.precision, device="cpu", replace=True))
        for path in (place / ".out.csv.parts").iterdir():
            path.unlink()

    whole()
    pairs = [(timed(whole), timed(lambda: bare(batches))) for _ in range(rounds)]
    ratios = [alone / files for files, alone in pairs]
    n = batches * batch
    return {
        "specimens": n,
        "batch": batch,
        "way": str(way),
        "files_per_second": n / statistics.median(files for files, _ in pairs),
        "bare_per_second": n / statistics.median(alone for _, alone in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "microseconds": stages(place, folder, classifier, forward, bare, batch),
    }


def stages(
    place: Path, folder: Path, classifier: Classifier, forward: Forward, bare: Callable[[int], None], batch: int
) -> dict[str, float]:
    """Time each stage alone, in microseconds a specimen."""
    manifest = Manifest.open(folder)
    spans = [manifest.keys[start : start + batch] for start in range(0, min(len(manifest), 20 * batch), batch)]
    bulk = read_bulk(folder, spans[0])
    reading, constants = classifier.reading(), {"classifier": "c", "precision": "p", **classifier.described()}
    scores = forward(bulk)
    given = manifest.table[:batch]

    def read() -> None:
        for keys in spans:
            read_bulk(folder, keys)

    def read_in_threads() -> None:
        with ThreadPoolExecutor(READERS_AT_ONCE) as pool:
            list(pool.map(lambda keys: read_bulk(folder, keys), spans))

    def make_rows() -> None:
        rows = rows_of(columns_of(bulk, scores, reading), given, classifier.classes, constants)
        writer = CSVWriter(place / "some.csv")
        writer.append(rows)
        writer.discard()

    def scale() -> None:
        with torch.inference_mode():
            classifier.canvas.to_input(forward.on_canvas(bulk.images), forward.device)

    works = {
        "listing": (lambda: Manifest.open(folder), len(manifest)),
        "reading and SHA-256, one thread": (read, len(spans) * batch),
        f"the same in {READERS_AT_ONCE} threads": (read_in_threads, len(spans) * batch),
        "scaling": (scale, batch),
        "bare network": (lambda: bare(3), 3 * batch),
        "rows, and writing them": (make_rows, batch),
    }
    return {name: 1e6 * min(timed(work) for _ in range(5)) / n for name, (work, n) in works.items()}


def untrained(size: int, widths: tuple[int, ...] = ()) -> Classifier:
    """Make a classifier that knows nothing and takes as long as one that does."""
    torch.manual_seed(0)
    more = {"widths": widths} if widths else {}
    network = NETWORKS["compact"].build(4, 3, size, **more)
    classes = ("debris", "leukocyte", "tumour cell")
    scaling = Scaling(mean=(127.0,) * 4, sd=(74.0,) * 4)
    return Classifier(network, classes, ("1", "2", "3", "4"), scaling, size, size, TrainSettings(size=size))


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
