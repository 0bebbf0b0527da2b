"""What a person asks for while labelling is done in order, and what is wrong is said.

A key is looked at once all before it have been done and shown, so that it means what the person saw. The waiting
is done in the thread of `book`; what is asked for is in `labelling`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from napari.utils.notifications import notification_manager, show_warning
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QWidget

from napari_ctc.errors import CTCError
from napari_ctc.gui.book import in_turn

Then = Callable[[Any], object]


class Turns(QWidget):
    """One thing after the other. Invisible.

    Parameters
    ----------
    parent : QWidget
    """

    asked = Signal()  # a person asks for something
    told = Signal(str)  # a sentence for the person; empty when the last one no longer holds
    _answered = Signal(object, object, object)  # what to do then, a result, what went wrong

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.hide()
        self._asked: deque[Callable[[], object]] = deque()
        self._writing = self._left = False
        self._last_problem = ""
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._go_on)
        self._answered.connect(self._answer)

    def do(self, act: Callable[[], object]) -> None:
        """Do what a person asks for, once all that was asked for before has been done and shown."""
        self._asked.append(act)
        self.asked.emit()
        self._go_on()

    def do_soon(self, act: Callable[[], object]) -> None:
        """Do what nobody asked for once the window has drawn itself, or before what is asked for until then."""
        self._asked.append(act)
        self._soon.start(0)

    def ask(self, work: Callable[[], Any], then: Then) -> None:
        """Work something out of a journal, in its thread, then show it here; called from what `do` does."""
        self._write(work, then)

    @property
    def busy(self) -> bool:
        """Whether anything that was asked for is not done yet."""
        return self._writing or bool(self._asked)

    def _go_on(self) -> None:
        while self._asked and not self._writing and not self._left:
            self._asked.popleft()()

    def _write(self, work: Callable[[], Any], then: Then) -> None:
        """Do something with a journal in its thread, then show it here."""
        self._writing = True

        def run() -> None:
            result = problem = None
            try:
                result = work()
            except Exception as error:
                problem = error
            try:
                self._answered.emit(then, result, problem)
            except RuntimeError:  # the dock is gone; the journal has it
                return

        in_turn(run)

    def _answer(self, then: Then, result: Any, problem: Exception | None) -> None:
        self._writing = False
        if self._left:
            return
        if isinstance(problem, CTCError):
            self.refuse(str(problem))
        elif problem is not None:
            notification_manager.receive_error(type(problem), problem, problem.__traceback__)
        else:
            then(result)
        self._go_on()

    def refuse(self, sentence: str) -> None:
        """Say what is wrong: in the dock as long as it holds, and once in napari's own way."""
        if sentence != self._last_problem:
            show_warning(sentence)
        self._last_problem = sentence
        self.told.emit(sentence)

    def _take_back_problem(self) -> None:
        self._last_problem = ""
        self.told.emit("")
