"""How much memory training takes, with the specimens in memory and from disk: `python benchmarks/memory.py`.

Trains one epoch on few specimens and on ten times as many, each time in a process of its own, and takes its
largest use of memory: once as it comes, where the specimens fit, and once made to believe that no memory is to be
had, so that every batch is read from its files again. What one more specimen costs is the difference of the two
uses, divided by the specimens in between; in memory it should be its pixels in the files' own integers, and from
disk next to nothing: its name and its digest. Needs a system that tells the largest use (not Windows), and
250 MB of disk.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

TIMES = 10
WHERE = {"disk": "from disk", "memory": "in memory"}
CHANNELS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=1_500, help="the few; ten times as many are the many")
    parser.add_argument("--size", type=int, default=64, help="height and width in pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--short", action="store_true", help="see that it runs: 100 specimens of 24 px, one round")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", choices=tuple(WHERE), help=argparse.SUPPRESS)
    parser.add_argument("--table", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        one_run(arguments.table, arguments.case)
        return
    if arguments.short:
        arguments.specimens, arguments.size, arguments.rounds = 100, 24, 1
    with tempfile.TemporaryDirectory(prefix="napari-ctc-memory-") as folder:
        tables = write_tables(Path(folder), arguments.specimens, arguments.size)
        found = measure(tables, arguments)
    report(found)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


def write_tables(folder: Path, few: int, size: int) -> dict[int, Path]:
    """Write ten times `few` specimens of noise, which is enough for memory, and a manifest of some and of all."""
    rng = np.random.default_rng(0)
    (folder / "specimens").mkdir()
    rows = []
    for number in range(TIMES * few):
        label = number % 3
        specimen = rng.integers(0, 200, (size, size, CHANNELS), np.uint8)
        specimen[..., label] += 20
        np.save(folder / "specimens" / f"{number:06d}.npy", specimen)
        rows.append(
            (f"specimens/{number:06d}.npy", f"class {label}", "validation" if number % 10 == 9 else "train")
        )
    tables = {}
    for count in (few, TIMES * few):
        tables[count] = folder / f"{count}.csv"
        with tables[count].open("w", newline="") as file:
            csv.writer(file).writerows([("path", "label", "split"), *rows[:count]])
    return tables


def measure(tables: dict[int, Path], arguments: argparse.Namespace) -> dict:
    """Take every use of memory in turns; the middle one of each counts."""
    runs: dict[str, dict[int, list[dict]]] = {case: {count: [] for count in tables} for case in WHERE}
    for _ in range(arguments.rounds):
        for case, by_count in runs.items():
            for count, table in tables.items():
                by_count[count].append(in_process(case, table))
                print(f"  {case}, {count:,}: {by_count[count][-1]['peak_bytes'] / 2**20:.0f} MiB", flush=True)
    few, many = tables
    peaks = {
        case: {count: statistics.median(one["peak_bytes"] for one in found) for count, found in by_count.items()}
        for case, by_count in runs.items()
    }
    kept = runs["memory"][many][0]
    return {
        "few": few,
        "many": many,
        "size": arguments.size,
        "bytes_of_a_specimen": arguments.size**2 * CHANNELS,
        "kept_shape": kept["kept_shape"],
        "kept_dtype": kept["kept_dtype"],
        "kept_bytes_per_specimen": kept["kept_bytes"] / many,
        "growth_per_specimen": {case: (peaks[case][many] - peaks[case][few]) / (many - few) for case in WHERE},
        "peaks": peaks,
        "runs": runs,
    }


def in_process(case: str, table: Path) -> dict:
    command = [sys.executable, __file__, "--case", case, "--table", str(table)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        raise SystemExit(f"The case '{case}' ended with {ended.returncode}.")
    return json.loads(ended.stdout.splitlines()[-1])


def one_run(table: Path, case: str) -> None:
    """Train for one epoch, and print the largest use of memory and what was kept of the specimens."""
    import resource

    from napari_ctc import Manifest, TrainSettings, run, train
    from napari_ctc.learn import batches, reading

    pools: list[batches.Pool] = []

    class Watched(batches.Pool):
        def __init__(self, *given: object) -> None:
            super().__init__(*given)
            pools.append(self)

    reading.Pool = Watched
    if case == "disk":
        batches.memory_for_specimens = lambda: 0
    settings = TrainSettings(epochs=1, batch_size=32, device="cpu", learning_rate=1e-4)
    with tempfile.TemporaryDirectory() as out:
        run(train(Manifest.read(table), settings, Path(out) / "classifier.safetensors"))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    kept = pools[0].kept
    if (kept is None) != (case == "disk"):
        raise SystemExit("The specimens are not where this case wants them: is there too little memory?")
    figures = {
        "peak_bytes": largest if sys.platform == "darwin" else largest * 1024,
        "kept_shape": None if kept is None else list(kept.shape),
        "kept_dtype": None if kept is None else str(kept.dtype),
        "kept_bytes": 0 if kept is None else kept.nbytes,
    }
    print(json.dumps(figures))


def report(found: dict) -> None:
    few, many, of_one = found["few"], found["many"], found["bytes_of_a_specimen"]
    for case, told in WHERE.items():
        first, last = (found["peaks"][case][count] / 2**20 for count in (few, many))
        growth = found["growth_per_specimen"][case]
        print(
            f"{told}: {first:.0f} MiB with {few:,} specimens, {last:.0f} MiB with {many:,}: {growth:,.0f} bytes "
            f"for each one more, {growth / of_one:.1%} of its pixels ({of_one:,} bytes)"
        )
    print(
        f"kept in memory: {found['kept_dtype']} of {found['kept_shape']}, "
        f"{found['kept_bytes_per_specimen']:,.0f} bytes a specimen"
    )


if __name__ == "__main__":
    main()
