"""Write docs/settings.md from the fields of `TrainSettings`: python docs/make_settings.py."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from annotated_types import Ge, Le

from napari_ctc.settings import TrainSettings


def table() -> str:
    """Make the page: a row a setting."""
    lines = [
        "# Settings of a training run",
        "",
        "The same names in Python (`TrainSettings(minutes=3)`), at a terminal (`--minutes 3`, `-` for `_`) and in",
        "the dock. This page is written by `docs/make_settings.py`.",
        "",
        "| setting | default | allowed | what it does |",
        "|---|---|---|---|",
    ]
    for name, field in TrainSettings.model_fields.items():
        low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
        high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
        choices = ", ".join(get_args(field.annotation)) or ("yes, no" if field.annotation is bool else "")
        allowed = f"{low} to {high}" if high is not None else choices
        lines.append(f"| `{name}` | {field.default} | {allowed} | {field.description} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("settings.md").write_text(table(), encoding="utf-8")
