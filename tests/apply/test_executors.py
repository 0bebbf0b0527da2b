"""Where work runs: what a person may write, and that processes do what they must."""

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import errands
import pytest

from napari_ctc.apply import executors
from napari_ctc.apply.executors import Done, Lost, Place, execute
from napari_ctc.apply.workers import Shared, cores
from napari_ctc.errors import PlaceError

TWO = Place.parse("processes:2")


def outcomes(place, function, tasks, shared=None):
    shared = shared or Shared(b"told once", errands.as_text)
    return [one for one in execute(place, function, tasks, shared) if isinstance(one, (Done, Lost))]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("here", Place()),
        (" Here ", Place()),
        ("processes:4", Place("processes", 4)),
        ("tcp://10.0.0.7:8786", Place("cluster", address="tcp://10.0.0.7:8786")),
        ("TCP://node-3.lab.example:8786/", Place("cluster", address="tcp://node-3.lab.example:8786")),
        ("tls://[::1]:8786", Place("cluster", address="tls://[::1]:8786")),
    ],
)
def test_a_place_is_understood_and_written_as_it_is_read(text, place):
    assert Place.parse(text) == place
    assert Place.parse(str(place)) == place


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no place where work can run"),
        ("there", "Write here, processes:N"),
        ("http://host:8786", "no place where work can run"),
        ("processes", "as in processes:4"),
        ("processes:0", "from 1 to 256"),
        ("processes:many", "how many processes"),
        ("tcp://host", "tcp://HOST:PORT"),
        ("tcp://host:99999", "not the address of a Dask scheduler"),
        ("tcp://:8786", "not the address of a Dask scheduler"),
    ],
)
def test_a_place_that_cannot_be_is_refused_with_what_to_write(text, expected):
    with pytest.raises(PlaceError, match=expected):
        Place.parse(text)


def test_processes_answer_in_order_and_were_told_once_what_they_share():
    found = outcomes(TWO, errands.square, range(30))
    assert [one.number for one in found] == list(range(30))
    assert [one.value[:2] for one in found] == [("told once", n * n) for n in range(30)]
    workers = {one.value[2] for one in found}
    assert len(workers) == 2
    assert os.getpid() not in workers


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no masks")
def test_ctrl_c_never_reaches_a_process_not_even_while_it_begins():
    assert not outcomes(Place("processes", 1), errands.interruptible, [0])[0].value
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_no_more_tasks_are_taken_than_can_soon_be_done():
    taken = []

    def tasks():
        for number in range(1000):
            taken.append(number)
            yield number

    with closing(execute(TWO, errands.square, tasks(), Shared(b"", errands.as_text))) as running:
        first = next(one for one in running if isinstance(one, Done))
        assert first.value[1] == 0
        assert len(taken) < 10


def test_one_process_has_all_cores_for_itself():
    (one,) = outcomes(Place("processes", 1), errands.threads, [0])
    assert one.value == cores()


def test_a_process_that_ends_is_replaced_and_its_task_tried_again(tmp_path):
    tasks = [(number, number in (1, 4)) for number in range(8)]
    found = outcomes(TWO, errands.die_once, tasks, Shared(str(tmp_path).encode(), errands.as_text))
    assert [one.value for one in found] == list(range(8))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "4"]


def test_a_task_that_ends_every_process_is_given_up_and_the_others_are_done():
    found = outcomes(TWO, errands.die_always, range(5))
    assert [one.value for one in found if isinstance(one, Done)] == [0, 1, 3, 4]
    (lost,) = (one for one in found if isinstance(one, Lost))
    assert lost.number == 2
    assert "ended 2 times (by SIGKILL)" in lost.reason


def halves(task):
    return [task[: len(task) // 2], task[len(task) // 2 :]] if len(task) > 1 else [task]


def test_what_ends_every_process_is_found_in_smaller_pieces_and_all_else_is_done_in_order():
    tasks = [[n, n + 1, n + 2, n + 3] for n in range(0, 16, 4)]
    running = execute(TWO, errands.die_of_seven, tasks, Shared(b"", errands.as_text), halves)
    found = [one for one in running if isinstance(one, (Done, Lost))]
    assert [(one.number, getattr(one, "value", "lost")) for one in found] == [
        (0, [0, 1, 2, 3]),
        (1, [4, 5]),
        (1, [6]),
        (1, "lost"),
        (2, [8, 9, 10, 11]),
        (3, [12, 13, 14, 15]),
    ]
    assert found[3].task == [7]


def test_after_some_losses_nothing_is_tried_in_smaller_pieces(monkeypatch):
    monkeypatch.setattr(executors, "MOST_LOST", 1)
    one = Place.parse("processes:1")
    running = execute(one, errands.die_of_seven, [[7], [7, 8], [9]], Shared(b"", errands.as_text), halves)
    found = [one for one in running if isinstance(one, (Done, Lost))]
    assert [type(one) for one in found] == [Lost, Lost, Done]
    assert found[1].task == [7, 8]
    assert found[1].reason.endswith("It was tried with others.")


def test_closing_gives_up_within_a_second():
    running = execute(TWO, errands.slowly, [60, 60, 60], Shared(b"", errands.as_text))
    for _ in range(8):  # long enough for the processes to have begun
        next(running)
    start = time.perf_counter()
    running.close()
    assert time.perf_counter() - start < 1


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
import errands
from napari_ctc.apply.executors import Place, execute
from napari_ctc.apply.workers import Shared
from napari_ctc.errors import PlaceError

try:
    print(list(execute(Place("processes", 2), errands.square, range(3), Shared(bytes(2**21), errands.as_text))))
except PlaceError as problem:
    print(problem)
"""


def test_a_script_that_processes_cannot_import_is_told_so_however_much_they_share(tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(SCRIPT.format(folder=str(Path(__file__).parent)))
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=100, check=True)
    assert "ended as soon as it started" in ended.stdout
    assert "if __name__ == '__main__':" in ended.stdout


@pytest.mark.parametrize(
    ("function", "shared", "problem", "words"),
    [
        (errands.fail, Shared(b"", errands.as_text), KeyError, "no 7"),
        (errands.square, Shared(b"", errands.refuse), ValueError, "these bytes are wrong"),
        (errands.square, Shared(b"", errands.as_text, ("/no/such/folder",)), PlaceError, "see /no/such/folder"),
        (errands.not_sent, Shared(b"", errands.as_text), RuntimeError, "could not be sent back"),
    ],
)
def test_what_goes_wrong_in_a_process_is_raised_here(function, shared, problem, words):
    with pytest.raises(problem, match=words):
        outcomes(Place("processes", 1), function, [7], shared)
