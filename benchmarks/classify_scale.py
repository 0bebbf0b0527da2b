"""How classifying grows with the number of specimens: `python benchmarks/classify_scale.py`.

Folders of small specimens (24 px; hard links to a thousand files, so that the disk is not what is measured) are
classified into a CSV, each in a process of its own. Prints peak memory, seconds to list, to the first rows and to
the end, and the cost of one specimen; and how long a stop takes. The network is a thin one, so that whatever
grows with the number shows beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from napari_ctc.apply.inference import classify
from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import Stopped
from napari_ctc.events import Classified
from napari_ctc.learn.card import Scaling
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.settings import TrainSettings

SIZE, DIFFERENT = 24, 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--numbers", type=int, nargs="+", default=[1_000, 10_000, 50_000, 100_000, 200_000])
    parser.add_argument("--stop-among", type=int, default=100_000, help="specimens; 0 leaves it out")
    parser.add_argument("--suffix", default=".csv")
    parser.add_argument("--place", type=Path, help="folder for the specimens; a temporary one if not given")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(Path(arguments.child[0]), Path(arguments.child[1]), bool(arguments.stop_among))
        return
    figures = []
    with tempfile.TemporaryDirectory(dir=arguments.place) as place:
        write_originals(Path(place) / "originals")
        for number, stop in [(n, 0) for n in arguments.numbers] + [(arguments.stop_among, 1)] * bool(
            arguments.stop_among
        ):
            folder = Path(place) / f"of_{number}"
            if not folder.exists():
                link(Path(place) / "originals", folder, number)
            out = Path(place) / f"out_{number}_{stop}{arguments.suffix}"
            command = [sys.executable, __file__, "--child", str(folder), str(out), "--stop-among", str(stop)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found = json.loads(done.stdout)
            figures.append(found)
            print(", ".join(f"{name} {value:,.2f}" for name, value in found.items()), flush=True)
    peaks = {one["specimens"]: one["peak_mb"] for one in figures if not one["stop_seconds"]}
    if {10_000, 200_000} <= peaks.keys():
        print(f"peak memory of 200,000 to that of 10,000: {peaks[200_000] / peaks[10_000]:.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def child(folder: Path, out: Path, stop: bool) -> None:
    torch.manual_seed(0)
    network = NETWORKS["compact"].build(4, 3, SIZE, widths=(8, 8, 8, 8))
    scaling = Scaling(mean=(127.0,) * 4, sd=(74.0,) * 4)
    names = ("debris", "leukocyte", "tumour cell")
    classifier = Classifier(network, names, ("1", "2", "3", "4"), scaling, SIZE, SIZE, TrainSettings(size=SIZE))
    start = time.perf_counter()
    manifest = Manifest.open(folder)
    listed = time.perf_counter()
    job = classify(manifest, classifier, out, precision="float32", device="cpu")
    first = asked = 0.0
    try:
        event = next(job)
        while True:
            if isinstance(event, Classified):
                first = first or time.perf_counter()
                if stop and event.done > len(manifest) // 4:
                    stop, asked = False, time.perf_counter()
                    event = job.throw(Stopped())
                    continue
            event = next(job)
    except StopIteration as end:
        rows = len(end.value)
    ended = time.perf_counter()
    figures = {
        "specimens": len(manifest),
        "rows": rows,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "list_seconds": listed - start,
        "first_rows_seconds": first - start,
        "seconds": ended - start,
        "us_a_specimen": 1e6 * (ended - listed) / rows,
        "stop_seconds": ended - asked if asked else 0.0,
    }
    print(json.dumps(figures))


def write_originals(folder: Path) -> None:
    folder.mkdir()
    random = np.random.default_rng(0)
    for number in range(DIFFERENT):
        np.save(folder / f"{number}.npy", random.integers(0, 256, (SIZE, SIZE, 4), np.uint8))


def link(originals: Path, folder: Path, number: int) -> None:
    for start in range(0, number, DIFFERENT):
        part = folder / f"slide_{start // DIFFERENT}"
        part.mkdir(parents=True)
        for one in range(min(DIFFERENT, number - start)):
            os.link(originals / f"{one}.npy", part / f"specimen_{start + one:06}.npy")


if __name__ == "__main__":
    main()
