"""From files to rows, beside the bare network: `python benchmarks/classifying.py`.

Writes specimens (so they are in the page cache) and classifies the folder into a CSV: listing, reading, SHA-256,
network, rows, chunks on the disk. In turns with it, in one run, the bare network: norms folded, in the same
precision and layout and in batches of the same size, on tensors that are in memory and scaled already. It runs in
two ways: one batch after the other on all cores, as PyTorch does by itself, and several batches at once as
`napari_ctc.apply.streams` does. Prints the ratio to each for each size, and what each stage takes alone for one
specimen; from these follows what could be reached at best, if nothing ever waited: the core-seconds of all that is
not the network, over all cores.
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
import pandas as pd
import torch

from napari_ctc.apply.forward import Forward, batch_size
from napari_ctc.apply.inference import classify
from napari_ctc.apply.outputs import ROWS_AT_ONCE
from napari_ctc.apply.rows import columns_of, rows_of
from napari_ctc.apply.streams import Streams
from napari_ctc.data.bulk import read_bulk
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.room import Room
from napari_ctc.data.writers import CSVWriter
from napari_ctc.events import run
from napari_ctc.learn.card import Scaling
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.devices import choose_device
from napari_ctc.learn.folding import fold_norms
from napari_ctc.learn.memory import reused_memory
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.trials import fastest
from napari_ctc.settings import TrainSettings

ONE, AT_ONCE = "one batch on all cores", "several at once"
FUSED = "several at once, with sums and rectifiers in the convolutions"
LISTING, READING, SCALING = "listing", "reading and SHA-256, one thread", "scaling, one thread"
ROWS, WRITING = "rows, a batch at a time", "writing them"
BESIDES = (LISTING, READING, SCALING, ROWS, WRITING)  # what takes a core from the network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[224, 64])
    parser.add_argument("--seconds", type=float, default=5, help="of the bare network in each round, about")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--device", default="cpu", help="cpu, or cuda: a graphics card takes one batch at a time")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    every = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as place, reused_memory():  # for the bare network, too
            figures = every[size] = measure(Path(place), size, arguments)
        print(
            f"{size} px, {figures['way']}, batches of {figures['batch']}: {figures['files_per_second']:,.0f} from "
            f"files a second"
        )
        for name, of in figures["bare"].items():
            print(
                f"    bare network, {name}: {of['per_second']:,.0f} a second; ratio {of['ratio']:.3f} "
                f"({of['ratio_min']:.3f} to {of['ratio_max']:.3f})"
            )
        print(f"    at best, over {ONE}: {figures['at_best']:.3f}")
        for stage, micros in figures["microseconds"].items():
            print(f"    {stage}: {micros:,.0f} us a specimen")
    if arguments.json:
        arguments.json.write_text(json.dumps(every, indent=2))


def measure(place: Path, size: int, arguments: argparse.Namespace) -> dict:
    classifier = untrained(size)
    network, device = classifier.network_module, choose_device(arguments.device)
    way, _ = run(fastest(network, "compact", 4, size, device, "classifying", arguments.precision))
    forward, batch = Forward.of(classifier, way, device.type), batch_size(classifier)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (batch, size, size, 4), np.uint8)
    with torch.inference_mode():
        ready = classifier.canvas.to_input(pixels, forward.device, dtype=way.dtype)
        ready = ready.contiguous(memory_format=way.memory_format)

    plain = fold_norms(network).to(device, way.dtype, memory_format=way.memory_format)

    def bare(batches: int) -> None:
        with torch.inference_mode():
            for _ in range(batches):
                plain(ready).float().cpu().numpy()

    def fused(batches: int) -> None:
        with torch.inference_mode():
            for _ in range(batches):
                forward.network(ready).float().cpu().numpy()

    pool = Streams(forward.device)

    def at_once(work: Callable[[int], None], batches: int) -> None:
        shares = [batches // pool.count + (one < batches % pool.count) for one in range(pool.count)]
        for future in [pool.submit(lambda _: None, lambda _, room, n=share: work(n)) for share in shares]:
            future.result()

    bare(2)
    batches = max(round(arguments.seconds / timed(lambda: bare(3)) * 3), 4)
    folder = place / "specimens"
    folder.mkdir()
    for number in range(batches * batch):
        np.save(folder / f"{number:06}.npy", np.roll(pixels[number % batch], number))

    def whole() -> None:
        how = {"precision": way.precision, "device": device.type, "replace": True}
        run(classify(folder, classifier, place / "out.csv", **how))
        for path in (place / ".out.csv.parts").iterdir():
            path.unlink()

    whole()
    n = batches * batch
    works = {
        "files": whole,
        ONE: lambda: bare(batches),
        AT_ONCE: lambda: at_once(bare, batches),
        FUSED: lambda: at_once(fused, batches),
    }
    rounds_of = [{name: timed(work) for name, work in works.items()} for _ in range(arguments.rounds)]
    micros = stages(place, folder, classifier, forward, bare, batch)
    pool.close()
    bare_one, network = (1e6 * statistics.median(one[name] for one in rounds_of) / n for name in (ONE, FUSED))
    besides = sum(micros[name] for name in BESIDES) / torch.get_num_threads()
    return {
        "specimens": n,
        "batch": batch,
        "way": str(way),
        "files_per_second": n / statistics.median(one["files"] for one in rounds_of),
        "bare": {name: beside(rounds_of, name, n) for name in (ONE, AT_ONCE, FUSED)},
        "at_best": bare_one / (network + besides),
        "microseconds": micros,
    }


def beside(rounds_of: list[dict[str, float]], name: str, n: int) -> dict[str, float]:
    ratios = [one[name] / one["files"] for one in rounds_of]
    return {
        "per_second": n / statistics.median(one[name] for one in rounds_of),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
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

    room, scaled = Room(), Room()

    def read() -> None:
        for keys in spans:
            read_bulk(folder, keys, room=room)

    def read_in_threads() -> None:
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            list(pool.map(lambda keys: read_bulk(folder, keys) and None, spans))

    def make_rows() -> None:
        rows_of(columns_of(bulk, scores, reading), given, classifier.classes, constants)

    many = pd.concat([rows_of(columns_of(bulk, scores, reading), given, classifier.classes, constants)] * 1000)
    many = many[:ROWS_AT_ONCE]

    def write_rows() -> None:
        writer = CSVWriter(place / "some.csv")
        writer.append(many)
        writer.discard()

    def scale() -> None:
        with torch.inference_mode():
            pixels = forward.on_canvas(bulk.images)
            classifier.canvas.to_input(pixels, forward.device, dtype=forward.way.dtype, room=scaled)

    before = torch.get_num_threads()
    works = {
        LISTING: (lambda: Manifest.open(folder), len(manifest)),
        READING: (read, len(spans) * batch),
        "the same, all cores": (read_in_threads, len(spans) * batch),
        SCALING: (scale, batch),
        "bare network, all cores": (lambda: bare(3), 3 * batch),
        ROWS: (make_rows, batch),
        WRITING: (write_rows, ROWS_AT_ONCE),
    }
    micros = {}
    for name, (work, n) in works.items():
        torch.set_num_threads(1 if name == SCALING else before)
        micros[name] = 1e6 * min(timed(work) for _ in range(5)) / n
    torch.set_num_threads(before)
    return micros


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
