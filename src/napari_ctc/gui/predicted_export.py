"""The export menu: labels, predictions, and the specimens in one folder a class, each written by a job."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_warning
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QWidget

from napari_ctc.data.exports import export_class_folders, export_labels
from napari_ctc.events import Event, Saved, Skipped
from napari_ctc.gui.jobs import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QAction

    from napari_ctc.data.predictions import Predictions
    from napari_ctc.events import Job

CSV, PARQUET = "Table (*.csv)", "Parquet table (*.parquet)"
LABELS = "exported_labels.csv"  # no name under which a folder's labels are looked for


class ExportMenu(QMenu):
    """What can be taken away, starting from what the table shows.

    Parameters
    ----------
    shown : callable
        Returns the predictions that the table shows.
    kept : callable
        Returns the tables that labels are in, or would be read from: no export is written over them, nor in their
        place.
    parent : QWidget
        The dock; the export is stopped when it goes.
    """

    said = Signal(str)  # a sentence for the dock

    def __init__(self, shown: Callable[[], Predictions], kept: Callable[[], set[Path]], parent: QWidget) -> None:
        super().__init__("Export", parent)
        self.setObjectName("exportMenu")
        self.setToolTipsVisible(True)
        self._shown, self._kept = shown, kept
        self._jobs: dict[QAction, tuple[Callable[..., Job[str]], str, str]] = {}
        self.running = None
        self._notes: tuple[str, ...] = ()
        self._skipped, self._first_reason = 0, ""
        self._add("exportLabels", "Labels (CSV)…", "What a person said: a manifest to train on",
                  _write_labels, LABELS, CSV)  # fmt: skip
        self._add("exportLabelsOriginal", "Labels, two columns without a header (CSV)…",
                  "File and label alone, as in the original form",
                  partial(_write_labels, headerless=True), LABELS, CSV)  # fmt: skip
        self._add("exportLabelsBoth", "Labels, filled up with predictions (CSV)…",
                  "Where no person said anything, what the classifier says, marked by=classifier",
                  partial(_write_labels, which="both"), LABELS, CSV)  # fmt: skip
        self.addSeparator()
        self._add("exportPredictionsCSV", "Predictions (CSV)…", "All columns, with the probability of each class",
                  _write_predictions, "predictions.csv", CSV)  # fmt: skip
        self._add("exportPredictionsParquet", "Predictions (Parquet)…",
                  "The same in a format that large tables are faster in",
                  _write_predictions, "predictions.parquet", PARQUET)  # fmt: skip
        self.addSeparator()
        self._add("exportCopies", "Copies of the specimens, one folder a class…",
                  "Copies each file into a folder named by its predicted class",
                  _write_folders, "", "")  # fmt: skip
        self._add("exportLinks", "Links to the specimens, one folder a class…",
                  "As above without using space: links to the files where they are",
                  partial(_write_folders, link=True), "", "")  # fmt: skip
        self._add("exportCopiesByLabel", "Copies of the labelled specimens, one folder a label…",
                  "Copies each labelled file into a folder named by what a person said",
                  partial(_write_folders, by="label"), "", "")  # fmt: skip
        self.triggered.connect(self._export)

    def _add(
        self, name: str, text: str, tip: str, job: Callable[..., Job[str]], suggestion: str, kind: str
    ) -> None:
        action = self.addAction(text)
        action.setObjectName(name)
        action.setToolTip(tip)
        self._jobs[action] = job, suggestion, kind

    def ask_path(self, title: str, suggestion: str, kind: str) -> str:
        """Ask where to write: a file, or a folder where there is no suggestion; empty for nowhere."""
        if not suggestion:
            return str(QFileDialog.getExistingDirectory(self.parentWidget(), title))
        return str(QFileDialog.getSaveFileName(self.parentWidget(), title, suggestion, kind)[0])

    def _export(self, action: QAction) -> None:
        job, suggestion, kind = self._jobs[action]
        predictions = self._shown()
        start_at = str(predictions.root / suggestion) if suggestion else ""
        path = self.ask_path(action.text().rstrip("…"), start_at, kind)
        if not path or self.running is not None:
            return
        if suggestion and not Path(path).suffix:
            path += Path(suggestion).suffix
        if Path(path).resolve() in self._kept():
            refusal = (
                f"Not exported. {Path(path).name} holds the labels of what is open, or would be read in their "
                f"place. Choose another name."
            )
            show_warning(refusal)
            self.said.emit(refusal)
            return
        self._notes = predictions.notes
        self._skipped, self._first_reason = 0, ""
        self.said.emit(f"Exporting to {Path(path).name}…")
        self.running = start(
            job(predictions, Path(path)),
            parent=self.parentWidget(),
            name=f"Exporting {Path(path).name}",
            on_event=self._hear,
            on_result=self._tell,
            on_error=self._fail,
            on_finished=self._end,
        )

    def _hear(self, event: Event) -> None:
        if isinstance(event, Skipped):
            self._skipped += 1
            self._first_reason = self._first_reason or event.reason

    def _tell(self, sentence: str) -> None:
        missing = list(self._notes)
        if self._skipped:
            missing.append(f"{self._skipped:,} could not be put there. The first: {self._first_reason}")
        sentence = " ".join([sentence, *missing])
        if missing:
            show_warning(sentence)
        self.said.emit(sentence)

    def _fail(self, problem: Exception) -> None:
        self.said.emit(f"Not exported. {problem}")

    def _end(self) -> None:
        self.running = None


# ------------------------------------------------------------------------------------------------ the jobs


def _write_labels(
    predictions: Predictions, out: Path, which: str = "person", headerless: bool = False
) -> Job[str]:
    yield Event()
    rows = export_labels(predictions, out, which, headerless)
    yield Saved(path=out)
    return f"Wrote {rows:,} labels to {out.name}."


def _write_predictions(predictions: Predictions, out: Path) -> Job[str]:
    yield Event()
    predictions.write(out)
    yield Saved(path=out)
    return f"Wrote {len(predictions):,} rows to {out.name}."


def _write_folders(predictions: Predictions, out: Path, by: str = "predicted", link: bool = False) -> Job[str]:
    count = yield from export_class_folders(predictions, out, by, link)
    return f"{'Linked' if link else 'Copied'} {count:,} specimens into {out.name}."
