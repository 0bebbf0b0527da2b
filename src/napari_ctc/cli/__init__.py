"""The jobs from a terminal: flags in, one clear sentence an error. How a job is shown there is in `terminal`.

Exit codes: 0 good, 2 wrong input or usage, 3 done but with skipped files or findings, 130 stopped; 1 is a bug.
"""

from __future__ import annotations

import io
import sys

from cyclopts import App, CycloptsError
from pydantic import ValidationError

from napari_ctc import __version__
from napari_ctc.cli.checks import FINDINGS, GOOD, STOPPED, WRONG
from napari_ctc.cli.classifying import classify, export_labels, pack
from napari_ctc.cli.learning import cross_validate, demo, evaluate, train
from napari_ctc.errors import CTCError, Stopped, StoppedEarlyError

__all__ = ["FINDINGS", "GOOD", "STOPPED", "WRONG", "app", "main"]

app = App(
    name="napari-ctc",
    version=__version__,
    help="Classify specimens: small images of several channels, saved as .npy files, some classes rare.\n\n"
    "Start with 'napari-ctc demo my-demo' and follow what it prints.",
    help_format="plaintext",
    suppress_keyboard_interrupt=False,  # it would end the process as if all were done
)
for command in (demo, train, classify, evaluate, cross_validate, pack, export_labels):
    app.command(command)


def main(argv: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a class may have a name that the terminal cannot write
            stream.reconfigure(errors="backslashreplace")
    sys.exit(_main(sys.argv[1:] if argv is None else argv))


def _main(argv: list[str]) -> int:
    try:
        result = app(argv, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as problem:
        return _complain(_plain(problem))
    except StoppedEarlyError as problem:
        print(problem, file=sys.stderr)
        return STOPPED
    except CTCError as problem:
        return _complain(str(problem))
    except (KeyboardInterrupt, Stopped):
        print("Stopped.", file=sys.stderr)
        return STOPPED
    except (BrokenPipeError, SystemExit):  # the reader of our output, such as `head`, has gone
        return GOOD
    return result if isinstance(result, int) else GOOD


def _complain(sentence: str) -> int:
    print(f"napari-ctc: {sentence}", file=sys.stderr)
    return WRONG


def _plain(problem: CycloptsError) -> str:
    """Say in one line what was wrong with a flag."""
    cause = problem.__cause__ or problem.__context__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        name = "-".join(str(part) for part in first["loc"]).replace("_", "-")
        expected = first["msg"][0].lower() + first["msg"][1:]
        return f"--{name} {first['input']}: {expected}. See 'napari-ctc train --help'."
    return " ".join(str(problem).split()) + " See 'napari-ctc --help'."
