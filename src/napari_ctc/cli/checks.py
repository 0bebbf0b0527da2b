"""What commands have in common: exit codes, opening what is named, and refusing names that cannot be meant."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from napari_ctc.errors import CTCError
from napari_ctc.settings import ChannelAxis

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.learn.classifier import Classifier

GOOD, WRONG, FINDINGS, STOPPED = 0, 2, 3, 130


def opened(
    model: Path, inputs: list[Path], axis: ChannelAxis, subfolders: Literal["label", "source"] = "source"
) -> tuple[Classifier, Manifest]:
    """Load a classifier, and open what it is to see."""
    from napari_ctc.data.manifest import Manifest
    from napari_ctc.data.specimens import Layout
    from napari_ctc.learn.loading import load_classifier

    classifier = load_classifier(model)
    layout = Layout(classifier.channel_count, axis)
    return classifier, Manifest.open(inputs[0] if len(inputs) == 1 else inputs, layout, subfolders)


def need_suffix(path: Path, suffix: str, flag: str = "--out") -> None:
    """Refuse a name that does not say what will be in the file."""
    if path.suffix.lower() != suffix:
        raise CTCError(f"{path.name} should end in {suffix}. Give {flag} a name such as {path.stem}{suffix}.")


def must_differ(out: Path, *inputs: Path, flag: str = "--out") -> None:
    """Refuse to write over what is read."""
    from napari_ctc.data.manifest import LABEL_FILES

    places = {path.absolute() for path in inputs}
    places |= {path.absolute() / name for path in inputs for name in LABEL_FILES}
    if out.absolute() in places:
        raise CTCError(
            f"{out} is what this reads, or holds its labels, and is not written over. Choose another {flag}."
        )


def must_be_new(out: Path, replace: bool) -> None:
    """Refuse to write over a table, in which a person's labels may stand, unless that is asked for."""
    from napari_ctc.data.files import exists

    if exists(out) and not replace:
        raise CTCError(f"{out} exists already, and is not written over. Choose another --out, or add --replace.")
