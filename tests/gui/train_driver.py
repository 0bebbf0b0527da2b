"""A window with the dock "Train classifier" in it, and the clicks of a person."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QPushButton, QWidget

from napari_ctc.gui import train_setup
from napari_ctc.gui.session import session_of

TIME = 240_000


class TrainDriver:
    """A window with the dock in it, and the clicks of a person."""

    def __init__(self, viewer, qtbot, out):
        self.viewer, self.qtbot = viewer, qtbot
        self.dock, self.widget = viewer.window.add_plugin_dock_widget("napari-ctc", "Train classifier")
        self.session = session_of(viewer)
        self.out = out
        self.widget.setup.out.setText(str(out))
        self.widget.setup.out.setModified(True)
        self.set(size=24, augment=False, device="cpu", precision="float32", epochs=2, batch_size=16)

    def set(self, **settings):
        for name, value in settings.items():
            form = self.widget.setup.form if name in train_setup.UP_FRONT else self.widget.setup.advanced_form
            form[name].value = value

    def part(self, name, kind=QWidget):
        return self.widget.findChild(kind, name)

    def click(self, name):
        self.qtbot.mouseClick(self.part(name, QPushButton), Qt.MouseButton.LeftButton)

    def until(self, test):
        self.qtbot.waitUntil(lambda: bool(test()), timeout=TIME)

    def until_idle(self):
        self.until(lambda: self.part("train").isEnabled())

    def train_on(self, table):
        self.part("train_on").set_path(table)
        self.click("train")
        self.until_idle()

    @property
    def message(self):
        return self.part("message").text()

    def cells(self, column):
        table = self.part("classes")
        return [table.item(row, column).text() for row in range(table.rowCount())]
