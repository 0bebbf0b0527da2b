"""A pack holds the same pixels under new names, and a kill at any moment loses none of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from napari_ctc.data import growing, packing
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.packing import pack
from napari_ctc.data.specimens import Layout, content_digest
from napari_ctc.errors import CTCError, SpecimenError, Stopped
from napari_ctc.events import Event, Said, Saved, Skipped, run


@pytest.fixture(autouse=True)
def _small_parts(monkeypatch):
    monkeypatch.setattr(packing, "AT_ONCE", 4)


def write_folder(folder, count=22, shape=(6, 5, 4), dtype="uint16") -> Manifest:
    random = np.random.default_rng(0)
    folder.mkdir(exist_ok=True)
    lines = ["path,label,source"]
    for row in range(count):
        np.save(folder / f"{row:03}.npy", random.integers(0, 60_000, shape).astype(dtype))
        lines.append(f"{row:03}.npy,{'ab'[row % 2]},slide {row // 5}")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return Manifest.read(folder / "manifest.csv")


def stop_after(job, events):
    try:
        for _ in range(events):
            next(job)
        job.throw(Stopped())
        while True:
            next(job)
    except StopIteration as end:
        return end.value


def assert_equal(packed, manifest, kept=None):
    again = Manifest.read(packed.manifest)
    kept = range(len(manifest)) if kept is None else kept
    assert len(again) == packed.specimens == len(kept)
    for place, row in enumerate(kept):
        np.testing.assert_array_equal(again.specimen(place), manifest.specimen(row))
    assert list(again.table["label"]) == list(manifest.table["label"].iloc[list(kept)])
    assert list(again.table["source"]) == list(manifest.table["source"].iloc[list(kept)])
    assert sorted(one.name for one in packed.path.parent.iterdir()) == [packed.manifest.name, packed.path.name]


def test_a_pack_holds_the_same_specimens_with_their_labels_and_origins(tmp_path):
    manifest = write_folder(tmp_path / "in")
    events: list[Event] = []
    (tmp_path / "out").mkdir()
    packed = run(pack(manifest, tmp_path / "out" / "all.npy"), events.append)
    assert_equal(packed, manifest)
    assert np.load(packed.path, mmap_mode="r").shape == (22, 6, 5, 4)
    table = pd.read_csv(packed.manifest)
    assert list(table["origin"]) == [(tmp_path / "in" / key).as_posix() for key in manifest.keys]
    assert list(table["pixels"]) == [content_digest(manifest.specimen(row)) for row in range(22)]
    assert isinstance(events[-1], Saved)
    assert [event.done for event in events] == sorted(event.done for event in events)


def test_one_that_differs_or_cannot_be_read_is_left_out_with_a_reason(tmp_path):
    manifest = write_folder(tmp_path / "in")
    np.save(tmp_path / "in" / "003.npy", np.zeros((7, 5, 4), np.uint16))
    np.save(tmp_path / "in" / "004.npy", np.zeros((6, 5, 4), np.uint8))
    (tmp_path / "in" / "000.npy").write_bytes(b"")
    events: list[Event] = []
    (tmp_path / "out").mkdir()
    packed = run(pack(manifest, tmp_path / "out" / "all.npy"), events.append)
    assert packed.left_out == 3
    assert_equal(packed, manifest, [row for row in range(22) if row not in (0, 3, 4)])
    reasons = {event.path: event.reason for event in events if isinstance(event, Skipped)}
    assert set(reasons) == {"000.npy", "003.npy", "004.npy"}
    assert "003.npy is 7 x 5 x 4 uint16" in reasons["003.npy"]


def test_what_was_said_of_the_input_is_said_while_it_is_packed(tmp_path):
    write_folder(tmp_path / "in")
    (tmp_path / "in" / "003.npy").unlink()
    events: list[Event] = []
    run(pack(Manifest.open(tmp_path / "in"), tmp_path / "all.npy"), events.append)
    assert "not in the folder" in " ".join(event.text for event in events if isinstance(event, Said))


@pytest.mark.parametrize("events", [1, 2, 5])
def test_a_stopped_pack_goes_on_where_it_was(tmp_path, events, monkeypatch):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    out.parent.mkdir()
    packed = stop_after(pack(manifest, out), events)
    assert packed.stopped
    assert not out.exists()
    read = []
    monkeypatch.setattr(packing, "_read", lambda inputs, rows: read.extend(rows) or _READ(inputs, rows))
    assert_equal(run(pack(manifest, out)), manifest)
    assert min(read) == packed.specimens > 0


_READ = packing._read


@pytest.mark.parametrize("harm", ["bytes", "log", "both"])
def test_what_a_crash_left_half_written_is_written_again(tmp_path, harm):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    out.parent.mkdir()
    stop_after(pack(manifest, out), 4)
    part, log = out.parent / ".all.packing.npy.part", out.parent / ".all.packing.log"
    if harm in ("bytes", "both"):
        content = bytearray(part.read_bytes())
        content[-30] ^= 1
        part.write_bytes(content)
    if harm in ("log", "both"):
        log.write_bytes(log.read_bytes()[:-7])
    assert_equal(run(pack(manifest, out)), manifest)


def test_a_kill_before_the_manifest_is_written_loses_nothing(tmp_path, monkeypatch):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    out.parent.mkdir()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(growing, "write_whole", killed)
    with pytest.raises(KeyboardInterrupt):
        run(pack(manifest, out))
    monkeypatch.undo()
    assert_equal(run(pack(manifest, out)), manifest)


def test_a_finished_stack_stays_where_it_is_when_other_specimens_come(tmp_path, monkeypatch):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"

    def full(*_):
        raise CTCError("all.csv cannot be written: No space left on device.")

    monkeypatch.setattr(growing, "write_whole", full)
    with pytest.raises(CTCError, match="No space left"):
        run(pack(manifest, out))
    monkeypatch.undo()
    stack = out.read_bytes()
    with pytest.raises(CTCError, match="unfinished pack of other specimens"):
        run(pack(manifest.rows(range(9)), out))
    assert out.read_bytes() == stack
    assert_equal(run(pack(manifest, out)), manifest)


@pytest.mark.parametrize("log", ["whole", "empty"])
def test_a_file_that_came_under_the_name_meanwhile_is_not_written_over(tmp_path, log):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    stop_after(pack(manifest, out), 3)
    if log == "empty":  # killed at its first moment
        (out.parent / ".all.packing.npy.part").unlink()
        (out.parent / ".all.packing.log").write_bytes(b"")
    out.write_bytes(b"somebody's")
    with pytest.raises(CTCError, match="exists already"):
        run(pack(manifest, out))
    assert out.read_bytes() == b"somebody's"
    out.unlink()
    assert_equal(run(pack(manifest, out)), manifest)


def test_a_file_that_is_not_what_the_log_tells_of_is_not_taken_for_the_stack(tmp_path):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    stop_after(pack(manifest, out), 3)
    (out.parent / ".all.packing.npy.part").unlink()
    out.write_bytes(b"somebody's")
    with pytest.raises(CTCError, match="exists already"):
        run(pack(manifest, out))
    assert out.read_bytes() == b"somebody's"


def test_another_folder_with_the_same_names_does_not_go_on_with_a_pack(tmp_path):
    first, second = write_folder(tmp_path / "a"), write_folder(tmp_path / "b", shape=(6, 5, 4), dtype="uint16")
    out = tmp_path / "out" / "all.npy"
    stop_after(pack(first, out), 5)
    with pytest.raises(CTCError, match="unfinished pack of other specimens"):
        run(pack(second, out))
    assert_equal(run(pack(first, out)), first)


def test_specimens_that_were_written_anew_since_are_packed_anew(tmp_path):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    stop_after(pack(manifest, out), 5)
    np.save(tmp_path / "in/005.npy", np.full((6, 5, 4), 7, np.uint16))
    assert_equal(run(pack(manifest, out)), manifest)


def test_two_packs_into_one_file_are_refused(tmp_path):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    first = pack(manifest, out)
    next(first)
    with pytest.raises(CTCError, match=r"all\.npy is being written by napari-ctc pack on"):
        run(pack(manifest, out))
    first.close()
    assert_equal(run(pack(manifest, out)), manifest)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no such limit")
@pytest.mark.parametrize("room", [0, 100, 1000, 5000])
def test_a_pack_that_has_no_room_says_so_and_goes_on_later(tmp_path, room):
    import resource

    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "out" / "all.npy"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(CTCError, match="cannot be written"):
            run(pack(manifest, out))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_equal(run(pack(manifest, out)), manifest)


def test_what_cannot_be_packed_is_refused_in_a_sentence(tmp_path):
    manifest = write_folder(tmp_path / "in")
    out = tmp_path / "all.npy"
    with pytest.raises(CTCError, match=r"should end in \.npy"):
        run(pack(manifest, tmp_path / "all.csv"))
    stop_after(pack(manifest, out), 3)
    with pytest.raises(CTCError, match="unfinished pack of other specimens"):
        run(pack(manifest.rows(range(9)), out))
    run(pack(manifest, out))
    with pytest.raises(CTCError, match="exists already"):
        run(pack(manifest, out))
    for file in (tmp_path / "in").glob("*.npy"):
        file.write_bytes(b"")
    with pytest.raises(SpecimenError, match="nothing to pack"):
        run(pack(manifest, tmp_path / "other.npy"))
    assert not list(tmp_path.glob(".*"))


def test_a_layout_with_the_channels_first_is_turned(tmp_path):
    (tmp_path / "in").mkdir()
    for row in range(3):
        np.save(tmp_path / "in" / f"{row}.npy", np.full((4, 6, 5), row, ">i4"))
    manifest = Manifest.from_folder(tmp_path / "in", Layout(4))
    (tmp_path / "out").mkdir()
    packed = run(pack(manifest, tmp_path / "out" / "a.npy"))
    assert np.load(packed.path).shape == (3, 6, 5, 4)
    assert_equal(packed, manifest)


def test_a_pack_that_is_killed_at_any_moment_ends_as_if_it_had_not_been(tmp_path):
    manifest = write_folder(tmp_path / "in", 600, (32, 32, 4))
    out = tmp_path / "out" / "all.npy"
    out.parent.mkdir()
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "in" / "manifest.csv"), str(out)]
    kills = 0
    for moment in np.random.default_rng(1).uniform(0.0, 0.15, 6):
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()  # it has begun
            time.sleep(moment)
            os.kill(process.pid, signal.SIGKILL)
            kills += process.wait() == -signal.SIGKILL
    assert kills >= 3
    if not out.with_suffix(".csv").exists():
        run(pack(manifest, out))
    assert_equal(packing.Packed(out, out.with_suffix(".csv"), 600, 0), manifest)


SCRIPT = """
import sys, time
from pathlib import Path
from napari_ctc.data import packing
from napari_ctc.data.manifest import Manifest
from napari_ctc.events import run
packing.AT_ONCE = 8
out = Path(sys.argv[2])
print("begun", flush=True)
if out.with_suffix(".csv").exists():
    time.sleep(10)
run(packing.pack(Manifest.read(sys.argv[1]), out), lambda event: time.sleep(0.002))
"""
