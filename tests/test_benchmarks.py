"""Every file in benchmarks/ can be started: it imports, and says what it takes."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).parents[1] / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_benchmark_says_what_it_takes(file, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [str(file), "--help"])
    monkeypatch.syspath_prepend(str(file.parent))  # as Python does for a file that it runs
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(file), run_name="__main__")
    assert ended.value.code == 0
    assert file.name in capsys.readouterr().out


def test_there_are_benchmarks():
    assert {"labelling", "memory", "reader", "time_to_result", "training", "window"} <= {
        file.stem for file in FILES
    }
