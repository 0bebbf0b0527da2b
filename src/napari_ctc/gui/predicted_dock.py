"""The dock "Predicted classes": what the classifier says of the open specimens, as a table.

What it consists of is in `predicted_parts`, the work behind it in `background`, exports in `predicted_export`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QSplitter

from napari_ctc.gui.background import Background
from napari_ctc.gui.canvas_text import CanvasText
from napari_ctc.gui.jobs import close_with_dock
from napari_ctc.gui.keys import LabelKeys
from napari_ctc.gui.predicted_parts import PredictedParts
from napari_ctc.gui.speakers import HEAD

if TYPE_CHECKING:
    import napari.viewer
    from qtpy.QtGui import QCloseEvent, QHideEvent, QShowEvent

    from napari_ctc.gui.held_out import Cell

_TOGETHER_MS = 150  # so long a label waits at most, to be shown as one picture with what the queue brings next
_SETTLE_MS = 700  # rows that predictions move are moved this often, not with every batch


class PredictedDock(PredictedParts):
    """The table of the open specimens with their predicted classes.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
    """

    def __init__(self, napari_viewer: napari.viewer.Viewer) -> None:
        super().__init__(getattr(napari_viewer, "__wrapped__", napari_viewer))
        self._canvas_text = CanvasText(self.session, lambda: self.labelling.busy)
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(_SETTLE_MS)
        self._settle.timeout.connect(self._rearrange)
        self._together = QTimer(self)
        self._together.setSingleShot(True)
        self._together.setInterval(_TOGETHER_MS)
        self._together.timeout.connect(self._show_what_is_known)
        self.views.opened.connect(self._show_details)
        self.table.specimen_chosen.connect(self.session.go_to)
        self.model.rearranged.connect(self._follow_current)
        self.held_out.changed.connect(self._filter)
        self.held_out.found.connect(self._go_to_first)
        self.filters.changed.connect(self._filter)
        self.queue.came.connect(self._catch_up)
        self.keys = LabelKeys(self.session, self.labelling, self.table, self.queue, self._viewer.window._qt_window)  # noqa: SLF001
        self.strip.chips.given.connect(self.keys.label)
        self.background = Background(self.session, self)
        self.queue.measuring.held = self._classifying
        self.background.measured = self.queue.measuring.facts_of
        self.background.files_changed.connect(self.queue.measuring.forget)
        self.background.progressed.connect(self._show_progress)
        self.background.said.connect(self._say)
        self.session.specimens_changed.connect(self._specimens_changed)
        self.session.speaker_changed.connect(self._speaker_changed)
        self.session.concealed_changed.connect(self._concealed_changed)
        self.session.predictions_changed.connect(self._predictions_changed)
        self.session.labels_changed.connect(self._labels_changed)
        self.session.current_changed.connect(self._current_changed)
        self._specimens_changed()

    # ---------------------------------------------------------------------------------- following the session

    def _specimens_changed(self) -> None:
        self._pages.setCurrentIndex(1 if len(self.session) else 0)
        self.model.reload()
        self.filters.offer_sources(self.session.sources)
        self._classes_changed()
        self._current_changed(self.session.current)

    def _speaker_changed(self) -> None:
        self._classes_changed()
        self._rearrange()

    def _concealed_changed(self) -> None:
        """Hide or show a prediction; the place of its row, or that there is one, must not tell of it."""
        if self.model.by_prediction:
            self._rearrange()
        elif self._together.isActive():
            return
        self._show_what_is_known()

    def _predictions_changed(self, _indices: object) -> None:
        if not self._together.isActive():
            self._show_what_is_known()
        if self.session.speaking == HEAD:  # no row moves away under the hand of the person who labels
            self.views.offer_sorting(self.model.by_prediction)
        elif not self._settle.isActive():
            self._settle.start()

    def _labels_changed(self, _indices: object) -> None:
        """Show labels where they stand: no row moves away under the hand of the person who labels."""
        if self._filter_names != self.session.classes:
            self._classes_changed()
        elif self.queue.at_work:  # in a moment the next specimen comes: painting twice would hold it up
            self._together.start()
            return
        self._show_what_is_known()

    def _show_what_is_known(self) -> None:
        """Bring everything up to date."""
        self._together.stop()
        self.model.refresh()
        self.strip.refresh()
        self.queue.refresh()
        self._show_current()

    def _catch_up(self) -> None:
        if self._together.isActive():
            self._show_what_is_known()

    def _rearrange(self) -> None:
        self._settle.stop()
        self.model.rearrange()

    def _current_changed(self, _index: int) -> None:
        self._follow_current()
        (self._show_what_is_known if self._together.isActive() else self._show_current)()

    def _follow_current(self) -> None:
        self.table.follow(self.session.current)
        total, shown = len(self.session), len(self.model.indices)
        words = "specimen" if total == 1 else "specimens"
        self.shown.setText(f"{total:,} {words}" if shown == total else f"{shown:,} of {total:,} {words}")
        self.export_button.setText("Export" if shown == total else f"Export these {shown:,}")
        self.export_button.setEnabled(shown > 0)

    def _show_current(self) -> None:
        self.details.show_specimen(self.session.current)
        self._canvas_text.show()
        self.views.refresh()
        self.strip.show_place()

    def _classes_changed(self) -> None:
        self._filter_names = self.session.classes
        self.filters.offer(self.session.classes)
        self.strip.refresh()
        self.queue.refresh()

    def _classifying(self) -> bool:
        return self.background.busy

    def _show_progress(self, done: int, total: int) -> None:
        if total:
            self._say(f"classifying: {done:,} of {total:,}")
        elif self.message.text().startswith("classifying"):
            self._say("")

    # ------------------------------------------------------------------------------------- what a person does

    def _filter(self) -> None:
        self.model.set_filter(replace(self.filters.chosen(), among=self.held_out.ids))

    def show_held_out(self, cell: Cell) -> None:
        """Show the specimens behind a count of a confusion matrix, and nothing but them."""
        self.filters.clear()
        self.held_out.show_cell(cell)

    def _go_to_first(self) -> None:
        """Go to the first specimen behind a count, ready for the keys."""
        if len(self.model.indices):
            self.session.go_to(int(self.model.indices[0]))
        self.views.currentWidget().setFocus()

    def _show_details(self) -> None:
        self.details.show()
        self.details.show_specimen(self.session.current)
        split = self.findChild(QSplitter, "tableAndDetails")
        if split.sizes()[1] < 220:
            split.setSizes([max(self.width() - 320, 200), 320])

    # ------------------------------------------------------------------------------------------ in the window

    def showEvent(self, event: QShowEvent) -> None:
        """Move below the canvas when shown for the first time; napari opens every dock at the right."""
        super().showEvent(event)
        self.keys.switch(True)
        self.place_once()

    def hideEvent(self, event: QHideEvent) -> None:
        """Give the keys back while nobody sees what they do, and write the labels: the window may be closing."""
        super().hideEvent(event)
        if not event.spontaneous():
            self.keys.switch(False)
            self.labelling.fold()

    def event(self, event: QEvent) -> bool:
        """Look at the files when the window gets the focus; end with the dock."""
        if event.type() == QEvent.Type.WindowActivate and hasattr(self, "background"):
            self.background.look()
            self.queue.measuring.look()
            self.labelling.look()
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
        close_with_dock(self, event)
        return super().event(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Give the canvas back."""
        self._leave()
        super().closeEvent(event)

    def _leave(self) -> None:
        """Let go of the session and the canvas, once."""
        session = self.session
        for signal, slot in (
            (session.specimens_changed, self._specimens_changed),
            (session.speaker_changed, self._speaker_changed),
            (session.concealed_changed, self._concealed_changed),
            (session.predictions_changed, self._predictions_changed),
            (session.labels_changed, self._labels_changed),
            (session.current_changed, self._current_changed),
        ):
            signal.disconnect(slot, missing_ok=True)
        self.held_out.leave()
        self.keys.leave()
        self.queue.leave()
        self.labelling.leave()
        self.background.leave()
        self.views.leave()
        self._canvas_text.give_back()
