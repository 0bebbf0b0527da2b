"""The rate of training beside programs that keep cores busy: `python benchmarks/busy.py [SIZE]`.

Trains `compact` on drawn specimens while 0, 1 and so on processes count in a loop, up to one for each core: on all
cores whatever happens (``threads`` = their number), and with the default, which computes on fewer where that is
faster. Both in turns, each in a process of its own, from the first step on. Prints the rates and their ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from window import busy_processes, draw

BATCH = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", type=int, default=64, help="pixels")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each training")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="see that it runs: one round of 2 seconds")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case is not None:
        print(rate(arguments.folder, arguments.case, arguments.seconds))
        return
    if arguments.short:
        arguments.seconds, arguments.rounds = 2.0, 1
    cores = os.cpu_count() or 2
    found = []
    with tempfile.TemporaryDirectory(prefix="napari-ctc-busy-") as place:
        folder = Path(place) / "set"
        draw(folder, arguments.size, 300 if arguments.size > 100 else 600)
        for busy in range(cores + 1):
            with busy_processes(busy):
                pairs = [
                    [in_process(folder, threads, arguments.seconds) for threads in (cores, 0)]
                    for _ in range(arguments.rounds)
                ]
            found.append({"busy_processes": busy, "all_cores": [one for one, _ in pairs]})
            found[-1] |= {"default": [one for _, one in pairs]}
            every, chosen = (statistics.median(found[-1][name]) for name in ("all_cores", "default"))
            print(
                f"{arguments.size} px beside {busy} busy processes: {every:.0f} images a second on all {cores} "
                f"cores, {chosen:.0f} with the default: ratio {chosen / every:.2f}",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


def in_process(folder: Path, threads: int, seconds: float) -> float:
    command = [sys.executable, __file__, "--case", str(threads)]
    command += ["--folder", str(folder), "--seconds", str(seconds)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def rate(folder: Path, threads: int, seconds: float) -> float:
    """Train for so long; images a second."""
    from napari_ctc import Manifest, TrainSettings, train
    from napari_ctc.events import StepDone

    settings = TrainSettings(threads=threads, epochs=10_000, batch_size=BATCH, device="cpu")
    begun, steps = 0.0, 0
    for event in train(Manifest.read(folder / "manifest.csv"), settings):
        if not (isinstance(event, StepDone) and event.epoch):
            continue
        begun = begun or time.perf_counter()
        steps += 1  # those of the validation, a few in a hundred, count as well
        if time.perf_counter() - begun > seconds:
            break
    return BATCH * (steps - 1) / (time.perf_counter() - begun)


if __name__ == "__main__":
    main()
