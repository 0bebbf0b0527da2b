"""Several batches at once say what one at a time says, to the last bit, and other work keeps its cores."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Event, Lock, Thread, get_ident

import numpy as np
import pandas as pd
import torch

from napari_ctc.apply import streams
from napari_ctc.apply.inference import classify
from napari_ctc.events import run


def threads_of_a_new_one():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_each_stream_has_its_cores_and_all_other_threads_keep_theirs(four_cores):
    pool = streams.Streams(torch.device("cpu"))
    together = Barrier(4)

    def compute(_found, _room):
        together.wait(10)  # four at once
        return torch.get_num_threads()

    counts = [pool.submit(lambda _: None, compute) for _ in range(4)]
    assert [one.result(timeout=10) for one in counts] == [1] * 4
    assert (torch.get_num_threads(), threads_of_a_new_one()) == (4, 4)
    pool.close()


def test_more_cores_than_batches_are_shared_among_them(four_cores):
    for cores, expected in ((1, (1, 1)), (3, (3, 1)), (8, (8, 1)), (16, (8, 2)), (24, (8, 3)), (40, (8, 5))):
        torch.set_num_threads(cores)
        assert streams.streams(torch.device("cpu")) == expected
    assert streams.streams(torch.device("cuda")) == (1, 40)


def most_at_once(read, batches=12):
    """How many read at once, of four cores, how many computed, and how many threads did."""
    pool, lock, now, most = streams.Streams(torch.device("cpu")), Lock(), Counter(), Counter()
    threads = set()

    def counted(what, work):
        with lock:
            now[what] += 1
            most[what] = max(most[what], now[what])
            threads.add(get_ident())
        work()
        with lock:
            now[what] -= 1

    waiting = deque()
    for _ in range(batches):
        if len(waiting) == pool.threads:
            waiting.popleft().result(timeout=30)
        waiting.append(pool.submit(lambda _: counted("read", read), lambda *_: counted("computed", busy)))
    while waiting:
        waiting.popleft().result(timeout=30)
    pool.close()
    most["threads"] = len(threads)
    return most


def test_beside_a_graphics_card_files_are_read_while_it_computes(four_cores):
    pool, read = streams.Streams(torch.device("cuda")), Event()  # what computes here only waits

    def compute(place, _room):
        return place > 0 or read.wait(10)

    def see(room, place):
        if place == 1:
            read.set()
        return place

    first, second = (pool.submit(partial(see, place=place), compute) for place in range(2))
    assert first.result(timeout=20) and second.result(timeout=20)
    pool.close()


def busy():
    end = time.thread_time() + 0.01
    while time.thread_time() < end:
        pass


def test_files_in_memory_are_read_by_few_threads_and_distant_ones_by_all(four_cores, monkeypatch):
    monkeypatch.setattr(streams, "SLOW", 1e9)  # never taken for waiting, however busy this machine is
    most = most_at_once(busy)
    assert most["read"] <= 2
    assert most["computed"] <= 4
    assert most["threads"] <= 4
    monkeypatch.setattr(streams, "SLOW", 3.0)
    most = most_at_once(lambda: time.sleep(0.05), batches=40)
    assert most["read"] > 4
    assert most["threads"] > 4
    assert most["computed"] <= 4


def test_what_waits_for_its_turn_is_given_up_when_the_streams_close(four_cores):
    pool, begun, hold, computed = streams.Streams(torch.device("cpu")), Barrier(5), Event(), []

    def compute(found, _room):
        begun.wait(10)
        hold.wait(10)
        computed.append(found)

    asked = [pool.submit(lambda _, place=place: place, compute) for place in range(20)]
    begun.wait(10)  # four compute, the others wait for a thread
    closing = Thread(target=pool.close)
    closing.start()
    while not pool._closing:
        time.sleep(0.01)
    hold.set()
    closing.join(10)
    assert len(computed) == 4
    assert all(one.done() for one in asked)


def test_a_thread_uses_its_rooms_again():
    pool = streams.Streams(torch.device("cpu"))
    places = [
        pool.submit(
            lambda room: room.array((1000,), np.uint8), lambda found, room: (found, room.array((10,), float))
        )
        for _ in range(50)
    ]
    found = [one.result(timeout=10) for one in places]
    assert len({id(first.base) for first, _ in found}) <= pool.threads
    assert all(not np.shares_memory(first, second) for first, second in found)
    pool.close()


def test_rows_are_the_same_to_the_last_bit_however_many_are_computed_at_once(
    drawn_manifest, tiny_classifier, monkeypatch, four_cores
):
    how = {"batch_size": 4, "precision": "float32", "device": "cpu"}
    two = run(classify(drawn_manifest, tiny_classifier, **how))
    monkeypatch.setattr(streams, "streams", lambda device: (1, 4))
    one = run(classify(drawn_manifest, tiny_classifier, **how))
    pd.testing.assert_frame_equal(two.table, one.table, check_exact=True)
    assert np.isfinite(two.probabilities).all()


ABANDONED = """
import torch
from napari_ctc.apply.streams import Streams
pool = Streams(torch.device("cpu"))
print(pool.submit(lambda room: 1, lambda found, room: found + 1).result())
"""


def test_a_program_ends_although_streams_were_not_closed():
    ended = subprocess.run(
        [sys.executable, "-c", ABANDONED], capture_output=True, text=True, timeout=100, check=True
    )
    assert ended.stdout.split() == ["2"]
