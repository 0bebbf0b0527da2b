"""Work on a real Dask scheduler with real workers, some of which are killed."""

import logging
import sys
import time
from concurrent.futures import Future
from logging.handlers import BufferingHandler

import errands
import pytest
from distributed import KilledWorker
from distributed.comm.core import CommClosedError

from clusters import LocalCluster
from napari_ctc.apply import cluster as cluster_module
from napari_ctc.apply.cluster import Cluster
from napari_ctc.apply.executors import Done, Lost, Place, execute
from napari_ctc.apply.workers import Shared
from napari_ctc.errors import PlaceError
from napari_ctc.events import Said

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the tests' workers are killed by POSIX signals")


def outcomes(cluster, function, tasks, shared=None):
    shared = shared or Shared(b"told once", errands.as_text)
    return [
        one
        for one in execute(Place.parse(cluster.address), function, tasks, shared)
        if isinstance(one, (Done, Lost))
    ]


def test_a_cluster_answers_in_order_although_workers_are_killed_meanwhile(cluster, tmp_path):
    tasks = [(number, number in (3, 9)) for number in range(20)]
    found = outcomes(cluster, errands.die_once, tasks, Shared(str(tmp_path).encode(), errands.as_text))
    assert found == [Done(number, number) for number in range(20)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["3", "9"]


def test_what_kills_every_worker_is_found_in_smaller_pieces_and_the_others_are_done(cluster):
    running = execute(
        Place.parse(cluster.address),
        errands.die_of_seven,
        [[5], [6, 7], [8], [9]],
        Shared(b"", errands.as_text),
        lambda task: [[one] for one in task],
    )
    found = [one for one in running if isinstance(one, (Done, Lost))]
    assert [one.value for one in found if isinstance(one, Done)] == [[5], [6], [8], [9]]
    assert (found[2].number, found[2].task) == (1, [7])
    assert "2 workers ended while they worked on it" in found[2].reason


def test_giving_up_takes_less_than_a_second_and_takes_back_what_was_shared(cluster):
    running = execute(Place.parse(cluster.address), errands.slowly, [3] * 6, Shared(b"", errands.as_text))
    for _ in range(10):
        next(running)
    start = time.perf_counter()
    running.close()
    assert time.perf_counter() - start < 1
    end = time.monotonic() + 20  # how long workers take to hear of it is their machine's business
    while outcomes(cluster, errands.held, [0])[0].value > 1:
        assert time.monotonic() < end


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there does Dask change how memory is freed")
def test_workers_use_memory_again_that_was_freed(cluster):
    (done,) = outcomes(cluster, errands.page_faults, [100])
    assert done.value < 10_000  # 51,200 pages of 4 KiB if each array is fetched from the system


def test_what_a_task_raises_is_raised_here(cluster):
    with pytest.raises(KeyError, match="no 7"):
        outcomes(cluster, errands.fail, [7])


def test_a_worker_that_does_not_see_the_images_is_named_with_their_path(cluster):
    shared = Shared(b"", errands.as_text, ("/lab/slides",))
    with pytest.raises(PlaceError, match=r"The worker tcp://127\.0\.0\.1:\d+ does not see /lab/slides"):
        outcomes(cluster, errands.square, [1], shared)


def test_a_worker_of_another_version_is_named_with_both(cluster, tmp_path):
    info = tmp_path / "napari_ctc-0.0.7.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: napari-ctc\nVersion: 0.0.7\n")
    with (
        cluster.another_worker(tmp_path),
        pytest.raises(PlaceError, match=r"napari-ctc is version 0\.0\.7; here it is"),
    ):
        outcomes(cluster, errands.square, [1])


def test_a_scheduler_that_is_not_there_is_a_sentence(monkeypatch):
    from napari_ctc.apply import cluster

    monkeypatch.setattr(cluster, "CONNECT", 0.5)
    with pytest.raises(PlaceError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(execute(Place.parse("tcp://127.0.0.1:9"), errands.square, [1], Shared(b"", errands.as_text)))


def test_a_scheduler_without_workers_that_loses_them_or_vanishes_is_a_sentence(tmp_path, monkeypatch):
    from napari_ctc.apply import cluster

    monkeypatch.setattr(cluster, "CONNECT", 2)
    monkeypatch.setattr(cluster, "PATIENCE", 3)
    heard = BufferingHandler(1000)
    logging.getLogger("distributed.client").addHandler(heard)
    own = LocalCluster(tmp_path, workers=0, nanny=False)
    try:
        own.wait(0)
        with pytest.raises(PlaceError, match=r"has no workers\. Start some with 'dask worker tcp://"):
            outcomes(own, errands.square, [1])
        worker = own.add_worker()
        own.wait(1)
        with pytest.raises(PlaceError, match=r"has had no worker for [\d.]+ minutes\. Start workers with"):
            for one in execute(Place.parse(own.address), errands.slowly, [0, 60], Shared(b"", errands.as_text)):
                if isinstance(one, Done):
                    worker.kill()
        monkeypatch.setattr(cluster, "PATIENCE", 600)
        worker = own.add_worker()
        own.wait(1)
        done, said = [], []
        running = execute(Place.parse(own.address), errands.slowly, [0, 0.1, 60], Shared(b"", errands.as_text))
        with pytest.raises(PlaceError, match=r"no longer answers\. What is done is kept"):
            for one in running:
                if isinstance(one, Done):
                    done.append(one.value)
                    if len(done) == 2:
                        worker.kill()
                elif isinstance(one, Said):
                    said.append(one.text)
                    own.scheduler.kill()
        assert done == [0, 0.1]
        assert len(said) == 1
        assert "no worker left" in said[0]
        time.sleep(1)  # the client takes its leave in a thread
        assert not [one for one in heard.buffer if one.exc_info]  # 30 lines of calls at the terminal
    finally:
        logging.getLogger("distributed.client").removeHandler(heard)
        own.end()


def test_a_task_whose_result_was_lost_with_its_worker_and_then_fails_is_told(cluster):
    """Dask's own executor never ends such a future; what goes wrong in fetching arrives here as the task's end."""
    place = Cluster(cluster.address, Shared(b"", errands.as_text))
    try:
        asked = Future()

        async def lost():
            raise KilledWorker("the task", None, 1)  # as `Client._gather` does

        place._client.loop.add_callback(cluster_module._bring, lost(), asked)
        assert isinstance(asked.exception(timeout=10), KilledWorker)
        assert place.submit(errands.square, 3).result(timeout=60)[1] == 9
    finally:
        place.close()


def test_a_scheduler_that_vanishes_while_a_result_is_fetched_is_a_sentence(cluster):
    place = Cluster(cluster.address, Shared(b"", errands.as_text))
    try:
        asked, answer = Future(), Future()

        async def cut_off():
            raise CommClosedError("in <TCP (closed) ConnectionPool.gather ...>: Connection reset by peer")

        asked.add_done_callback(lambda done: place._pass_on(done, answer))
        place._client.loop.add_callback(cluster_module._bring, cut_off(), asked)
        assert "no longer answers. What is done is kept" in str(answer.exception(timeout=10))
    finally:
        place.close()
