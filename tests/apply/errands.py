"""Functions for workers to run in the tests of places: small, and some of them deadly."""

import os
import signal
import time
from pathlib import Path


def as_text(data):
    return data.decode()


def refuse(data):
    raise ValueError("these bytes are wrong")


def square(shared, task):
    return shared, task * task, os.getpid()


def interruptible(shared, task):
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def slowly(shared, task):
    time.sleep(task)
    return task


def die_once(shared, task):
    """End this process the first time that a task is tried; `shared` is a folder for the marks of it."""
    number, deadly = task
    mark = Path(shared) / f"{number}"
    if deadly and not mark.exists():
        mark.write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def die_always(shared, task):
    if task == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die_of_seven(shared, task):
    """End this process where 7 is among the numbers of a task."""
    if 7 in task:
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def die_of_a_deadly_file(classifier, chunk):
    """Classify, and end this process where a file says so: as one does that makes a library crash."""
    for key in chunk.keys:
        path = Path(chunk.settings.root) / key
        if path.exists() and path.read_bytes() == b"deadly":
            os.kill(os.getpid(), signal.SIGKILL)
    from napari_ctc.apply.chunks import classify_chunk  # here: the other errands need no torch

    return classify_chunk(classifier, chunk)


def fail(shared, task):
    raise KeyError(f"no {task}")


def threads(shared, task):
    import torch

    return torch.get_num_threads()


def page_faults(shared, task):
    """Ask for some memory and free it, again and again; give how often the system had to bring a page of it."""
    import resource

    import numpy as np

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(task):
        np.full(2**21, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def not_sent(shared, task):
    return lambda: task


def held(shared, task):
    """How many jobs have shared something with this worker and not ended."""
    from napari_ctc.apply import workers

    return len(workers._held)
