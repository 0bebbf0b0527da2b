"""Open the three docks of specimen classification and arrange them: the menu command "Classify specimens"."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.settings import get_settings
from qtpy.QtCore import Qt

from napari_ctc.gui.preferences import PLUGIN

if TYPE_CHECKING:
    from napari.viewer import Viewer
    from qtpy.QtWidgets import QMainWindow

_HEIGHT = 280  # pixels, of the dock below the canvas
_WIDTH = 430  # pixels, of the docks beside it


def classify_specimens(viewer: Viewer) -> None:
    """Open *Predicted classes* below the canvas, and *Train classifier* and *Classify folder* as tabs beside it.

    A dock that is open stays where it is; one that the person put at another side once opens there again.
    """
    window = getattr(viewer, "__wrapped__", viewer).window  # a command gets the viewer behind a proxy
    open_already = set(window.dock_widgets)
    known = {*open_already, *get_settings().application.plugin_widget_positions}
    predicted, _ = window.add_plugin_dock_widget(PLUGIN, "Predicted classes")
    train, _ = window.add_plugin_dock_widget(PLUGIN, "Train classifier")
    folder, _ = window.add_plugin_dock_widget(PLUGIN, "Classify folder")
    main: QMainWindow = predicted.parent()
    if predicted.name not in known:
        main.addDockWidget(Qt.DockWidgetArea.BottomDockWidgetArea, predicted)
        main.resizeDocks([predicted], [_HEIGHT], Qt.Orientation.Vertical)
    if not {train.name, folder.name} & open_already and main.dockWidgetArea(train) == main.dockWidgetArea(folder):
        main.tabifyDockWidget(train, folder)  # also tomorrow: napari remembers at which side, but not as tabs
        main.resizeDocks([train], [_WIDTH], Qt.Orientation.Horizontal)
    for dock in (predicted, folder, train):
        dock.show()
        dock.raise_()
