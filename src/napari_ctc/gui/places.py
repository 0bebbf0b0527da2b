"""Where the labels of specimens are kept: beside them, or where the person said once.

The choice is remembered beside napari's own settings, so that a folder opens with its labels tomorrow.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from napari.settings import get_settings

from napari_ctc.data.files import write_whole

if TYPE_CHECKING:
    from napari_ctc.data.manifest import Manifest


def labels_place(manifest: Manifest) -> Path:
    """Give the table that labels of these specimens go into."""
    usual = manifest.labels_file
    return Path(_chosen().get(str(usual), usual))


def remember_place(manifest: Manifest, path: Path) -> None:
    """Keep labels of these specimens in another table from now on.

    Raises
    ------
    CTCError
        If the choice cannot be written down.
    """
    chosen = {name: place for name, place in _chosen().items() if name != str(manifest.labels_file)}
    if path != manifest.labels_file:
        chosen[str(manifest.labels_file)] = str(path)
    write_whole(_file(), json.dumps(chosen, ensure_ascii=False, indent=1).encode())


def _file() -> Path:
    return Path(get_settings().config_path).with_name("napari-ctc-labels.json")


def _chosen() -> dict[str, str]:
    try:
        found = json.loads(_file().read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(name): str(place) for name, place in found.items()} if isinstance(found, dict) else {}
