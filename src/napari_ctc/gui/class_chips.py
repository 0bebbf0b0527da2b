"""The classes as chips: key, colour, name and count of each; named, renamed and coloured on the spot.

What a change means for labels is the business of `labelling`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QPixmap
from qtpy.QtWidgets import QColorDialog, QFrame, QHBoxLayout, QLabel, QLineEdit, QMenu, QToolButton, QWidget
from superqt import QFlowLayout

if TYPE_CHECKING:
    from qtpy.QtCore import QObject
    from qtpy.QtGui import QContextMenuEvent, QMouseEvent

_SQUARE = 12  # pixels
_NAME_WIDTH = 150  # pixels of the field that a name is typed into


class ClassChip(QFrame):
    """One class.

    Parameters
    ----------
    name : str
    parent : QWidget
    """

    rename_asked = Signal(str)
    colour_chosen = Signal(str, str)
    remove_asked = Signal(str)
    label_asked = Signal(str)
    first_asked = Signal(str)

    def __init__(self, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("classChip")
        self.name = name
        self._colour, self._key, self._kept = "", 0, ""
        self.square = QToolButton(self)
        self.square.setObjectName("classColour")
        self.square.setAutoRaise(True)
        self.square.setFocusPolicy(
            Qt.FocusPolicy.TabFocus
        )  # a click leaves the focus, and so the keys, where it is
        self.square.setIconSize(QSize(_SQUARE, _SQUARE))
        self.square.setToolTip(f"Choose another colour for {name}")
        self.square.clicked.connect(self._ask_colour)
        self.text = QLabel(self)
        self.text.setObjectName("className")
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 6, 0)
        row.setSpacing(1)
        row.addWidget(self.square)
        row.addWidget(self.text)

    def show_class(self, key: int, colour: str, labelled: int, predicted: int | None, kept: str = "") -> None:
        """Show its key (0 for none), its colour, and how many specimens are labelled and predicted so.

        `kept` is why it cannot be removed; empty if it can.
        """
        self._colour, self._key, self._kept = colour, key, kept
        square = QPixmap(_SQUARE, _SQUARE)
        square.fill(QColor(colour))
        self.square.setIcon(QIcon(square))
        number = f"{key}  " if key else ""
        self.text.setText(f"{number}{self.name}  {labelled:,}")
        said = "" if predicted is None else f" {predicted:,} are predicted to be."
        how = f"Key {key} labels so." if key else "Only the first nine have a key: a right click labels so."
        self.setToolTip(f"{labelled:,} specimens are labelled {self.name}.{said}\n{how} Double click to rename.")

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: D102
        self.rename_asked.emit(self.name)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:  # noqa: D102
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.addAction("Label the selected so").triggered.connect(self._ask_label)
        first = menu.addAction("Give it key 1")
        first.triggered.connect(self._ask_first)
        first.setEnabled(self._key != 1)
        menu.addSeparator()
        menu.addAction("Rename or merge…").triggered.connect(self._ask_rename)
        menu.addAction("Colour…").triggered.connect(self._ask_colour)
        remove = menu.addAction(f"Remove ({self._kept})" if self._kept else "Remove")
        remove.triggered.connect(self._ask_remove)
        remove.setEnabled(not self._kept)
        menu.popup(event.globalPos())

    def _ask_label(self) -> None:
        self.label_asked.emit(self.name)

    def _ask_first(self) -> None:
        self.first_asked.emit(self.name)

    def _ask_rename(self) -> None:
        self.rename_asked.emit(self.name)

    def _ask_remove(self) -> None:
        self.remove_asked.emit(self.name)

    def _ask_colour(self) -> None:
        chosen = QColorDialog.getColor(QColor(self._colour), self, f"Colour of {self.name}")
        if chosen.isValid():
            self.colour_chosen.emit(self.name, chosen.name())


class ClassChips(QWidget):
    """All classes, and a button that adds one.

    Parameters
    ----------
    parent : QWidget
    """

    named = Signal(str)  # a new class
    renamed = Signal(str, str)  # old and new name
    coloured = Signal(str, str)
    removed = Signal(str)
    given = Signal(str)  # to what is selected, as by its key
    put_first = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("classChips")
        self._chips: list[ClassChip] = []
        self._renaming = ""
        self._focus_before: QWidget | None = None
        self.add = QToolButton(self)
        self.add.setObjectName("addClass")
        self.add.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.add.setToolTip("Name another class")
        self.add.clicked.connect(self._begin_naming)
        self.editor = QLineEdit(self)
        self.editor.setObjectName("classEditor")
        self.editor.setFixedWidth(_NAME_WIDTH)
        self.editor.setPlaceholderText("name of the class")
        self.editor.setToolTip("Enter keeps the name, Esc does not")
        self.editor.hide()
        self.editor.returnPressed.connect(self._accept)
        self.editor.installEventFilter(self)
        self.unsure = QLabel(self)
        self.unsure.setObjectName("unsureCount")
        self.unsure.setToolTip("Specimens that a person looked at and could not tell: they are never trained on")
        self._flow = QFlowLayout(self)
        self._flow.setContentsMargins(0, 0, 0, 0)
        self._flow.setHorizontalSpacing(4)
        self._flow.setVerticalSpacing(0)
        for part in (self.editor, self.add, self.unsure):
            self._flow.addWidget(part)
        self.show_names(())

    def show_names(self, names: tuple[str, ...]) -> None:
        """Have a chip for each class, in this order."""
        self.add.setText("+" if names else "+  Name a class")
        if [chip.name for chip in self._chips] == list(names):
            return
        for chip in self._chips:
            self._flow.removeWidget(chip)
            chip.hide()
            chip.deleteLater()
        rest = [self.editor, self.add, self.unsure]
        for part in rest:
            self._flow.removeWidget(part)
        self._chips = [ClassChip(name, self) for name in names]
        for chip in self._chips:
            chip.rename_asked.connect(self._begin_renaming)
            chip.colour_chosen.connect(self.coloured)
            chip.remove_asked.connect(self.removed)
            chip.label_asked.connect(self.given)
            chip.first_asked.connect(self.put_first)
        for part in (*self._chips, *rest):
            self._flow.addWidget(part)
        for chip in self._chips:
            chip.show()

    @property
    def chips(self) -> tuple[ClassChip, ...]:
        """The chips, in the order of their keys."""
        return tuple(self._chips)

    # ------------------------------------------------------------------------------------------- naming

    def _begin_naming(self) -> None:
        self._edit("")

    def _begin_renaming(self, name: str) -> None:
        self._edit(name)

    def _edit(self, name: str) -> None:
        self._renaming = name
        self._focus_before = self.window().focusWidget()
        self.editor.setText(name)
        self.editor.show()
        self.editor.selectAll()
        self.editor.setFocus()

    def _accept(self) -> None:
        name, old = self.editor.text().strip(), self._renaming
        self._end_editing()
        if name and old and name != old:
            self.renamed.emit(old, name)
        elif name and not old:
            self.named.emit(name)

    def _end_editing(self) -> None:
        if self.editor.isHidden():
            return
        had_focus = self.editor.hasFocus()
        self.editor.hide()
        if had_focus and self._focus_before is not None:
            self._focus_before.setFocus()
        self._focus_before = None

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the name as it was at Esc, and where the focus goes elsewhere."""
        if event.type() == QEvent.Type.FocusOut:
            self._end_editing()
        elif event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.accept()
        elif event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Escape:
            self._end_editing()
            return True
        return super().eventFilter(watched, event)
