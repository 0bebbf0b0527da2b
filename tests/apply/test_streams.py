"""Two batches at once say what one at a time says, to the last bit, and other work keeps its cores."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import pytest
import torch

from napari_ctc.apply import streams
from napari_ctc.apply.inference import classify
from napari_ctc.events import run


@pytest.fixture
def four_cores():
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


def threads_of_a_new_one():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_each_stream_has_its_cores_and_all_other_threads_keep_theirs(four_cores):
    pool = streams.started(torch.device("cpu"))
    both = Barrier(2)
    counts = [pool.submit(lambda: (both.wait(), torch.get_num_threads())[1]) for _ in range(2)]
    assert [one.result(timeout=10) for one in counts] == [2, 2]
    assert (torch.get_num_threads(), threads_of_a_new_one()) == (4, 4)
    pool.shutdown()


def test_a_graphics_card_and_a_single_core_take_one_batch_at_a_time(four_cores):
    assert streams.streams(torch.device("cuda")) == (1, 4)
    torch.set_num_threads(1)
    assert streams.streams(torch.device("cpu")) == (1, 1)


def test_rows_are_the_same_to_the_last_bit_however_many_are_computed_at_once(
    drawn_manifest, tiny_classifier, monkeypatch, four_cores
):
    how = {"batch_size": 4, "precision": "float32", "device": "cpu"}
    two = run(classify(drawn_manifest, tiny_classifier, **how))
    monkeypatch.setattr(streams, "streams", lambda device: (1, 4))
    one = run(classify(drawn_manifest, tiny_classifier, **how))
    pd.testing.assert_frame_equal(two.table, one.table, check_exact=True)
    assert np.isfinite(two.probabilities).all()
