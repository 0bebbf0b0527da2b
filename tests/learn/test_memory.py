"""What a job keeps of freed memory, and that it gives it back: in a process of its own, which holds no other."""

import ctypes
import os
import subprocess
import sys

import pytest

glibc = (
    sys.platform == "linux"
    and hasattr(ctypes.CDLL(None), "mallopt")
    and "MALLOC_TRIM_THRESHOLD_" not in os.environ
)

SCRIPT = """
import os
from pathlib import Path

import torch

from napari_ctc.learn.memory import reused_memory


def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") - before


def use():
    several = [torch.ones(5 * 2**20) for _ in range(10)]  # 20 MiB each: what is larger than 32 goes at once
    return held()


before = 0
before = held()
with reused_memory():
    print(use(), held())
    with reused_memory():  # another job, which ends sooner
        pass
    print(use(), held())
print(held())
"""


@pytest.mark.skipif(not glibc, reason="only glibc can be told")
def test_freed_memory_is_kept_within_and_given_back_afterwards():
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=100, check=True)
    taken, kept, again, kept_again, left = (int(one) / 2**20 for one in ended.stdout.split())
    assert taken > 150
    assert kept > 150
    assert again > 150
    assert kept_again > 150
    assert left < 50
