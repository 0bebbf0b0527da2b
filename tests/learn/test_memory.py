"""What a training keeps of freed memory, and that it gives it back."""

import ctypes
import gc
import os
import sys
from pathlib import Path

import pytest
import torch

from napari_ctc.learn.memory import reused_memory

glibc = (
    sys.platform == "linux"
    and hasattr(ctypes.CDLL(None), "mallopt")
    and "MALLOC_TRIM_THRESHOLD_" not in os.environ
)


def held():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not glibc, reason="only glibc can be told")
def test_freed_memory_is_kept_within_and_given_back_afterwards():
    with reused_memory():
        before = held()
        several = [torch.ones(5 * 2**20) for _ in range(10)]  # 20 MiB each: what is larger than 32 goes at once
        taken = held() - before
        assert taken > 150 * 2**20
        several.clear()
        gc.collect()
        with reused_memory():
            pass
        assert held() - before < 0.3 * taken  # given back once, and kept again from now on
        several = [torch.ones(5 * 2**20) for _ in range(10)]
        several.clear()
        gc.collect()
        assert held() - before > 0.7 * taken
    assert held() - before < 0.3 * taken
