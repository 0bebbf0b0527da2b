"""The jobs from a terminal: flags in, a progress bar, one clear sentence an error.

Exit codes: 0 good, 2 wrong input or usage, 3 done but with skipped files or findings, 130 stopped; 1 is a bug.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from napari_ctc import __version__
from napari_ctc.data.files import check_writable
from napari_ctc.errors import CTCError, Stopped, StoppedEarlyError
from napari_ctc.settings import ChannelAxis, Precision, TrainSettings

if TYPE_CHECKING:
    from napari_ctc.events import Event, Job

R = TypeVar("R")

GOOD, WRONG, FINDINGS, STOPPED = 0, 2, 3, 130

app = App(
    name="napari-ctc",
    version=__version__,
    help="Classify specimens: small images of several channels, saved as .npy files, some classes rare.\n\n"
    "Start with 'napari-ctc demo my-demo' and follow what it prints.",
    help_format="plaintext",
)


@app.command
def demo(
    folder: Path = Path("napari-ctc-demo"), /, *, specimens: int = 300, size: int = 224, seed: int = 0
) -> int:
    """Draw a folder of specimens to try everything on, with a manifest of their classes.

    Parameters
    ----------
    folder
        An empty or new folder.
    specimens
        How many: 54 % leukocytes, 45 % debris, 1 % tumour cells.
    size
        Side of each image, in pixels.
    seed
        Another seed draws other specimens.
    """
    from napari_ctc.data.drawn import write_drawn
    from napari_ctc.data.manifest import Manifest

    manifest = Manifest.read(_run(write_drawn(folder, specimens, seed=seed, size=size)))
    if len(manifest) < specimens:
        print(f"Stopped after {len(manifest)} of {specimens} specimens; {folder} holds those.")
        return STOPPED
    counts = ", ".join(f"{count} {name}" for name, count in zip(manifest.classes, manifest.counts(), strict=True))
    print(f"Drew {len(manifest)} specimens in {folder} ({counts}).")
    print(f"Train on them:  napari-ctc train {folder / 'manifest.csv'} --out {folder / 'classifier.safetensors'}")
    print(f"Look at them:   napari --plugin napari-ctc {folder}")
    return GOOD


@app.command
def train(
    manifest: Path,
    /,
    *,
    out: Path,
    validation: Path | None = None,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
) -> int:
    """Train a classifier on labelled specimens.

    Parameters
    ----------
    manifest
        A table 'path,label' (.csv), or a folder whose subfolders are the classes.
    out
        Where to save the classifier (.safetensors).
    validation
        A manifest or folder to choose the best epoch on; without one, a share of the specimens is held out.
    settings
        The settings of the run.
    """
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.training import train as train_job

    layout = Layout(settings.channels, settings.channel_axis)
    _need_suffix(out, ".safetensors")
    specimens = Manifest.open(manifest, layout, subfolders="label")
    held = Manifest.open(validation, layout, subfolders="label") if validation else None
    show = _Show()
    classifier = _run(train_job(specimens, settings, out, held), show)
    print(
        f"Saved {show.saved}: {classifier.settings.network}, {len(classifier.classes)} classes, "
        f"{classifier.short}."
    )
    if classifier.stopped:
        print("Training was stopped; the file holds its best epoch.")
        return STOPPED
    return FINDINGS if show.skipped else GOOD


@app.command
def classify(
    model: Path,
    inputs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
    precision: Precision = "auto",
    channel_axis: ChannelAxis = "auto",
) -> int:
    """Say what each specimen of a folder is.

    Parameters
    ----------
    model
        A classifier file (.safetensors).
    inputs
        A folder, a manifest (.csv), or specimen files.
    out
        The table to write: .csv or .parquet.
    precision
        'float32', or 'auto' for the fastest that the hardware has.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    """
    from napari_ctc.apply.inference import classify as classify_job
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.classifier import load_classifier

    classifier = load_classifier(model)
    layout = Layout(classifier.channel_count, channel_axis)
    specimens = Manifest.open(inputs[0] if len(inputs) == 1 else inputs, layout)
    show = _Show()
    _must_differ(out, model, *inputs)
    predictions = _run(classify_job(specimens, classifier, out, precision=precision), show)
    counts = ", ".join(f"{count:,} {name}" for name, count in predictions.counts.items())
    print(f"Saved {show.saved}: {len(predictions):,} specimens ({counts}).")
    if predictions.failed:
        print(f"{predictions.failed:,} could not be read; the column 'error' says why.")
    if predictions.stopped:
        return STOPPED
    return FINDINGS if predictions.failed or show.skipped else GOOD


@app.command
def evaluate(
    model: Path,
    manifest: Path,
    /,
    *,
    json: Path | None = None,
    split: Literal["all", "train", "validation", "test"] = "all",
    precision: Precision = "auto",
    channel_axis: ChannelAxis = "auto",
) -> int:
    """Compare a classifier with a person's labels, class by class.

    Parameters
    ----------
    model
        A classifier file (.safetensors).
    manifest
        A table 'path,label' (.csv), or a folder whose subfolders are the classes.
    json
        Also write all figures here.
    split
        Use only the specimens that the manifest marks so.
    precision
        'float32', or 'auto' for the fastest that the hardware has.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    """
    from napari_ctc.apply.evaluation import evaluate as evaluate_job
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.classifier import load_classifier

    if json is not None:
        _need_suffix(json, ".json", "--json")
        check_writable(json)
    classifier = load_classifier(model)
    specimens = Manifest.open(manifest, Layout(classifier.channel_count, channel_axis), subfolders="label")
    if split != "all":
        specimens = specimens.rows((specimens.table["split"] == split).to_numpy().nonzero()[0])
        if not len(specimens):
            raise CTCError(f"{manifest} marks no specimen as {split}. Leave --split out to use them all.")
    evaluation = _run(evaluate_job(classifier, specimens, precision=precision))
    scores = evaluation.scores
    for place in range(len(scores.classes)):
        print(f"  {scores.sentence(place)}")
    print(
        f"Balanced accuracy {scores.balanced_accuracy:.3f} (guessing: {scores.chance:.3f}), "
        f"macro F1 {scores.macro_f1:.3f}."
    )
    print(f"Accuracy {scores.accuracy:.3f}; always saying the largest class would score {scores.majority:.3f}.")
    if json is not None:
        evaluation.write(json)
        print(f"Saved {json}.")
    return FINDINGS if evaluation.seen_in_training or evaluation.predictions.failed else GOOD


@app.command
def export_labels(
    predictions: Path,
    /,
    *,
    out: Path,
    which: Literal["person", "both"] = "person",
    headerless: Annotated[bool, Parameter(negative=())] = False,
) -> int:
    """Write the labels of a table of predictions as a manifest.

    Parameters
    ----------
    predictions
        A table that 'classify' wrote.
    out
        The manifest to write (.csv).
    which
        'person': what a person said. 'both': where no person did, what the classifier said, marked by=classifier.
    headerless
        Write two columns without a header.
    """
    from napari_ctc.data.exports import export_labels as write_labels
    from napari_ctc.data.predictions import Predictions

    _need_suffix(out, ".csv")
    _must_differ(out, predictions)
    rows = write_labels(Predictions.read(predictions), out, which, headerless)
    print(f"Saved {out}: {rows:,} labels.")
    return GOOD


# ------------------------------------------------------------------------------------------- the driver


def main(argv: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class may have a name that the terminal cannot write
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    try:
        result = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        return _complain(_plain(problem))
    except StoppedEarlyError as problem:
        print(problem, file=sys.stderr)
        return STOPPED
    except CTCError as problem:
        return _complain(str(problem))
    except (KeyboardInterrupt, Stopped):
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except (BrokenPipeError, SystemExit):  # the reader of our output, such as `head`, has gone
        return GOOD
    return result if isinstance(result, int) else GOOD


def _complain(sentence: str) -> int:
    print(f"napari-ctc: {sentence}", file=sys.stderr)
    return WRONG


def _plain(problem: CycloptsError) -> str:
    """Say in one line what was wrong with a flag."""
    cause = problem.__cause__ or problem.__context__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        expected = first["msg"][0].lower() + first["msg"][1:]
        return f"--{name} {first['input']}: {expected}. See 'napari-ctc train --help'."
    return " ".join(str(problem).split()) + " See 'napari-ctc --help'."


def _need_suffix(path: Path, suffix: str, flag: str = "--out") -> None:
    if path.suffix.lower() != suffix:
        raise CTCError(f"{path.name} should end in {suffix}. Give {flag} a name such as {path.stem}{suffix}.")


def _must_differ(out: Path, *inputs: Path) -> None:
    """Refuse to write over what is read."""
    from napari_ctc.data.manifest import LABEL_FILES

    places = {path.absolute() for path in inputs}
    places |= {path.absolute() / name for path in inputs for name in LABEL_FILES}
    if out.absolute() in places:
        raise CTCError(
            f"{out} is what this reads, or holds its labels, and is not written over. Choose another --out."
        )


class _Show:
    """Shows a job's events in a terminal: a bar, and a line for each thing worth saying."""

    def __init__(self) -> None:
        self.skipped = 0
        self.saved: Path | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> _Show:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=_patient_console(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        from napari_ctc.events import EpochDone, Planned, Said, Saved, Skipped, StepDone

        say = self._bar.console.print
        if isinstance(event, (StepDone, EpochDone)):
            self._bar.update(self._task, description=f"epoch {event.epoch} of {event.epochs}")
        if event.total:
            self._bar.update(self._task, completed=event.done, total=event.total)
        if isinstance(event, Said):
            say(f"[yellow]{_escaped(event.text)}[/]" if event.warning else _escaped(event.text), highlight=False)
        elif isinstance(event, Saved):
            self.saved = event.path
        elif isinstance(event, Skipped):
            self.skipped += 1
            if self.skipped <= 10:
                say(f"[yellow]Skipped: {_escaped(event.reason)}[/]", highlight=False)
            elif self.skipped == 11:
                say("[yellow]More files are skipped; they are counted at the end.[/]")
        elif isinstance(event, Planned):
            for name, here, held, weight in zip(
                event.classes, event.training, event.validation, event.weights, strict=True
            ):
                say(
                    f"  {_escaped(name)}: {here} to train on, {held} held out, weight {weight:.2f}",
                    highlight=False,
                )
        elif isinstance(event, EpochDone):
            recalls = ", ".join(
                f"{name} {int(event.scores.confusion[k, k])} of {int(event.scores.counts[k])}"
                for k, name in enumerate(event.scores.classes)
            )
            mark = " *" if event.best else ""
            say(
                f"epoch {event.epoch}: loss {event.training_loss:.3f}, held out {event.validation_loss:.3f}; "
                f"found {_escaped(recalls)}{mark}",
                highlight=False,
            )


def _patient_console() -> Any:
    """Make a console for messages; when its reader goes away, as with `| head`, the job goes on in silence."""
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Patient(stderr=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _run(job: Job[R], show: _Show | None = None) -> R:
    """Drive a job with a bar; Ctrl+C stops it at its next event, and it returns what it has."""
    import signal

    from napari_ctc.events import run

    show = show or _Show()
    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    def forward(event: Event) -> None:
        nonlocal interrupted
        show(event)
        if interrupted:
            interrupted = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        with show:
            return run(job, forward)
    finally:
        signal.signal(signal.SIGINT, before)
