"""What the tests of classifying share."""

import pytest

from napari_ctc.apply import inference


@pytest.fixture(autouse=True)
def _each_batch_by_itself(monkeypatch):
    """Tell of each batch as it comes, so that a test can stop or kill between two of them."""
    monkeypatch.setattr(inference, "TOGETHER", 0.0)
