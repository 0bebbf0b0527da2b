"""The jobs from a terminal: flags in, one clear sentence an error. How a job is shown is in `terminal`.

Exit codes: 0 good, 2 wrong input or usage, 3 done but with skipped files or findings, 130 stopped; 1 is a bug.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, CycloptsError, Parameter
from pydantic import ValidationError

from napari_ctc import __version__
from napari_ctc.data.files import check_writable
from napari_ctc.errors import CTCError, Stopped, StoppedEarlyError
from napari_ctc.settings import ChannelAxis, Decision, Precision, TrainSettings
from napari_ctc.terminal import Show, drive

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.learn.classifier import Classifier

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

    manifest = Manifest.read(drive(write_drawn(folder, specimens, seed=seed, size=size)))
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
    start: Annotated[Path | None, Parameter(name="--from")] = None,
    resume: Annotated[bool, Parameter(negative=())] = False,
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
        A manifest or folder to hold out; without one, a share of the specimens is held out.
    start
        A classifier to go on from, with the same classes or some added.
    resume
        Go on with the run to the same --out that was stopped or killed.
    settings
        The settings of the run.
    """
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.loading import load_classifier
    from napari_ctc.learn.training import train as train_job

    layout = Layout(settings.channels, settings.channel_axis)
    _need_suffix(out, ".safetensors")
    specimens = Manifest.open(manifest, layout, subfolders="label")
    held = Manifest.open(validation, layout, subfolders="label") if validation else None
    show = Show()
    begin = load_classifier(start) if start else None
    classifier = drive(train_job(specimens, settings, out, held, start=begin, resume=resume), show)
    print(
        f"Saved {show.saved}: {classifier.settings.network}, {len(classifier.classes)} classes, "
        f"{classifier.short}."
    )
    if classifier.stopped:
        print("Training was stopped; the file holds what it had learnt. Go on with --resume.")
        return STOPPED
    return FINDINGS if show.skipped else GOOD


@app.command
def classify(
    model: Path,
    inputs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
    decision: Decision | None = None,
    proportions: str | None = None,
    precision: Precision = "auto",
    channel_axis: ChannelAxis = "auto",
    replace: Annotated[bool, Parameter(negative=())] = False,
    on: str = "here",
) -> int:
    """Say what each specimen of a folder is.

    The same command again goes on with what was stopped or killed, and adds what is new in the folder.

    Parameters
    ----------
    model
        A classifier file (.safetensors).
    inputs
        A folder, a manifest (.csv), or specimen files.
    out
        The table to write: .csv or .parquet.
    decision
        'balanced' or 'most-probable'; as the classifier was trained to decide, if not given.
    proportions
        The class proportions that probabilities are for: 'training', 'uniform', or 'name=0.9, name=0.1'; as the
        classifier was trained to say, if not given.
    precision
        'float32', 'bfloat16', or 'auto' for the faster one that, held-out specimens showed, says the same.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    replace
        Begin anew if --out was begun with another classifier or other settings.
    on
        Where to compute: 'here', 'processes:N' for N processes of this machine, or 'tcp://HOST:PORT' for the
        workers of a Dask scheduler, which must see the files under the same paths.
    """
    from napari_ctc.apply.inference import classify as classify_job

    classifier, specimens = _opened(model, inputs, channel_axis)
    show = Show()
    _must_differ(out, model, *inputs)
    predictions = drive(
        classify_job(
            specimens,
            classifier,
            out,
            precision=precision,
            decision=decision,
            proportions=proportions,
            replace=replace,
            on=on,
        ),
        show,
    )
    counts = ", ".join(f"{count:,} {name}" for name, count in predictions.counts.items())
    print(f"Saved {show.saved}: {len(predictions):,} specimens ({counts}).")
    if predictions.failed:
        print(f"{predictions.failed:,} could not be read; the column 'error' says why.")
    if predictions.stopped:
        print("It was stopped; the same command goes on from there.")
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
    decision: Decision | None = None,
    proportions: str | None = None,
    precision: Precision = "auto",
    channel_axis: ChannelAxis = "auto",
) -> int:
    """Compare a classifier with a person's labels, class by class, and tell what its probabilities are worth.

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
    decision
        'balanced' or 'most-probable'; as the classifier was trained to decide, if not given.
    proportions
        The class proportions that probabilities are for: 'training', 'uniform', or 'name=0.9, name=0.1'; as the
        classifier was trained to say, if not given.
    precision
        'float32', 'bfloat16', or 'auto' for the faster one that, held-out specimens showed, says the same.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    """
    from napari_ctc.apply.evaluation import evaluate as evaluate_job

    if json is not None:
        _need_suffix(json, ".json", "--json")
        check_writable(json)
    classifier, specimens = _opened(model, [manifest], channel_axis, subfolders="label")
    if split != "all":
        specimens = specimens.rows((specimens.table["split"] == split).to_numpy().nonzero()[0])
        if not len(specimens):
            raise CTCError(f"{manifest} marks no specimen as {split}. Leave --split out to use them all.")
    evaluation = drive(
        evaluate_job(classifier, specimens, precision=precision, decision=decision, proportions=proportions)
    )
    for sentence in evaluation.sentences():
        print(sentence)
    if json is not None:
        evaluation.write(json)
        print(f"Saved {json}.")
    return FINDINGS if evaluation.seen_in_training or evaluation.predictions.failed else GOOD


