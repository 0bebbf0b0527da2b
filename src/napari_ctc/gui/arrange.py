"""Open the three docks of specimen classification and arrange them: the menu command "Classify specimens"."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QWidget

PLUGIN = "napari-ctc"


def classify_specimens(viewer: Viewer) -> list[QWidget]:
    """Open *Predicted classes* below the canvas, and *Train classifier* and *Classify folder* as tabs beside it.

    Docks that are open already stay where the person put them.
    """
    window = viewer.window
    _, predicted = window.add_plugin_dock_widget(PLUGIN, "Predicted classes")
    first, train = window.add_plugin_dock_widget(PLUGIN, "Train classifier")
    _, folder = window.add_plugin_dock_widget(PLUGIN, "Classify folder", tabify=True)
    return [predicted, train, folder]
