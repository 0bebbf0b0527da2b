"""Whether labels came from a hunt: shares, recall and accuracy of such labels are no rates of anything.

The journal beside a table of labels knows how each specimen was picked. Labels that it does not know, as those of
a table that somebody brought along, are passed over: how they were picked, nobody can say.
"""

from __future__ import annotations

from napari_ctc.data.manifest import Manifest, rebase
from napari_ctc.data.unfolded import history_of
from napari_ctc.errors import JournalError

NOT_A_RATE = "from hunted labels: not a rate"
"""What stands beside a figure that is not of randomly picked specimens."""


def hunted(manifest: Manifest) -> int:
    """Count the specimens of a manifest whose labels were not both picked at random and given blind."""
    table = manifest.labels_file
    try:
        history = history_of(table)
    except JournalError:
        return 0
    fair = set().union(*history.random_labels().values())
    here = set(rebase(manifest.keys, manifest.root, table.parent))
    return sum(bool(one.name) and key in here and key not in fair for key, one in history.given.items())


def rate_note(*manifests: Manifest) -> str:
    """Say that figures of the labels of some manifests are no rates; empty if nothing is known against it."""
    number = sum(map(hunted, manifests))
    if not number:
        return ""
    return (
        f"{number:,} of these labels were chosen or hunted, not drawn at random: what is said of shares, recall "
        f"and accuracy is {NOT_A_RATE}."
    )
