"""Labels in a real window when something is wrong: each is said in a sentence, and no label is lost."""

import os

import numpy as np
import pytest

pytest.importorskip("napari")
from labelling_steps import CTRL, TIME, name_classes, on_disk, open_dock, press, settled, shown
from napari.utils.notifications import notification_manager
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QApplication, QFileDialog

from napari_ctc.data import lines
from napari_ctc.data.journal import Journal
from napari_ctc.data.locks import Lock
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui import book as books
from napari_ctc.gui import labelling as labellings


@pytest.fixture
def viewer(make_napari_viewer):
    return make_napari_viewer(show=True)


@pytest.fixture
def dock(viewer, qtbot, folder):
    dock = open_dock(viewer, qtbot, folder)
    name_classes(qtbot, dock)
    return dock


def said(dock):
    return dock.strip.hint.text()


def warned(part):
    return [str(one.message) for one in notification_manager.records if part in str(one.message)]


def close(viewer, dock):
    """Close the dock and the specimens, and wait until the table is written."""
    viewer.window.remove_dock_widget(dock)
    viewer.layers.clear()
    books.in_turn(lambda: None).result(timeout=20)


def come_back(qtbot, dock):
    """What Qt tells a dock when a person comes back to the window."""
    QApplication.sendEvent(dock, QEvent(QEvent.Type.WindowActivate))
    settled(qtbot, dock)


# ------------------------------------------------------------------------------------------- the table


def test_a_table_that_a_person_opened_keeps_its_form_its_order_and_its_columns(viewer, folder, qtbot):
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.npy"))[:3]
    table = folder / "mine.csv"
    before = f"remark;path;label\r\nx, y;{names[2]};debris\r\n;{names[0]};\r\n;{names[1]};odd\r\n"
    table.write_bytes(before.encode())
    dock = open_dock(viewer, qtbot, table)
    assert dock.session.keyed == ("debris", "odd")
    press(qtbot, dock.table, "21")
    settled(qtbot, dock)
    close(viewer, dock)
    expected = f"remark;path;label\r\nx, y;{names[2]};odd\r\n;{names[0]};debris\r\n;{names[1]};odd\r\n"
    assert table.read_bytes().decode() == expected
    assert (folder / "mine.backup.csv").read_bytes().decode() == before
    assert not (folder / "labels.csv").exists()


def test_the_table_is_written_by_itself_once_the_person_rests(dock, folder, qtbot):
    press(qtbot, dock.table, "12")
    settled(qtbot, dock)
    assert not (folder / "labels.csv").exists()
    dock.labelling._idle.start(0)
    qtbot.waitUntil((folder / "labels.csv").exists, timeout=TIME)
    settled(qtbot, dock)
    assert (folder / "labels.csv").read_text().count(",debris\n") == 1


def test_a_table_changed_by_another_program_meanwhile_is_merged_and_said(dock, folder, qtbot):
    keys = list(dock.session.rows.name)
    press(qtbot, dock.table, "123")
    dock.labelling.fold()
    settled(qtbot, dock)
    table = folder / "labels.csv"
    text = table.read_text().replace(f"{keys[1]},leukocyte", f"{keys[1]},tumour cell")
    table.write_text(f"{text}{keys[9]},debris\n")
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    come_back(qtbot, dock)
    names = ("debris", "tumour cell", "tumour cell", "debris", "debris")
    assert shown(dock) == dict(zip((*keys[:4], keys[9]), names, strict=True))
    assert warned("labels.csv was changed by another program meanwhile; both versions are merged.")
    dock.labelling.fold()
    settled(qtbot, dock)
    assert table.read_text().count("\n") == 6


