"""The rate of training from files, beside the bare optimiser step: `python benchmarks/training.py [SIZE]`.

The whole loop of `compact` on drawn specimens (reading, augmentation, scaling, the step, the sentinel, the running
average of the weights), and the step alone on one batch that is on the device: same network, loss, optimiser,
precision and size of batch, in turns, in one run. The average is the loop's cost, since a step learns without it.
Goal: a ratio of 0.85.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import torch

from napari_ctc.data.drawn import write_drawn
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import run
from napari_ctc.learn import epochs
from napari_ctc.learn.deal import deal_out
from napari_ctc.learn.losses import weighted_cross_entropy
from napari_ctc.learn.memory import reused_memory
from napari_ctc.learn.reading import read_data
from napari_ctc.learn.runs import Run
from napari_ctc.settings import TrainSettings

BATCH = 32
ROUNDS = 7
GOAL = 0.85


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("size", nargs="?", type=int, default=224)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--short", action="store_true", help="see that it runs: 60 specimens of 32 px, one round")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.short:
        arguments.size, arguments.rounds = 32, 1
    settings = TrainSettings(size=arguments.size, batch_size=BATCH, epochs=50, precision=arguments.precision)
    with tempfile.TemporaryDirectory() as folder:
        specimens = 60 if arguments.short else 300 if arguments.size > 100 else 600
        table = run(write_drawn(Path(folder) / "set", specimens, size=arguments.size, shares=(0.4, 0.4, 0.2)))
        deal = deal_out(Manifest.read(table), settings)
        names = ("DAPI", "cytokeratin", "CD45", "bright field")
        begun = Run.begin(deal, run(read_data(deal, settings, names)), settings, names, weighted_cross_entropy)
        with reused_memory():
            run(begun.choose_way())
            whole_loop(begun)  # warmed up; before the bare step, for the sentinel wants the first step untrained
            bare_step(begun, 3)
            pairs = [(bare_step(begun, begun.steps), whole_loop(begun)) for _ in range(arguments.rounds)]
    ratios = [loop / bare for bare, loop in pairs]
    figures = {
        "size": arguments.size,
        "precision": begun.way.precision,
        "threads": torch.get_num_threads(),
        "averaging": settings.averaging,
        "bare_images_per_second": statistics.median(bare for bare, _ in pairs),
        "loop_images_per_second": statistics.median(loop for _, loop in pairs),
        "best_loop_images_per_second": max(loop for _, loop in pairs),
        "ratio": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "rounds": pairs,
        "goal": GOAL,
    }
    print(
        f"{figures['size']} px, {figures['precision']}: the loop {figures['loop_images_per_second']:.0f} images a "
        f"second, the bare step {figures['bare_images_per_second']:.0f}: ratio {figures['ratio']:.2f} (median of "
        f"{len(pairs)}; {figures['ratio_min']:.2f} to {figures['ratio_max']:.2f}; goal {GOAL})"
    )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2))


def bare_step(begun: Run, steps: int) -> float:
    """Repeat the optimiser step on one batch in memory; images a second."""
    size = round(len(begun.data.training) / begun.steps)  # as in the loop, which deals them out evenly
    pixels, truth = begun.input_of(begun.data.pool.batch(begun.data.training[:size]))
    begun.network.train()
    start = time.perf_counter()
    for _ in range(steps):
        loss = begun.gradients(pixels, truth)
        begun.optimiser.step(begun.learning_rate())
        float(loss)
    return size * steps / (time.perf_counter() - start)


def whole_loop(begun: Run) -> float:
    """Train for one epoch; images a second."""
    start = time.perf_counter()
    run(epochs._epoch(begun))  # noqa: SLF001 - the loop itself, without the validation that follows
    begun.ended += 1
    return len(begun.data.training) / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
