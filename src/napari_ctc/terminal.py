"""Drive a job from a terminal: a progress bar, a line for each thing worth saying, and Ctrl+C to stop.

Knows events, and no command: which jobs there are is `cli`'s to say.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from napari_ctc.events import Event, Job

R = TypeVar("R")


def drive(job: Job[R], show: Show | None = None) -> R:
    """Drive a job with a bar; Ctrl+C stops it at its next event, and it returns what it has."""
    import signal

    from napari_ctc.events import run

    show = show or Show()
    interrupted = False

    def note(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    def forward(event: Event) -> None:
        nonlocal interrupted
        show(event)
        if interrupted:
            interrupted = False
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, note)
    try:
        with show:
            return run(job, forward)
    finally:
        signal.signal(signal.SIGINT, before)


class Show:
    """Shows a job's events in a terminal: a bar, and a line for each thing worth saying.

    Afterwards `skipped` is how many files could not be used, and `saved` the file that was written last.
    """

    def __init__(self) -> None:
        self.skipped = 0
        self.saved: Path | None = None
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Show:
        """Show the bar."""
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=_patient_console(),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None)
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        self._bar.stop()

    def __call__(self, event: Event) -> None:
        """Show one event."""
        from napari_ctc.events import EpochDone, FoldDone, Planned, Said, Saved, Skipped, StepDone

        say = self._bar.console.print
        if isinstance(event, (StepDone, EpochDone)):
            self._bar.update(self._task, description=f"epoch {event.epoch} of {event.epochs}")
        if event.total:
            self._bar.update(self._task, completed=event.done, total=event.total)
        if isinstance(event, Said):
            say(f"[yellow]{_escaped(event.text)}[/]" if event.warning else _escaped(event.text), highlight=False)
        elif isinstance(event, Saved):
            self.saved = event.path
        elif isinstance(event, Skipped):
            self.skipped += 1
            if self.skipped <= 10:
                say(f"[yellow]Skipped: {_escaped(event.reason)}[/]", highlight=False)
            elif self.skipped == 11:
                say("[yellow]More files are skipped; they are counted at the end.[/]")
        elif isinstance(event, Planned):
            for name, here, held, weight in zip(
                event.classes, event.training, event.validation, event.weights, strict=True
            ):
                say(
                    f"  {_escaped(name)}: {here} to train on, {held} held out, weight {weight:.2f}",
                    highlight=False,
                )
        elif isinstance(event, EpochDone):
            recalls = ", ".join(
                f"{name}: {int(event.scores.confusion[k, k])} of {int(event.scores.counts[k])}"
                for k, name in enumerate(event.scores.classes)
            )
            mark = "" if event.kept else " (an earlier epoch was better)"
            say(
                f"epoch {event.epoch}: loss {event.training_loss:.3f}, held out {event.validation_loss:.3f}; "
                f"found {_escaped(recalls)}{mark}",
                highlight=False,
            )
        elif isinstance(event, FoldDone):
            scores = event.scores
            say(
                f"fold {event.fold} of {event.folds}: balanced accuracy {scores.balanced_accuracy:.3f} "
                f"(guessing: {scores.chance:.3f})",
                highlight=False,
            )


def _patient_console() -> Any:
    """Make a console for messages; when its reader goes away, as with `| head`, the job goes on in silence."""
    from rich.console import Console

    class Patient(Console):
        def on_broken_pipe(self) -> None:
            self.quiet = True

    return Patient(stderr=True)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)