def test_a_write_protected_table_is_said_and_the_labels_stay_in_the_journal(viewer, dock, folder, qtbot):
    table = folder / "labels.csv"
    press(qtbot, dock.table, "1")
    dock.labelling.fold()
    settled(qtbot, dock)
    before = table.read_text()
    table.chmod(0o444)
    press(qtbot, dock.table, "2")
    dock.labelling.fold()
    settled(qtbot, dock)
    assert "write-protected, so the labels stay in their journal" in said(dock)
    expected = shown(dock)
    close(viewer, dock)
    assert table.read_text() == before
    table.chmod(0o644)
    again = open_dock(viewer, qtbot, folder)
    assert shown(again) == expected
    close(viewer, again)
    assert table.read_text() != before


def test_a_broken_table_is_said_and_no_label_is_given(dock, folder, qtbot, viewer):
    press(qtbot, dock.table, "1")
    dock.labelling.fold()
    settled(qtbot, dock)
    (folder / "labels.csv").write_text("path,label\n../x.npy,debris\n")
    come_back(qtbot, dock)
    assert "labels.csv, line 2" in said(dock)
    assert "Until then the labels stay in labels.journal.jsonl." in said(dock)
    press(qtbot, dock.table, "2")  # the journal is sound: labels go on
    settled(qtbot, dock)
    assert len(shown(dock)) == 2
    assert len(on_disk(folder / "labels.csv")) == 2


# --------------------------------------------------------------------------------------- two windows


def test_a_second_window_reads_says_who_labels_and_may_go_on_afterwards(viewer, folder, qtbot):
    first = Journal(folder / "labels.csv", who="Ann")
    first.set_classes(["debris", "leukocyte"])
    dock = open_dock(viewer, qtbot, folder)
    assert "read-only" in dock.strip.place.text()
    assert "labels.csv is being labelled by Ann" in said(dock)  # before anybody labels in vain
    for keys in ("1", "U", "0"):
        press(qtbot, dock.table, keys)
        settled(qtbot, dock)
        assert "labels.csv is being labelled by Ann" in said(dock)
    assert len(warned("being labelled by Ann")) == 1
    assert not shown(dock)
    assert dock.session.current == 0
    key = dock.session.rows.name[3]
    first.label([key], "leukocyte")
    first.close()
    come_back(qtbot, dock)
    assert shown(dock) == {key: "leukocyte"}
    assert "read-only" not in dock.strip.place.text()
    assert "Ann" not in said(dock)
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    assert len(shown(dock)) == 2


def test_a_set_that_is_closed_can_be_opened_again_at_once(viewer, dock, folder, qtbot):
    press(qtbot, dock.table, "123")
    settled(qtbot, dock)
    expected = shown(dock)
    viewer.layers.clear()
    viewer.open(str(folder), plugin="napari-ctc")
    settled(qtbot, dock)
    assert shown(dock) == expected
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    assert not dock.labelling.book.refusal


# -------------------------------------------------------------------------------------------- the disk


def test_a_full_disk_is_said_and_the_label_is_not_shown(dock, folder, qtbot, monkeypatch):
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    expected, at = shown(dock), dock.session.current

    def full(*_):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(lines, "_write_all", full)
        for _ in range(3):
            press(qtbot, dock.table, "2")
            settled(qtbot, dock)
        assert "cannot be written: No space left on device. The last step was not kept" in said(dock)
        assert len(warned("journal.jsonl cannot be written: No space left on device")) == 1
        assert (shown(dock), dock.session.current) == (expected, at)
    press(qtbot, dock.table, "2")
    settled(qtbot, dock)
    assert "No space" not in said(dock)
    assert len(shown(dock)) == 2
    assert list(on_disk(folder / "labels.csv").values()) == ["debris", "leukocyte"]


