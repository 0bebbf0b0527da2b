"""Ask what to open, by menu and buttons, which never ask which reader to use. Opening it is in `open_jobs`."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from napari.settings import get_settings
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_ctc.data.formats import READERS
from napari_ctc.data.specimens import Layout
from napari_ctc.errors import CTCError
from napari_ctc.gui.open_jobs import open_drawn, open_paths
from napari_ctc.gui.preferences import PLUGIN, preferred_layout, preferred_names, set_preferences
from napari_ctc.settings import ChannelAxis

if TYPE_CHECKING:
    from napari.viewer import Viewer

_SPECIMENS = f"Specimens ({' '.join(f'*{suffix}' for suffix in READERS)})"
_TABLES = "Tables of specimens (*.csv)"


# ------------------------------------------------------------------------------------- asking for paths


def ask_folder(parent: QWidget) -> str:
    """Ask for a folder; empty if none was chosen."""
    return str(QFileDialog.getExistingDirectory(parent, "Open a folder of specimens"))


def ask_files(parent: QWidget) -> list[str]:
    """Ask for specimen files; empty if none was chosen."""
    return list(QFileDialog.getOpenFileNames(parent, "Open specimens", "", _SPECIMENS)[0])


def ask_table(parent: QWidget) -> str:
    """Ask for a manifest; empty if none was chosen."""
    return str(QFileDialog.getOpenFileName(parent, "Open a table of specimens", "", _TABLES)[0])


# -------------------------------------------------------------------------------------- default reader


def is_default_reader() -> bool:
    """Tell whether napari opens specimen files with this plugin without asking."""
    chosen = get_settings().plugins.extension2reader
    return all(chosen.get(f"*{suffix}") == PLUGIN for suffix in READERS)


def make_default_reader(on: bool = True) -> None:
    """Make this plugin napari's reader for specimen files, or let napari ask again."""
    ours = {f"*{suffix}": PLUGIN for suffix in READERS}
    others = get_settings().plugins.extension2reader
    others = {pattern: name for pattern, name in others.items() if (pattern, name) not in ours.items()}
    get_settings().plugins.extension2reader = {**others, **ours} if on else others


# --------------------------------------------------------------------------------------------- widgets


def open_specimens(viewer: Viewer) -> OpenDialog:
    """Show the dialog of File > IO Utilities > Open specimens…."""
    viewer = getattr(viewer, "__wrapped__", viewer)  # a command gets the viewer behind a proxy
    dialog = OpenDialog(viewer, viewer.window._qt_window)  # noqa: SLF001 - for napari's looks, and to close with it
    dialog.open()
    return dialog


class OpenButtons(QWidget):
    """What an empty dock offers: Open folder | Open labels | Try drawn specimens, and to be the default reader.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    parent : QWidget, optional
    """

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self.folder = QPushButton("Open folder…", self)
        self.folder.setToolTip("Open all specimens of a folder and the folders below it.")
        self.folder.clicked.connect(self._open_folder)
        self.labels = QPushButton("Open labels…", self)
        self.labels.setToolTip("Open the specimens that a table (.csv) with the columns path,label names.")
        self.labels.clicked.connect(self._open_labels)
        self.drawn = QPushButton("Try drawn specimens", self)
        self.drawn.setToolTip("Draw 300 specimens like circulating tumour cells, with labels, and open them.")
        self.drawn.clicked.connect(self._open_drawn)
        self.always = QCheckBox(f"Always open {', '.join(READERS)} files with this plugin", self)
        self.always.setToolTip("Without it, napari asks for each file dropped on it. You can untick it again.")
        self.always.setChecked(is_default_reader())
        self.always.toggled.connect(self._set_default)
        buttons = QHBoxLayout()
        for button in (self.folder, self.labels, self.drawn):
            buttons.addWidget(button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.addLayout(buttons)
        layout.addWidget(self.always)

    def _open_folder(self) -> None:
        if path := ask_folder(self):
            open_paths(self._viewer, path)

    def _open_labels(self) -> None:
        if path := ask_table(self):
            open_paths(self._viewer, path)

    def _open_drawn(self) -> None:
        open_drawn(self._viewer)

    def _set_default(self, on: bool) -> None:
        make_default_reader(on)


class OpenDialog(QDialog):
    """Ask what to open and how its channels are laid out, which napari's preferences remember.

    Parameters
    ----------
    viewer : napari.viewer.Viewer
    parent : QWidget, optional
    """

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Open specimens")
        self._viewer = viewer
        layout = preferred_layout()
        self.channels = QSpinBox(self)
        self.channels.setRange(1, 64)
        self.channels.setValue(layout.channels)
        self.axis = QComboBox(self)
        for value, text in zip(
            get_args(ChannelAxis),
            ("find out", "first: (channels, height, width)", "last: (height, width, channels)"),
            strict=True,
        ):
            self.axis.addItem(text, value)
        self.axis.setCurrentIndex(self.axis.findData(layout.axis))
        self.names = QLineEdit(", ".join(preferred_names() or ()), self)
        self.names.setPlaceholderText("for instance: DAPI, cytokeratin, CD45, bright field")
        self.folder = QPushButton("A folder…", self)
        self.files = QPushButton("Files…", self)
        self.table = QPushButton("A table of labels…", self)
        self.problem = QLabel(self)
        self.problem.setWordWrap(True)
        self.problem.hide()
        self._lay_out()
        self.folder.clicked.connect(self._open_folder)
        self.files.clicked.connect(self._open_files)
        self.table.clicked.connect(self._open_table)

    def _lay_out(self) -> None:
        form = QFormLayout()
        form.addRow("Channels", self.channels)
        form.addRow("Where they stand", self.axis)
        form.addRow("Their names", self.names)
        buttons = QHBoxLayout()
        for button in (self.folder, self.files, self.table):
            button.setAutoDefault(False)
            buttons.addWidget(button)
        layout = QVBoxLayout(self)
        layout.addWidget(QLabel("Each specimen is an image with several channels. Its file has:", self))
        layout.addLayout(form)
        layout.addWidget(self.problem)
        layout.addSpacing(8)
        self.question = QLabel("Open:", self)
        layout.addWidget(self.question)
        layout.addLayout(buttons)
        self.setMinimumWidth(460)

    def _open_folder(self) -> None:
        if self._remember() and (path := ask_folder(self)):
            self._open(path)

    def _open_files(self) -> None:
        if self._remember() and (paths := ask_files(self)):
            self._open(paths if len(paths) > 1 else paths[0])

    def _open_table(self) -> None:
        if self._remember() and (path := ask_table(self)):
            self._open(path)

    def _open(self, path: str | list[str]) -> None:
        self._be_busy(True)
        opening = open_paths(self._viewer, path)
        opening.opened.connect(self.accept)
        opening.failed.connect(self._stay)

    def _stay(self, problem: str) -> None:
        self._be_busy(False)
        self._say(problem)  # napari cuts it to a line, which nobody can unfold behind this dialog

    def _say(self, problem: str) -> None:
        self.problem.setText(problem)
        self.problem.setVisible(bool(problem))
        self.adjustSize()

    def _be_busy(self, on: bool) -> None:
        """Take no second order while one is being carried out."""
        for button in (self.folder, self.files, self.table):
            button.setEnabled(not on)
        self.question.setText("Opening…" if on else "Open:")

    def _remember(self) -> bool:
        """Keep the choices as preferences, or say why they cannot be."""
        try:
            set_preferences(Layout(self.channels.value(), self.axis.currentData()), self.names.text().split(","))
        except CTCError as problem:
            self._say(str(problem))
            return False
        self._say("")
        return True
