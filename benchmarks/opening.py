"""How large sets open and feel in napari's window: `python benchmarks/opening.py`.

Opens 100,000 small specimens three times, as a folder, as a manifest, and as a packed stack with its manifest,
each in a process and a real napari window of its own, with the docks open, by the function behind the buttons.
Measures the seconds from the call to the first picture, and how late a 10 ms Qt timer comes in the window's thread
until all is listed, and while a person scrolls, sorts, filters and labels with the keys. Then, with the docks
closed, a slider step in turns with one through four arrays in memory in that window. The medians of some rounds,
and the worst block of all of them. With `--growth` the same with several numbers of specimens, and the most memory
that the process took. Without a screen it starts itself anew under xvfb-run.

Goals: the first picture within 2 s; a step at most 1.3 times that of arrays in memory; no block over 200 ms.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from reader import step_through, write_folder
from window import TICK, Blame, late, live_until, need_screen

FIRST_GOAL, RATIO_GOAL, BLOCK_GOAL = 2.0, 1.3, 200.0  # seconds, times, milliseconds
STEADY = 30.0  # milliseconds: the timer comes in time again
KINDS = ("folder", "manifest", "packed")
STEPS = 40
REST = 0.3  # seconds
CALM = 1.0  # seconds that the window has at most to come to rest; specimens are measured behind it all the while


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=100_000)
    parser.add_argument("--growth", type=int, nargs="+", metavar="SPECIMENS", help="measure with each of these")
    parser.add_argument("--size", type=int, default=16, help="pixels")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--sets", type=Path, help="a folder to keep the specimens in between runs")
    parser.add_argument("--blame", action="store_true", help="print where the window's thread stood when late")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--case", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        in_window(arguments.case, arguments)
        return
    need_screen()
    found = []
    with tempfile.TemporaryDirectory(prefix="napari-ctc-opening-") as place:
        for specimens in arguments.growth or [arguments.specimens]:
            arguments.specimens, home = specimens, arguments.sets or Path(place)
            found.append(measured(home / f"{specimens}" if arguments.growth else home, arguments))
    if arguments.json:
        arguments.json.write_text(json.dumps(found if arguments.growth else found[0], indent=2))


def measured(home: Path, arguments: argparse.Namespace) -> dict:
    """Measure with one number of specimens."""
    sets = write_sets(home, arguments.specimens, arguments.size)
    found = {"specimens": arguments.specimens, "size": arguments.size, "first_goal": FIRST_GOAL}
    for kind in arguments.kinds:
        found[kind] = together([in_process(sets[kind], arguments) for _ in range(arguments.rounds)])
        print(f"{arguments.specimens:,} specimens, {sentences(kind, found[kind])}", flush=True)
    return found


def write_sets(place: Path, specimens: int, size: int) -> dict[str, Path]:
    """Write the same specimens as a folder, a manifest elsewhere that names them, and a stack."""
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.packing import pack
    from napari_ctc.data.specimens import Layout
    from napari_ctc.events import run

    folder, packed = place / "folder", place / "packed.npy"
    if not packed.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_folder(folder, specimens, size)
        manifest = Manifest.open(folder, Layout(4))
        labels = np.array(["leukocyte", "debris", ""], object)[np.arange(len(manifest)) % 3]
        manifest = manifest.with_column("label", labels)
        manifest.write(place / "manifest.csv")
        run(pack(manifest, packed))
    return {"folder": folder, "manifest": place / "manifest.csv", "packed": packed.with_suffix(".csv")}


def in_process(path: Path, arguments: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--case", str(path), "--specimens", str(arguments.specimens)]
    command += ["--size", str(arguments.size), *(["--blame"] if arguments.blame else [])]
    home = path if path.is_dir() else path.parent
    before = set(home.iterdir())
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    for made in set(home.iterdir()) - before:
        made.unlink()  # the labels: the next round begins without them
    if ended.returncode:
        raise SystemExit(f"Opening {path} ended with {ended.returncode}.")
    return json.loads(ended.stdout.splitlines()[-1])


def together(rounds: list[dict]) -> dict:
    """Join rounds: the median of seconds and ratios, the worst of blocks."""
    names = rounds[0].keys()
    join = {name: max if name.endswith("block_ms") else statistics.median for name in names}
    return {name: join[name]([one[name] for one in rounds]) for name in names} | {"rounds": rounds}


def sentences(kind: str, found: dict) -> str:
    blocks = ", ".join(
        f"{name.removesuffix('_block_ms')} {value:.0f}"
        for name, value in found.items()
        if name.endswith("block_ms")
    )
    return (
        f"{kind}: first picture after {found['first_seconds']:.2f} s (goal {FIRST_GOAL:.0f}); a step "
        f"{found['step_ms']:.1f} ms, in memory {found['memory_step_ms']:.1f}: ratio {found['ratio']:.2f} "
        f"(goal {RATIO_GOAL}); {found['memory_mb']:.0f} MB, {found['before_mb']:.0f} before opening\n"
        f"  longest blocks, ms (goal {BLOCK_GOAL:.0f}): {blocks}"
    )


# ------------------------------------------------------------------------------------- in the window


def in_window(path: Path, arguments: argparse.Namespace) -> None:
    """Open a set in a window of this process, do what a person does, and print what was measured."""
    os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="napari-ctc-")) / "settings.yaml")
    import napari

    from napari_ctc.gui.arrange import classify_specimens
    from napari_ctc.gui.opening import open_paths

    viewer = napari.Viewer()
    viewer.window.resize(1600, 1000)
    classify_specimens(viewer)
    memory = np.random.default_rng(1).integers(0, 256, (4, 500, arguments.size, arguments.size), np.uint8)
    add_arrays(viewer, memory)  # what napari does only once is paid for here
    step_through(viewer, range(5))
    viewer.layers.clear()
    live_until(lambda: True, rest=1.0)
    watch = Watch(arguments.blame)
    watch.found["before_mb"] = memory_mb()
    drawn: list[float] = []
    canvas = viewer.window._qt_viewer.canvas._scene_canvas  # noqa: SLF001 - to see when it has drawn
    canvas.events.draw.connect(lambda _: drawn.append(time.perf_counter()) if len(viewer.layers) == 4 else None)
    begin = time.perf_counter()
    watch.during("opening", lambda: open_paths(viewer, path), lambda: bool(drawn))
    watch.found["first_seconds"] = drawn[0] - begin
    print(f"first picture: {drawn[0] - begin:.2f} s", file=sys.stderr, flush=True)
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    use_the_table(dock, watch)
    viewer.window.remove_dock_widget("all")
    watch.found["memory_mb"] = memory_mb()
    from_specimens, from_memory = steps_in_turns(viewer, path, memory, arguments.specimens)
    watch.found["step_ms"] = 1000 * statistics.median(from_specimens)
    watch.found["memory_step_ms"] = 1000 * statistics.median(from_memory)
    watch.found["ratio"] = watch.found["step_ms"] / watch.found["memory_step_ms"]
    print(json.dumps(watch.found), flush=True)
    os._exit(0)  # a window that was never shown to a person need not be taken down


class Watch:
    """A 10 ms timer in the window's thread, and how late it came while something was done."""

    def __init__(self, blame: bool) -> None:
        from qtpy.QtCore import Qt, QTimer

        self.found: dict[str, float] = {}
        self.ticks: list[float] = []
        self.timer = QTimer()
        self.timer.setTimerType(Qt.TimerType.PreciseTimer)
        self.timer.setInterval(round(1000 * TICK))
        self.timer.timeout.connect(lambda: self.ticks.append(time.perf_counter()))
        self.timer.start()
        self.blame = Blame(self.ticks) if blame else None
        live_until(lambda: bool(self.ticks))

    def during(self, name: str, act: Callable[[], object], is_so: Callable[[], bool] = lambda: True) -> None:
        """Do something, wait until it is so and the window rests, and note the longest block."""
        begin = self.ticks[-1]
        act()
        live_until(is_so)
        end = time.monotonic() + CALM
        live_until(
            lambda: time.monotonic() > end or late(np.array(self.ticks[-50:]), 0, np.inf).max() < STEADY, rest=REST
        )
        block = float(late(np.array(self.ticks), begin, np.inf).max())
        self.found[f"{name}_block_ms"] = max(block, self.found.get(f"{name}_block_ms", 0.0))
        print(f"{name}: {block:.0f} ms", file=sys.stderr, flush=True)
        if self.blame is not None:
            print(f"===== {name}: {block:.0f} ms", file=sys.stderr)
            self.blame.tell(begin, self.ticks[-1])