def test_labels_of_a_read_only_folder_go_where_the_person_says(viewer, folder, qtbot, monkeypatch, tmp_path):
    take = Lock.take

    def protected(path, who):
        if path.parent == folder:
            raise PermissionError(13, "Permission denied")
        return take(path, who)

    monkeypatch.setattr(Lock, "take", protected)
    dock = open_dock(viewer, qtbot, folder)
    name_classes(qtbot, dock, ("debris",))
    assert "cannot be written: Permission denied" in said(dock)
    press(qtbot, dock.table, "3")  # no class has this key, but naming one would not help
    assert "cannot be written: Permission denied" in said(dock)
    elsewhere = tmp_path / "elsewhere.csv"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (str(elsewhere), ""))
    dock.strip.change.click()
    settled(qtbot, dock)
    assert "elsewhere.csv" in dock.strip.place.text()
    name_classes(qtbot, dock)
    press(qtbot, dock.table, "1U2")
    settled(qtbot, dock)
    expected = shown(dock)
    assert len(expected) == 3
    close(viewer, dock)
    again = open_dock(viewer, qtbot, folder)  # it is remembered
    assert shown(again) == expected
    viewer.layers.clear()
    viewer.open(str(elsewhere), plugin="napari-ctc")
    settled(qtbot, again)
    assert sorted(shown(again).values()) == ["debris", "leukocyte"]
    assert not list(folder.glob("*labels*"))


def test_labels_that_are_there_move_along(viewer, dock, folder, qtbot, monkeypatch, tmp_path):
    press(qtbot, dock.table, "1U2")
    settled(qtbot, dock)
    expected = shown(dock)
    dock.labelling.move_to(tmp_path / "moved.csv")
    settled(qtbot, dock)
    assert shown(dock) == expected
    press(qtbot, dock.table, "3")
    settled(qtbot, dock)
    expected = shown(dock)
    close(viewer, dock)
    again = open_dock(viewer, qtbot, folder)
    assert shown(again) == expected


def test_classes_keep_their_keys_and_colours_when_labels_are_kept_elsewhere(viewer, dock, folder, qtbot, tmp_path):
    names = ("tumour cell", "debris", "leukocyte", "nobody yet")
    dock.labelling.do(lambda: dock.labelling.name_classes(names, {"debris": "#123456"}))
    press(qtbot, dock.table, "32")
    settled(qtbot, dock)
    colours = [dock.session.colour(name) for name in names]
    assert colours[1] == "#123456"
    for place in ("new.csv", "there.csv"):
        if place == "there.csv":
            (tmp_path / place).write_text(f"path,label\nspecimens/{dock.session.rows.name[7]},odd\n")
        dock.labelling.move_to(tmp_path / place)
        settled(qtbot, dock)
        assert dock.session.keyed[:4] == names
        assert [dock.session.colour(name) for name in names] == colours
    close(viewer, dock)
    again = open_dock(viewer, qtbot, folder)
    assert again.session.keyed == (*names, "odd")
    assert [again.session.colour(name) for name in names] == colours


def test_labels_move_into_a_table_that_is_there_and_back(viewer, dock, folder, qtbot, tmp_path):
    other, home = tmp_path / "other.csv", folder / "labels.csv"
    keys = list(dock.session.rows.name)
    press(qtbot, dock.table, "12U")
    settled(qtbot, dock)
    other.write_text(f"path,label\nspecimens/{keys[1]},debris\nspecimens/{keys[5]},tumour cell\n")
    dock.labelling.move_to(other)
    settled(qtbot, dock)
    assert "other.csv from now on." in said(dock)
    assert "It said otherwise of 1 specimen: what was shown here counts." in said(dock)
    expected = {0: "debris", 1: "leukocyte", 2: "unsure", 5: "tumour cell"}
    assert shown(dock) == {keys[place]: name for place, name in expected.items()}
    press(qtbot, dock.table, "33")
    settled(qtbot, dock)
    expected = shown(dock)
    dock.labelling.move_to(home)
    settled(qtbot, dock)
    assert shown(dock) == expected and len(expected) == 6
    assert "otherwise" not in said(dock)
    close(viewer, dock)
    for table, prefix in ((home, ""), (other, "specimens/")):
        kept = Manifest.read(table).labelled().table
        labels = {prefix + key: name for key, name in expected.items() if name != "unsure"}
        assert dict(zip(kept["path"], kept["label"], strict=True)) == labels
    again = open_dock(viewer, qtbot, folder)
    assert shown(again) == expected


