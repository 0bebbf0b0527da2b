"""What decides every number of a table of predictions, recorded beside it: rows of one kind only go together."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_ctc.errors import PredictionsError

RECORD = "record.json"


class Record(BaseModel):
    """All that decides what a table of predictions says, beside its specimens.

    Parameters
    ----------
    classifier : str
        Its digest.
    precision, layout : str
        The way of computing.
    decision, proportions : str
        How raw scores are read.
    root : str
        The folder of the specimens.
    channels : int
    channel_axis : str
    chunk, batch : int
        Specimens in a file of the folder, and in one forward pass.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = 2  # in 1, a specimen of a stack had the digest of the whole file
    classifier: str
    precision: Literal["float32", "bfloat16"]
    layout: Literal["channels-last", "contiguous"]
    decision: str
    proportions: str
    root: str
    channels: int
    channel_axis: str
    chunk: int
    batch: int

    def differs(self, other: Record) -> str:
        """Say in words in what another one is of something else; nothing where both go together."""
        if self.classifier != other.classifier:
            return f"with the classifier {self.classifier[:8]}, and this one is {other.classifier[:8]}"
        if self.root != other.root:
            return f"on specimens in {self.root}, and these are in {other.root}"
        for name in ("precision", "decision", "proportions", "channels", "channel_axis"):
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                return f"with {name.replace('_', ' ')} '{mine}', and now it is '{theirs}'"
        return ""


def folder_of(out: Path) -> Path:
    """Name the folder of an output's chunks."""
    return out.with_name(f".{out.name}.parts")


def read_record(out: Path) -> Record | None:
    """Read the record of what was begun for an output; None if nothing was.

    Raises
    ------
    PredictionsError
        If it is damaged, or of a newer version.
    """
    path = folder_of(out) / RECORD
    try:
        return Record.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValidationError, OSError) as problem:
        raise PredictionsError(
            f"{path} is damaged or of another version, so {out.name} cannot be gone on with. Choose another name "
            f"for the output, or remove the folder {path.parent.name} to begin anew."
        ) from problem