def use_the_table(dock, watch: Watch) -> None:
    """Scroll, sort, filter and label, as a person does."""
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QLineEdit

    bar, header = dock.table.verticalScrollBar(), dock.table.horizontalHeader()
    for part in range(1, 9):
        watch.during("scroll", lambda part=part: bar.setValue(bar.maximum() * part // 8))
    for column in (0, 3, 4, 0):  # name, label, source, name downwards
        at = header.sectionViewportPosition(column) + 20
        watch.during("sort", lambda at=at: click(header.viewport(), at))
    text = dock.findChild(QLineEdit, "filterText")
    for letter in "77_1":
        watch.during("filter", lambda letter=letter: QTest.keyClick(text, letter))
    watch.during("filter", text.clear)
    watch.during("gallery", lambda: dock.views.show_view(1))
    watch.during("gallery", lambda: dock.gallery.verticalScrollBar().setValue(100_000))
    watch.during("gallery", lambda: dock.views.show_view(0))
    label(dock, watch)


def label(dock, watch: Watch) -> None:
    """Name two classes and label with their keys; each label has to be in the journal and shown."""
    from qtpy.QtCore import Qt
    from qtpy.QtTest import QTest
    from qtpy.QtWidgets import QApplication

    window, labelling = dock.window(), dock.labelling
    window.activateWindow()  # the keys are shortcuts of the window in front
    live_until(lambda: QApplication.activeWindow() is window and labelling.book.journal is not None)
    for name in ("leukocyte", "debris"):
        dock.strip.chips.named.emit(name)
        live_until(lambda: not labelling.busy)
    history = labelling.book.journal.history
    for key in (Qt.Key.Key_1, Qt.Key.Key_2) * 3:
        steps = history.last
        dock.table.setFocus()
        watch.during(
            "label",
            lambda key=key: QTest.keyClick(dock.table, key),
            lambda steps=steps: history.last > steps and not labelling.busy,
        )


def memory_mb() -> float:
    """Give the most memory that this process took so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def click(header, at: int) -> None:
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    QTest.mouseClick(header, Qt.MouseButton.LeftButton, pos=QPoint(at, header.height() // 2))


def steps_in_turns(viewer, path: Path, memory: np.ndarray, specimens: int) -> tuple[list[float], list[float]]:
    """Step through the set and through arrays in memory, in turns in one window; seconds of each step."""
    from napari_ctc.gui.opening import open_paths

    rng = np.random.default_rng(2)
    from_specimens: list[float] = []
    from_memory: list[float] = []
    for _ in range(2):
        viewer.layers.clear()
        open_paths(viewer, path)
        live_until(lambda: len(viewer.layers) == 4, rest=1.0)
        for layer in viewer.layers:
            layer.visible = True
        from_specimens += step_through(viewer, rng.choice(specimens, STEPS, replace=False))
        viewer.layers.clear()
        add_arrays(viewer, memory)
        live_until(lambda: True, rest=1.0)
        from_memory += step_through(viewer, rng.choice(500, STEPS, replace=False))
    return from_specimens, from_memory


def add_arrays(viewer, memory: np.ndarray) -> None:
    for channel, colormap in enumerate(("blue", "green", "red", "gray")):
        viewer.add_image(memory[channel], colormap=colormap, blending="additive", contrast_limits=(0, 255))


if __name__ == "__main__":
    main()