@app.command
def cross_validate(
    manifest: Path,
    /,
    *,
    out: Path,
    folds: int = 5,
    on: str = "here",
    json: Path | None = None,
    settings: Annotated[TrainSettings, Parameter(name="*")] = TrainSettings(),
) -> int:
    """Hold every labelled specimen out once: say how well a classifier trained so can be expected to do.

    Specimens of one source stay together, and so do copies. Those marked test are left out.

    Parameters
    ----------
    manifest
        A table 'path,label' (.csv), or a folder whose subfolders are the classes.
    out
        The table of predictions to write, each by a classifier that never saw the specimen: .csv or .parquet.
    folds
        How many times to train: each time, one part in so many is held out.
    on
        Where folds are trained: 'here' one after the other, 'processes:N' in N processes of this machine at
        once, or 'tcp://HOST:PORT' on the workers of a Dask scheduler.
    json
        Also write all figures here.
    settings
        The settings of each fold's training.
    """
    from napari_ctc.apply.crossval import cross_validate as cross_validate_job
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout

    _must_differ(out, manifest)
    if json is not None:
        _need_suffix(json, ".json", "--json")
        _must_differ(json, manifest, flag="--json")
        check_writable(json)
    specimens = Manifest.open(manifest, Layout(settings.channels, settings.channel_axis), subfolders="label")
    show = Show()
    found = drive(cross_validate_job(specimens, settings, out, folds, on=on), show)
    for sentence in found.sentences():
        print(sentence)
    print(f"Saved {show.saved}: {len(found.predictions):,} specimens.")
    if found.predictions.failed:
        print(f"{found.predictions.failed:,} could not be read; the column 'error' says why.")
    if json is not None:
        found.write(json)
        print(f"Saved {json}.")
    if found.stopped:
        return STOPPED
    return FINDINGS if found.failures or found.predictions.failed or show.skipped else GOOD


@app.command
def pack(
    inputs: Annotated[list[Path], Parameter(consume_multiple=True)],
    /,
    *,
    out: Path,
    channels: int = 4,
    channel_axis: ChannelAxis = "auto",
) -> int:
    """Put many specimens of one size into one file, which is listed, copied and read much faster.

    The same command again goes on with a pack that was stopped or killed.

    Parameters
    ----------
    inputs
        A folder, a manifest (.csv), or specimen files.
    out
        The stack to write (.npy); its manifest gets the same name with .csv.
    channels
        Number of channels of each specimen.
    channel_axis
        Where the channels stand in the files: 'first', 'last', or 'auto' to find out.
    """
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.packing import pack as pack_job
    from napari_ctc.data.specimens import Layout

    specimens = Manifest.open(inputs[0] if len(inputs) == 1 else inputs, Layout(channels, channel_axis))
    packed = drive(pack_job(specimens, out))
    if packed.stopped:
        print(f"Stopped with {packed.specimens:,} specimens packed. The same command goes on from there.")
        return STOPPED
    print(f"Saved {packed.path}: {packed.specimens:,} specimens; {packed.manifest.name} says which.")
    if packed.left_out:
        print(f"{packed.left_out:,} were left out; the reasons are above.")
    return FINDINGS if packed.left_out else GOOD


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


# ------------------------------------------------------------------------- errors, and what is refused


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


def _opened(
    model: Path, inputs: list[Path], axis: ChannelAxis, subfolders: Literal["label", "source"] = "source"
) -> tuple[Classifier, Manifest]:
    """Load a classifier, and open what it is to see."""
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.loading import load_classifier

    classifier = load_classifier(model)
    layout = Layout(classifier.channel_count, axis)
    return classifier, Manifest.open(inputs[0] if len(inputs) == 1 else inputs, layout, subfolders)


def _need_suffix(path: Path, suffix: str, flag: str = "--out") -> None:
    if path.suffix.lower() != suffix:
        raise CTCError(f"{path.name} should end in {suffix}. Give {flag} a name such as {path.stem}{suffix}.")


def _must_differ(out: Path, *inputs: Path, flag: str = "--out") -> None:
    """Refuse to write over what is read."""
    from napari_ctc.data.manifest import LABEL_FILES

    places = {path.absolute() for path in inputs}
    places |= {path.absolute() / name for path in inputs for name in LABEL_FILES}
    if out.absolute() in places:
        raise CTCError(
            f"{out} is what this reads, or holds its labels, and is not written over. Choose another {flag}."
        )
