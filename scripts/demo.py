"""The main job on real files, from drawing specimens to exported labels: python scripts/demo.py [FOLDER].

What `make demo` runs. Everything goes through the package's public names, as in a notebook.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from napari_ctc import (
    Manifest,
    TrainSettings,
    classify,
    evaluate,
    export_labels,
    hold_out,
    load_classifier,
    run,
    train,
)
from napari_ctc.data.drawn import CHANNELS, write_drawn
from napari_ctc.events import EpochDone, Event, Planned, Said, Saved, Skipped

MADE = (
    "specimens",
    "classifier.safetensors",
    "predictions.csv",
    "predictions.parquet",
    "labels.csv",
    "window.png",
)
SHOW_WINDOW = Path(__file__).parents[1] / "docs" / "make_screenshots.py"


def main() -> None:
    """Run the demo and print what it made."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("demo"))
    parser.add_argument("--specimens", type=int, default=900)
    arguments = parser.parse_args()
    begun = time.monotonic()
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    for name in MADE:  # what an earlier demo made, and nothing else
        made = folder / name
        shutil.rmtree(made) if made.is_dir() else made.unlink(missing_ok=True)

    print(f"Drawing {arguments.specimens} specimens ...", flush=True)
    table = run(write_drawn(folder / "specimens", arguments.specimens))
    manifest = hold_out(Manifest.read(table), 0.3)  # slides kept together; a third never trained on
    manifest.write(table)

    print("Training ...", flush=True)
    settings = TrainSettings(minutes=1.25)
    run(train(manifest, settings, folder / "classifier.safetensors", channel_names=CHANNELS), _show)
    classifier = load_classifier(folder / "classifier.safetensors")

    print("Classifying the whole folder ...", flush=True)
    predictions = run(classify(folder / "specimens", classifier, folder / "predictions.csv"), _show)
    predictions.write(folder / "predictions.parquet")
    labels = export_labels(predictions, folder / "labels.csv")

    tested = Manifest.read(table)
    tested = tested.rows((tested.table["split"] == "test").to_numpy().nonzero()[0])
    scores = run(evaluate(classifier, tested)).scores
    pictured = _picture(folder)

    print(f"\nMade in {time.monotonic() - begun:.0f} s, in {folder.absolute()}:")
    print(f"  specimens/              {len(manifest)} drawn specimens, and their manifest.csv")
    print(f"  classifier.safetensors  {settings.network}, {len(classifier.classes)} classes, {classifier.short}")
    print(f"  predictions.csv         {len(predictions)} rows (and predictions.parquet)")
    print(f"  labels.csv              {labels} labels")
    if pictured:
        print("  window.png              the napari window with the result")
    print(f"\nOn {len(tested)} test specimens, of slides that were never trained on:")
    for place in range(len(scores.classes)):
        print(f"  {scores.sentence(place)}")
    print(f"  balanced accuracy {scores.balanced_accuracy:.2f} (guessing scores {scores.chance:.2f})")
    print("\nOpen it in napari:")
    napari = Path(sys.executable).with_name("napari")
    print(f"  {napari} {folder / 'specimens'} --plugin napari-ctc --with napari-ctc 'Predicted classes'")
    print(
        f"There, 'Train or load a classifier', and load {folder / 'classifier.safetensors'}: the classes appear."
    )


def _show(event: Event) -> None:
    if isinstance(event, Planned):
        for name, count, held, weight in zip(
            event.classes, event.training, event.validation, event.weights, strict=True
        ):
            print(f"  {name}: {count} to train on, {held} held out, weight {weight:.2f}")
    elif isinstance(event, EpochDone) and (event.epoch % 5 == 0 or event.epoch == event.epochs):
        print(
            f"  epoch {event.epoch}: balanced accuracy {event.scores.balanced_accuracy:.2f} on held-out specimens"
        )
    elif isinstance(event, Said):
        print(f"  {event.text}")
    elif isinstance(event, Skipped):
        print(f"  skipped: {event.reason}")
    elif isinstance(event, Saved):
        print(f"  saved {event.path}", flush=True)


def _picture(folder: Path) -> bool:
    """Take a picture of the napari window with the result; on Linux without a screen, through Xvfb."""
    command = [sys.executable, str(SHOW_WINDOW), "--result", str(folder), "--out", str(folder / "window.png")]
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        if shutil.which("xvfb-run") is None:
            print("No picture of the window: there is no screen, and Xvfb is not installed.")
            return False
        command = ["xvfb-run", "-a", "-s", "-screen 0 1600x1000x24", *command]
    print("Taking a picture of the window ...", flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    except subprocess.TimeoutExpired:
        print("No picture of the window: napari took longer than 90 s.")
        return False
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        print(f"No picture of the window: {last}")
    return done.returncode == 0


if __name__ == "__main__":
    main()
