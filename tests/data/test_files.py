"""Paths that the system will not tell of, as below a folder that may not be entered."""

from __future__ import annotations

import pytest

from napari_ctc.data.files import check_writable, exists, is_file, is_folder, replacing
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.recheck import recheck
from napari_ctc.errors import CTCError, ManifestError
from napari_ctc.events import run


@pytest.fixture
def closed(tmp_path):
    """Name a folder that the system refuses to look at, also for who may enter any."""
    return tmp_path / ("long" * 100)


def test_they_are_not_there(closed, tmp_path):
    assert not any(ask(closed / "a.npy") for ask in (exists, is_file, is_folder))
    assert exists(tmp_path) and is_folder(tmp_path) and not is_file(tmp_path)


def test_writing_to_them_is_refused_in_a_sentence(closed):
    with pytest.raises(CTCError, match=r"p\.csv cannot be written: .*Choose another place"):
        check_writable(closed / "p.csv")
    with pytest.raises(CTCError, match="cannot be written"), replacing(closed / "p.csv"):
        pass


@pytest.mark.parametrize("name", ["", "m.csv"])
def test_opening_them_is_refused_in_a_sentence(closed, name):
    with pytest.raises(ManifestError, match=r"cannot be read: .*Check its rights"):
        Manifest.open(closed / name)


def test_labelled_specimens_there_are_missing(closed):
    assert run(recheck(["a.npy"], {}, closed)).missing == ("a.npy",)
