"""The time from nothing to a classifier, beside the original script and a plain ResNet-18, on the same specimens.

    python benchmarks/time_to_result.py             about half an hour on two cores
    python benchmarks/time_to_result.py --goal      some four minutes: the script, and ours until it has its best
    python benchmarks/time_to_result.py --short     a minute, to see that it runs; its figures mean nothing

600 drawn specimens of 224 px, slides kept together in training and validation, and 300 of another seed to test on,
which no side chooses with. 10 % are tumour cells: with the 1 % of the sample data there would be one or two to
validate on, and a balanced accuracy in steps of a sixth. Each side is timed from the start of its process, imports
and reading included; what the sides are is told in `peers.py`. Ours runs with the defaults of `napari-ctc train`.

Goal: ours reaches the balanced accuracy of the script's best of 5 epochs, on the same validation specimens, in at
most 1/30 of the time that the script took to it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

GOAL = 1 / 30
SHARES = (0.45, 0.45, 0.10)  # leukocytes, debris, tumour cells
PEERS = Path(__file__).with_name("peers.py")


@dataclass
class Trace:
    """One run: after how many seconds it had which balanced accuracy, on validation and in the end on test."""

    epochs: list[tuple[float, float]] = field(default_factory=list)
    seconds: float = 0.0
    test: float | None = None
    test_found: list[str] = field(default_factory=list)

    @property
    def best(self) -> tuple[float, float]:
        """The first epoch with the best balanced accuracy: seconds, and the value."""
        return max(self.epochs, key=lambda epoch: epoch[1])

    def reached(self, value: float) -> float | None:
        """Say after how many seconds a balanced accuracy was first reached; None if it never was."""
        return next((seconds for seconds, now in self.epochs if now >= value), None)

    def as_dict(self) -> dict:
        """Give all figures as plain values for JSON."""
        seconds, value = self.best
        return {
            "validation_by_seconds": self.epochs,
            "best_validation": value,
            "seconds_to_best": seconds,
            "seconds": self.seconds,
            "test": self.test,
            "test_found": self.test_found,
        }


def follow(name: str, *arguments: object) -> Trace:
    """Run a peer, and take the time of each line that it prints."""
    trace = Trace()
    begun = time.perf_counter()
    command = [sys.executable, str(PEERS), name, *map(str, arguments)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            seconds, said = time.perf_counter() - begun, json.loads(line)
            if "epoch" in said:
                trace.epochs.append((seconds, said["balanced_accuracy"]))
                print(f"  {name}, {seconds:.0f} s: epoch {said['epoch']}, {trace.epochs[-1][1]:.3f}", flush=True)
            elif "ended" in said:
                trace.seconds = seconds
            else:
                trace.test, trace.test_found = said["test_balanced_accuracy"], said["test_found"]
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}; its last words are above.")
    return trace


def command_seconds(table: Path, out: Path, settings: dict, seed: int) -> float:
    """Time the whole command as a person types it, the saved file included."""
    flags = [part for name, value in settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    begun = time.perf_counter()
    command = [sys.executable, "-m", "napari_ctc", "train", str(table), "--out", str(out), "--seed", str(seed)]
    ended = subprocess.run([*command, *flags], capture_output=True, text=True)
    if ended.returncode:
        raise SystemExit(f"napari-ctc train ended with {ended.returncode}: {ended.stderr}")
    return time.perf_counter() - begun


def draw(folder: Path, specimens: int, seed: int) -> Path:
    from napari_ctc import run
    from napari_ctc.data.drawn import write_drawn

    return run(write_drawn(folder, specimens, seed=seed, shares=SHARES))


def mark_split(table: Path) -> dict[str, dict[str, int]]:
    """Write into the manifest who trains and who validates, so that all sides use the same; their counts."""
    from napari_ctc import Manifest
    from napari_ctc.data.splits import split

    manifest = Manifest.read(table)
    parts = split(manifest, 0.2)
    marks = ["train"] * len(manifest)
    for row in parts.validation:
        marks[row] = "validation"
    manifest.with_column("split", marks).write(table)
    counted = {"train": manifest.rows(parts.train), "validation": manifest.rows(parts.validation)}
    return {
        name: dict(zip(manifest.classes, map(int, part.counts(manifest.classes)), strict=True))
        for name, part in counted.items()
    }


def against(peer: Trace, ours: list[Trace]) -> dict:
    """Compare: the time in which ours reached the peer's best, as a part of the peer's time."""
    seconds, value = peer.best
    reached = [found for one in ours if (found := one.reached(value)) is not None]
    figures = {
        "target": value,
        "peer_seconds_to_it": seconds,
        "peer_seconds": peer.seconds,
        "runs": len(ours),
        "runs_that_reached_it": len(reached),
    }
    if reached:
        middle = statistics.median(reached)
        figures |= {
            "seconds_min": min(reached),
            "seconds_median": middle,
            "seconds_max": max(reached),
            "ratio": middle / seconds,
            "ratio_to_all_its_epochs": middle / peer.seconds,
        }
    return figures


def measure_goal(folder: Path, arguments: argparse.Namespace) -> dict:
    """Compare with the script alone, and with no more of ours than it takes to the script's best."""
    table = draw(folder / "set", arguments.specimens, 0)
    counts = mark_split(table)
    script = follow("script", table, "--epochs", arguments.epochs)
    given = ("--settings", json.dumps(arguments.settings), "--stop-at", script.best[1])
    ours = [follow("ours", table, *given, "--seed", seed) for seed in range(arguments.repeats)]
    return {
        "counts": counts,
        "settings": arguments.settings,
        "script": script.as_dict(),
        "ours_stopped_at_the_script's_best": [one.as_dict() for one in ours],
        "against_script": against(script, ours),
        "goal": GOAL,
    }


