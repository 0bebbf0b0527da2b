"""What to classify, where to write, with which classifier, and where it is computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import Signal
from qtpy.QtWidgets import (
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QSizePolicy,
    QWidget,
)
from superqt import QCollapsible

from napari_ctc.data.files import exists, is_folder
from napari_ctc.data.formats import READERS
from napari_ctc.data.writers import WRITERS
from napari_ctc.gui.loading import Loading
from napari_ctc.gui.place_choice import PlaceChoice

if TYPE_CHECKING:
    from napari_ctc.gui.session import Session

_PLACES = (
    "Here: in napari itself, which is right for most folders. In processes: beside napari, which stays quicker "
    "to respond. On a Dask cluster: on other machines, which must see the images under the same path. The table "
    "is the same, and what was begun in one place can go on in another."
)
_PROCESSES = (
    "How many specimens are computed at once. On a few processor cores take as many, on 16 half as many; "
    "fewer take less memory (some 400 MB each)."
)


class ClassifyForm(QWidget):
    """Three lines: input, output, classifier; and under "Advanced", where it is computed.

    Parameters
    ----------
    session : Session
        Has the classifier; loading one here makes it the one that all docks use.
    parent : QWidget
    """

    changed = Signal()
    said = Signal(str)  # a sentence on the loading of a classifier

    def __init__(self, session: Session, parent: QWidget) -> None:
        super().__init__(parent)
        self.setObjectName("classifyForm")
        self.session = session
        self._suggested = ""
        self._build()
        self.loading = Loading(session, self)
        self.loading.said.connect(self._say)
        self.loading.ended.connect(self._show_classifier)
        self.session.classifier_changed.connect(self._show_classifier)
        self._show_classifier()

    def _build(self) -> None:
        form = QGridLayout(self)
        form.setContentsMargins(0, 0, 0, 0)
        self.input = self._line(
            "classifyInput",
            "a folder, a manifest (.csv) or a stack",
            "What to classify: a folder with the folders below it, a table of files, or a file",
        )
        self.input.textChanged.connect(self._input_changed)
        self.output = self._line(
            "classifyOutput",
            "not written unless named here",
            "Where the table of predictions goes: .csv or .parquet. Empty: nowhere",
        )
        self.output.textChanged.connect(self._changed)
        self.classifier = QLabel(self)
        self.classifier.setObjectName("classifierLine")
        self.classifier.setToolTip("The classifier in use; the other docks use the same one")
        self.classifier.setWordWrap(True)
        self.classifier.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        rows = (
            ("Classify", self.input, (("classifyFolderButton", "Folder…", self._browse_folder),
                                      ("classifyFileButton", "File…", self._browse_file))),
            ("Write to", self.output, (("classifyOutputButton", "Choose…", self._browse_output),)),
            ("With", self.classifier, (("classifyLoadButton", "Load…", self._browse_classifier),)),
        )  # fmt: skip
        tips = {
            "Folder…": "Choose a folder of specimens",
            "File…": "Choose a manifest (.csv) or a stack of specimens",
            "Choose…": "Choose where to write the predictions",
            "Load…": "Load a classifier from its file; the other docks use it, too",
        }
        for row, (title, field, buttons) in enumerate(rows):
            form.addWidget(QLabel(title, self), row, 0)
            form.addWidget(field, row, 1, 1, 3 - len(buttons))
            for place, (name, text, slot) in enumerate(buttons):
                button = QPushButton(text, self)
                button.setObjectName(name)
                button.setToolTip(tips[text])
                button.clicked.connect(slot)
                form.addWidget(button, row, 4 - len(buttons) + place)
        self.place = PlaceChoice("classify", _PLACES, _PROCESSES)
        self.advanced = QCollapsible("Advanced", self, expandedIcon="▾", collapsedIcon="▸")
        self.advanced.setObjectName("classifyAdvanced")
        self.advanced.toggleButton().setToolTip(
            "Choose where to compute: here, in several processes, or on a cluster."
        )
        self.advanced.addWidget(self.place)
        form.addWidget(self.advanced, len(rows), 0, 1, 4)
        form.setColumnStretch(1, 1)

    def _line(self, name: str, hint: str, tip: str) -> QLineEdit:
        line = QLineEdit(self)
        line.setObjectName(name)
        line.setPlaceholderText(hint)
        line.setToolTip(tip)
        line.setMinimumWidth(120)
        return line

    def _changed(self, _text: str) -> None:
        self.changed.emit()

    def _show_classifier(self, _classifier: object = None) -> None:
        classifier, path = self.session.classifier, self.session.classifier_path
        if classifier is None:
            self.classifier.setText("No classifier yet: load one, or train one.")
        else:
            name = path.name if path else "the classifier just trained"
            self.classifier.setText(f"{name} ({classifier.digest[:8]}): {', '.join(classifier.classes)}")
        self.changed.emit()

    # -------------------------------------------------------------------------------------- choosing files

    def ask_folder(self) -> str:
        """Ask for a folder of specimens; empty for none."""
        return str(QFileDialog.getExistingDirectory(self, "Classify a folder of specimens"))

    def ask_file(self) -> str:
        """Ask for a manifest or a stack; empty for none."""
        kinds = " ".join(f"*{suffix}" for suffix in (".csv", *READERS))
        return str(
            QFileDialog.getOpenFileName(self, "Classify a manifest or a stack", "", f"Specimens ({kinds})")[0]
        )

    def ask_output(self) -> str:
        """Ask where to write the table; empty for nowhere."""
        kinds = ";;".join(f"Predictions (*{suffix})" for suffix in WRITERS)
        return str(QFileDialog.getSaveFileName(self, "Write the predictions", self.output.text(), kinds)[0])

    def ask_classifier(self) -> str:
        """Ask for a classifier's file; empty for none."""
        kinds = "Classifiers (*.safetensors)"
        return str(QFileDialog.getOpenFileName(self, "Load a classifier", "", kinds)[0])

    def _browse_folder(self) -> None:
        if path := self.ask_folder():
            self.input.setText(path)

    def _browse_file(self) -> None:
        if path := self.ask_file():
            self.input.setText(path)

    def _browse_output(self) -> None:
        if path := self.ask_output():
            self.output.setText(path)

    def _input_changed(self, text: str) -> None:
        """Suggest where to write to, unless a person chose."""
        if self.output.text() == self._suggested:
            path = Path(text.strip())
            file = path.suffix and not path.is_dir()  # a folder may be called "patient.1"
            table = path.with_name(f"{path.stem}_predictions.csv") if file else path / "predictions.csv"
            self._suggested = str(table) if text.strip() else ""
            self.output.setText(self._suggested)
        self.changed.emit()

    def _browse_classifier(self) -> None:
        if path := self.ask_classifier():
            self.classifier.setText(f"Loading {Path(path).name}…")
            self.loading.begin(Path(path))

    def _say(self, sentence: str, _wrong: bool) -> None:
        self.said.emit(sentence)

    def missing(self) -> str:
        """Say what is missing before anything can be classified; empty if nothing is."""
        out = self.output.text().strip()
        if not self.input.text().strip():
            return "Choose what to classify first."
        if self.session.classifier is None:
            return "Load or train a classifier first."
        if out and Path(out).suffix.lower() not in WRITERS:
            return f"Predictions are written as {' or '.join(WRITERS)}: change the name under 'Write to'."
        return ""

    def refusal(self) -> str:
        """Say why it cannot be computed or written where a person wants it; empty if it can."""
        out = self.output.text().strip()
        folder = Path(out).parent
        if not out or not exists(Path(self.input.text().strip())) or is_folder(folder):
            return self.place.refusal()
        return f"The folder {folder} does not exist. Make it, or choose another place under 'Write to'."

    def may_replace(self) -> bool:
        """Ask before a file is replaced; True where there is none."""
        out = self.output.text().strip()
        if not out or not exists(Path(out)):
            return True
        asked = f"{Path(out).name} exists already. Replace it?"
        answer = QMessageBox.question(self, "Replace the predictions?", asked)
        return bool(answer == QMessageBox.StandardButton.Yes)

    def leave(self) -> None:
        """Stop loading and let go of the session."""
        self.session.classifier_changed.disconnect(self._show_classifier, missing_ok=True)
        self.loading.leave()
