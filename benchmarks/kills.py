"""Kill a classification again and again: `python benchmarks/kills.py` (not on Windows).

A process classifies a folder and is killed (SIGKILL) at a random moment after it has put a chunk on the disk,
within an eighth of the time that an undisturbed run takes from its first chunk to its end; then the same call is
made again, and so on. Whenever it comes to its end, its table is compared with that of the undisturbed run, byte
for byte, and a new one is begun. After the last kill it may come to its end. Prints how many kills and whole
tables there were, and how many of the tables differed: 0 is what is promised.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from napari_ctc.apply import forward
from napari_ctc.apply.inference import classify
from napari_ctc.apply.record import folder_of
from napari_ctc.events import run
from napari_ctc.learn.card import Scaling
from napari_ctc.learn.classifier import Classifier
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.settings import TrainSettings

SIZE, BATCH = 24, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--specimens", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--suffix", default=".csv")
    arguments = parser.parse_args()
    forward.PIXELS_IN_CHUNK = 0  # a chunk a batch: as many borders as can be
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "specimens"
        write(folder, arguments.specimens)
        undisturbed, out = (Path(place) / f"{name}{arguments.suffix}" for name in ("undisturbed", "out"))
        process = begin(folder, undisturbed)
        wait_for_chunk(process, undisturbed, 0)
        start = time.perf_counter()
        wait(process)
        took = time.perf_counter() - start
        kills = whole = different = resumed = 0
        while kills < arguments.kills:
            before = len(chunks(out))
            process = begin(folder, out)
            wait_for_chunk(process, out, before)
            time.sleep(chance.uniform(0, took / 8))
            if ended(process):
                whole += 1
                different += compare(undisturbed, out)
                shutil.rmtree(folder_of(out))
                out.unlink()
                continue
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            kills += 1
            resumed += before > 0
            print(f"kill {kills}: {len(chunks(out))} chunks are on the disk", flush=True)
        wait(begin(folder, out))
        whole += 1
        different += compare(undisturbed, out)
    print(f"{kills} kills ({resumed} of runs that went on), {whole} whole tables, {different} differ")
    sys.exit(bool(different))


_ended: set[int] = set()


def begin(folder: Path, out: Path) -> int:
    """Classify in a process of its own; nothing was computed in this one, so a fork has all it needs."""
    process = os.fork()
    if process == 0:
        torch.manual_seed(0)
        network = NETWORKS["compact"].build(4, 3, SIZE)
        scaling = Scaling(mean=(127.0,) * 4, sd=(74.0,) * 4)
        names = ("debris", "leukocyte", "tumour cell")
        settings = TrainSettings(size=SIZE)
        classifier = Classifier(network, names, ("1", "2", "3", "4"), scaling, SIZE, SIZE, settings)
        run(classify(folder, classifier, out, precision="float32", device="cpu", batch_size=BATCH))
        os._exit(0)
    return process


def ended(process: int) -> bool:
    if process not in _ended:
        found, status = os.waitpid(process, os.WNOHANG)
        if found and status:
            sys.exit(f"The run itself failed: {status}")
        if found:
            _ended.add(process)
    return process in _ended


def wait_for_chunk(process: int, out: Path, before: int) -> None:
    """Wait until there is one more chunk than before, or the end."""
    while len(chunks(out)) <= before and not ended(process):
        time.sleep(0.001)


def wait(process: int) -> None:
    while not ended(process):
        time.sleep(0.01)


def chunks(out: Path) -> list[Path]:
    try:
        return [path for path in folder_of(out).glob("*-*.parquet") if not path.name.startswith(".")]
    except OSError:
        return []


def compare(one: Path, other: Path) -> bool:
    """Tell whether two tables differ; their files are compared, byte for byte."""
    same = one.read_bytes() == other.read_bytes()
    print("a whole table: as it should be" if same else "a whole table: DIFFERENT", flush=True)
    return not same


def write(folder: Path, number: int) -> None:
    folder.mkdir()
    pixels = np.random.default_rng(0)
    for one in range(number):
        np.save(folder / f"{one:06}.npy", pixels.integers(0, 256, (SIZE, SIZE, 4), np.uint8))


if __name__ == "__main__":
    main()