def test_what_labels_brought_into_a_table_that_is_there_is_taken_back_at_once(dock, qtbot, tmp_path):
    other, key = tmp_path / "other.csv", dock.session.rows.name[0]
    press(qtbot, dock.table, "122")
    settled(qtbot, dock)
    other.write_text(f"path,label\nspecimens/{key},tumour cell\n")
    dock.labelling.move_to(other)
    settled(qtbot, dock)
    assert sorted(shown(dock).values()) == ["debris", "leukocyte", "leukocyte"]
    press(qtbot, dock.table, "Z", CTRL)
    settled(qtbot, dock)
    assert shown(dock) == {key: "tumour cell"}


def test_labels_of_a_classifier_do_not_become_those_of_a_person_in_another_table(viewer, folder, qtbot, tmp_path):
    table, other = folder / "both.csv", tmp_path / "other.csv"
    keys = Manifest.open(folder).keys
    table.write_text(f"path,label,by\n{keys[0]},debris,person\n{keys[1]},leukocyte,classifier\n")
    other.write_text(f"path,label\nspecimens/{keys[2]},debris\n")
    dock = open_dock(viewer, qtbot, table)
    dock.labelling.move_to(other)
    settled(qtbot, dock)
    assert "Not taken along: 1 label by a classifier." in said(dock)
    close(viewer, dock)
    assert Manifest.read(other).keys == [f"specimens/{keys[2]}", f"specimens/{keys[0]}"]


# --------------------------------------------------------------------------------------- the specimens


def test_a_specimen_deleted_or_rewritten_meanwhile_is_said_and_keeps_its_label(viewer, dock, folder, qtbot):
    keys = list(dock.session.rows.name)
    press(qtbot, dock.table, "12")
    settled(qtbot, dock)
    (folder / keys[2]).unlink()
    press(qtbot, dock.table, "3")
    settled(qtbot, dock)
    assert f"{keys[2]} is labelled, but it cannot be read any more" in said(dock)
    np.save(folder / keys[0], np.zeros((64, 64, 4), np.uint16))
    expected = shown(dock)
    assert list(expected.values()) == ["debris", "leukocyte", "tumour cell"]
    dock.labelling._rechecked = 0.0
    qtbot.waitUntil(lambda: dock.labelling._recheck is None, timeout=TIME)
    come_back(qtbot, dock)
    qtbot.waitUntil(lambda: bool(warned("rewritten since, so look again")), timeout=TIME)
    sentence = warned("rewritten since, so look again")[0]
    assert f"({keys[2]}): gone or unreadable" in sentence
    assert f"({keys[0]}): rewritten" in sentence
    assert shown(dock) == expected


def test_a_file_that_is_open_twice_has_one_label(viewer, dock, folder, qtbot):
    keys = list(dock.session.rows.name)
    viewer.open([str(folder / key) for key in keys[:1]], plugin="napari-ctc")
    viewer.open(str(folder), plugin="napari-ctc")
    settled(qtbot, dock)
    dock.session.go_to(0)
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    labels = dock.session.rows.label
    assert labels[0] == labels[61] != -1
    assert dock.strip.chips.chips[0].text.text() == "1  debris  1"


def test_an_unforeseen_failure_keeps_the_keys_alive(dock, qtbot, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patch:
        patch.setattr(labellings, "digests_of", fail)
        patch.setattr(notification_manager, "receive_error", lambda *_: None)
        press(qtbot, dock.table, "1")
        settled(qtbot, dock)
    press(qtbot, dock.table, "1")
    settled(qtbot, dock)
    assert len(shown(dock)) == 1