def measure(folder: Path, arguments: argparse.Namespace) -> dict:
    table = draw(folder / "set", arguments.specimens, 0)
    test = draw(folder / "test", arguments.test_specimens, 1)
    counts = mark_split(table)
    tested = ("--test", test)
    script = follow("script", table, *tested, "--epochs", arguments.epochs)
    resnet = follow(
        "resnet18", table, *tested, "--epochs", arguments.resnet_epochs, "--most-seconds", script.seconds
    )
    given = ("--settings", json.dumps(arguments.settings))
    ours, commands = [], []
    for seed in range(arguments.repeats):
        out = ("--out", folder / f"ours_{seed}.safetensors")
        ours.append(follow("ours", table, *tested, *given, *out, "--seed", seed))
        commands.append(command_seconds(table, folder / f"command_{seed}.safetensors", arguments.settings, seed))
    stop = ("--stop-at", script.best[1], "--seed", 0)
    stopped = follow("ours", table, *tested, *given, *stop)
    return {
        "counts": counts,
        "settings": arguments.settings,
        "script": script.as_dict(),
        "resnet18": resnet.as_dict(),
        "ours": [one.as_dict() for one in ours],
        "ours_stopped_at_the_script's_best": stopped.as_dict(),
        "command_seconds": commands,
        "against_script": against(script, ours),
        "against_resnet18": against(resnet, ours),
        "goal": GOAL,
    }


def report(found: dict) -> None:
    print(f"specimens: {found['counts']}")
    print("balanced accuracy           validation   test   after")
    sides = [("script, its best epoch", found["script"]), ("ResNet-18, its best epoch", found["resnet18"])]
    for name, one in sides:
        print(f"{name:27} {one['best_validation']:10.3f} {one['test']:6.3f} {one['seconds_to_best']:6.0f} s")
    one = found["ours_stopped_at_the_script's_best"]
    seconds, value = one["validation_by_seconds"][-1]
    print(f"{'ours, stopped at that':27} {value:10.3f} {one['test']:6.3f} {seconds:6.1f} s")
    for one in found["ours"]:
        seconds, value = one["validation_by_seconds"][-1]
        print(f"{'ours, the whole run':27} {value:10.3f} {one['test']:6.3f} {seconds:6.1f} s")
    for name in ("script", "resnet18"):
        report_against(found, name)
    print(f"goal against the script: 1/{1 / GOAL:.0f}")
    print(f"the whole command: {', '.join(f'{one:.0f} s' for one in found['command_seconds'])}")


def report_against(found: dict, name: str) -> None:
    one = found[f"against_{name}"]
    line = f"against {name}: {one['runs_that_reached_it']} of {one['runs']} runs reached its {one['target']:.3f}"
    if "ratio" in one:
        line += (
            f" after {one['seconds_median']:.1f} s (median; {one['seconds_min']:.1f} to "
            f"{one['seconds_max']:.1f} s); its own time was {one['peer_seconds_to_it']:.0f} s: "
            f"1/{1 / one['ratio']:.0f} of it"
        )
    print(line)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=600)
    parser.add_argument("--test-specimens", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=5, help="of the script")
    parser.add_argument(
        "--resnet-epochs", type=int, default=12, help="none begins after the script's time is over"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours, with seeds 0, 1, ...")
    parser.add_argument("--settings", type=json.loads, default={}, help='for ours, such as {"epochs": 10}')
    parser.add_argument("--goal", action="store_true", help="measure what the goal is about, and no more")
    parser.add_argument("--short", action="store_true", help="see that it runs, on 40 specimens")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.short:
        arguments.specimens, arguments.test_specimens = 40, 20
        arguments.epochs = arguments.resnet_epochs = arguments.repeats = 1
        arguments.settings = {"epochs": 2} | arguments.settings
    with tempfile.TemporaryDirectory(prefix="napari-ctc-time-") as folder:
        found = (measure_goal if arguments.goal else measure)(Path(folder), arguments)
    if arguments.goal:
        report_against(found, "script")
    else:
        report(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
