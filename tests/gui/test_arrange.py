import pytest
from qtpy.QtCore import Qt

pytest.importorskip("napari_ctc.gui.predicted_dock")
pytest.importorskip("napari_ctc.gui.train_dock")
pytest.importorskip("napari_ctc.gui.classify_dock")

NAMES = [f"{name} (napari-ctc)" for name in ("Predicted classes", "Train classifier", "Classify folder")]


def run_command():
    from napari._app_model import get_app_model

    get_app_model().commands.execute_command("napari-ctc.classify_specimens").result()


def test_one_command_opens_the_docks_below_and_beside_the_canvas(make_napari_viewer):
    viewer = make_napari_viewer()
    run_command()
    assert set(NAMES) <= set(viewer.window.dock_widgets)
    main = viewer.window._qt_window
    below, train, folder = (viewer.window.dock_widgets[name].parent() for name in NAMES)
    assert main.dockWidgetArea(below) == Qt.DockWidgetArea.BottomDockWidgetArea
    assert main.dockWidgetArea(train) == Qt.DockWidgetArea.RightDockWidgetArea
    assert main.tabifiedDockWidgets(train) == [folder]


def test_the_docks_are_tabs_tomorrow_too(make_napari_viewer):
    """napari remembers at which side a dock was, not that it was a tab."""
    from napari.settings import get_settings

    viewer = make_napari_viewer()
    get_settings().application.plugin_widget_positions |= dict.fromkeys(NAMES[1:], "right")
    run_command()
    train, folder = (viewer.window.dock_widgets[name].parent() for name in NAMES[1:])
    assert viewer.window._qt_window.tabifiedDockWidgets(train) == [folder]


def test_the_command_leaves_docks_where_the_person_put_them(make_napari_viewer):
    viewer = make_napari_viewer()
    dock, _ = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")
    main = viewer.window._qt_window
    main.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, dock)
    run_command()
    run_command()
    assert main.dockWidgetArea(dock) == Qt.DockWidgetArea.LeftDockWidgetArea
    assert set(NAMES) <= set(viewer.window.dock_widgets)
