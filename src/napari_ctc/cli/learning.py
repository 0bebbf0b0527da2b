"""The commands that make classifiers and say what they are worth: demo, train, evaluate, cross-validate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from napari_ctc.cli.checks import FINDINGS, GOOD, STOPPED, must_be_new, must_differ, need_suffix, opened
from napari_ctc.data.files import check_writable
from napari_ctc.errors import CTCError
from napari_ctc.settings import ChannelAxis, Decision, Precision, TrainSettings
from napari_ctc.terminal import Show, drive


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
        A classifier to go on from, with the same classes or some added. What it was trained on is not held out,
        wherever there are others.
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
    need_suffix(out, ".safetensors")
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
    return FINDINGS if show.skipped or specimens.unlisted or (held and held.unlisted) else GOOD


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
        need_suffix(json, ".json", "--json")
        check_writable(json)
    classifier, specimens = opened(model, [manifest], channel_axis, subfolders="label")
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
    found = evaluation.seen_in_training or evaluation.predictions.failed or specimens.unlisted
    return FINDINGS if found else GOOD


def cross_validate(
    manifest: Path,
    /,
    *,
    out: Path,
    folds: int = 5,
    on: str = "here",
    json: Path | None = None,
    replace: Annotated[bool, Parameter(negative=())] = False,
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
    replace
        Write over a table that --out names already.
    settings
        The settings of each fold's training.
    """
    from napari_ctc.apply.crossval import cross_validate as cross_validate_job
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout

    must_differ(out, manifest)
    must_be_new(out, replace)
    if json is not None:
        need_suffix(json, ".json", "--json")
        must_differ(json, manifest, flag="--json")
        check_writable(json)
    specimens = Manifest.open(manifest, Layout(settings.channels, settings.channel_axis), subfolders="label")
    show = Show()
    found = drive(cross_validate_job(specimens, settings, out, folds, on=on), show)
    for sentence in found.sentences():
        print(sentence)
    if show.saved is not None:
        print(f"Saved {show.saved}: {len(found.predictions):,} specimens.")
    if found.predictions.failed:
        print(f"{found.predictions.failed:,} could not be read; the column 'error' says why.")
    if json is not None:
        found.write(json)
        print(f"Saved {json}.")
    if found.stopped:
        return STOPPED
    lost = found.predictions.failed or show.skipped or specimens.unlisted
    return FINDINGS if found.failures or lost else GOOD
