"""How fast a folder of specimens opens and steps, beside four arrays in memory: `python benchmarks/reader.py`.

Opens a folder of 10,000 files in a napari window, and measures the time from the call to the first picture and the
median time of a slider step to another specimen. In the same run and window, in turns, it steps through
four arrays of the same kind in memory. Where there is no screen, put
`xvfb-run -a -s "-screen 0 1600x1000x24"` before it. Goals: the first picture within 2 s, a step at most 1.3 times
that of arrays in memory.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

FIRST_GOAL = 2.0  # seconds
RATIO_GOAL = 1.3
ROUNDS = 5


def write_folder(folder: Path, files: int, size: int) -> None:
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(32):  # different enough that nothing can be guessed; drawing each would only take longer
        buffer = io.BytesIO()
        np.save(buffer, rng.integers(0, 256, (size, size, 4), np.uint8))
        contents.append(buffer.getvalue())
    for number in range(files):
        path = folder / f"slide_{number // 1000}" / f"specimen_{number:05d}.npy"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(contents[number % len(contents)])


def draw(viewer) -> None:
    viewer.window._qt_viewer.canvas._scene_canvas.native.repaint()  # noqa: SLF001 - at once, not when idle


def step_through(viewer, steps) -> list[float]:
    """Go to each step and draw, as a person moving the slider sees it; seconds for each."""
    from qtpy.QtWidgets import QApplication

    seconds = []
    for step in steps:
        begin = time.perf_counter()
        viewer.dims.set_current_step(0, int(step))
        draw(viewer)
        QApplication.processEvents()
        seconds.append(time.perf_counter() - begin)
    return seconds


def first_picture(viewer, open_it) -> float:
    """Seconds from the call to the first picture, in an empty window."""
    from qtpy.QtWidgets import QApplication

    viewer.layers.clear()
    for _ in range(5):
        QApplication.processEvents()
    begin = time.perf_counter()
    open_it()
    QApplication.processEvents()
    draw(viewer)
    seconds = time.perf_counter() - begin
    for layer in viewer.layers:
        layer.visible = True
    return seconds


def measure(folder: Path, files: int, size: int, steps: int) -> dict[str, float | int]:
    import napari

    rng = np.random.default_rng(1)
    memory = rng.integers(0, 256, (4, 500, size, size), np.uint8)
    viewer = napari.Viewer(show=True)

    def open_arrays():
        for channel, colormap in enumerate(("blue", "green", "red", "gray")):
            viewer.add_image(memory[channel], colormap=colormap, blending="additive", contrast_limits=(0, 255))

    def open_folder():
        viewer.open(str(folder), plugin="napari-ctc")

    first_picture(viewer, open_arrays)  # what napari does only once is paid for here
    first, from_folder, from_memory, reads = [], [], [], 0
    for _ in range(ROUNDS):  # in turns in one window, so that other load on the machine meets both
        first.append(first_picture(viewer, open_folder))
        stack = viewer.layers[0].metadata["napari_ctc"]["stack"]
        reads -= stack.reads
        from_folder += step_through(viewer, rng.choice(files, steps // ROUNDS, replace=False))
        reads += stack.reads
        first_picture(viewer, open_arrays)
        from_memory += step_through(viewer, rng.choice(500, steps // ROUNDS, replace=False))
    viewer.close()
    return {
        "files": files,
        "size": size,
        "first_seconds": first[0],
        "step_ms": 1000 * statistics.median(from_folder),
        "memory_step_ms": 1000 * statistics.median(from_memory),
        "ratio": statistics.median(from_folder) / statistics.median(from_memory),
        "reads": reads,
        "steps": len(from_folder),
        "kept_mib": stack.kept_bytes / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=224, help="height and width in pixels; 224 takes 2 GB of disk")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="napari-ctc-reader-"))
    try:
        write_folder(folder, arguments.files, arguments.size)
        found = measure(folder, arguments.files, arguments.size, arguments.steps)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found |= {"first_goal": FIRST_GOAL, "ratio_goal": RATIO_GOAL}
    print(f"first of {found['files']:,} specimens: {found['first_seconds']:.2f} s (goal {FIRST_GOAL} s)")
    print(
        f"a step: {found['step_ms']:.1f} ms; four arrays in memory: {found['memory_step_ms']:.1f} ms; "
        f"ratio {found['ratio']:.2f} (goal {RATIO_GOAL})"
    )
    print(f"{found['reads']} files read in {found['steps']} steps; {found['kept_mib']:.0f} MiB kept")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
