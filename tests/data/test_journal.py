import json
import os
import platform
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from napari_ctc.data.history import Pick
from napari_ctc.data.journal import Journal
from napari_ctc.data.journal_file import journal_path
from napari_ctc.data.labels import Label, LabelTable
from napari_ctc.data.manifest import Manifest
from napari_ctc.data.recheck import recheck
from napari_ctc.data.specimens import content_digest, read_specimen
from napari_ctc.errors import CTCError, JournalError, ManifestError
from napari_ctc.events import run

TABLE = "path,label,source\na.npy,debris,s1\nb.npy,,s1\nc.npy,,s2\n"


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text(TABLE)
    for name in "abc":
        np.save(tmp_path / f"{name}.npy", np.full((8, 9, 4), ord(name), np.uint8))
    return path


def names(journal):
    """What a window would show: the class, or "?" for unsure."""
    return {key: "?" if label.unsure else label.name for key, label in journal.history.labels().items()}


def entries(table):
    return [json.loads(line) for line in journal_path(table).read_text("utf-8").splitlines()]


def abandon(journal):
    """End as a killed process does: nothing is folded, and the system takes the lock back."""
    journal._on_disk.close()


# ------------------------------------------------------------------------------------- durability

LABELLER = """
import sys
from napari_ctc.data.journal import Journal
journal = Journal(sys.argv[1])
number = len(journal.history.given)
while True:
    number += 1
    journal.label([f"{number}.npy"], "debris")
    print(number, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killing_at_any_moment_loses_no_label_that_was_shown(tmp_path):
    table, chance = tmp_path / "labels.csv", random.Random(0)
    before = 0
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", LABELLER, str(table)], stdout=subprocess.PIPE, text=True)
        process.stdout.readline()
        time.sleep(chance.random() / 20)
        process.send_signal(signal.SIGKILL)
        shown = process.communicate()[0].split()
        journal = Journal(table)  # and the lock went with the process
        assert not journal.read_only
        kept = len(journal.history.given)
        assert kept > before
        assert not shown or int(shown[-1]) <= kept <= int(shown[-1]) + 1
        assert all(journal.history.label_of(f"{n}.npy").name == "debris" for n in range(1, kept + 1))
        before = kept
        abandon(journal)


def test_a_line_cut_short_is_set_aside_and_the_earlier_ones_count(table):
    journal = Journal(table)
    journal.label(["b.npy"], "tumour cell")
    abandon(journal)
    with journal_path(table).open("ab") as file:
        file.write(b'{"entry":"labelled","step":2,"key":"c.n')
    with Journal(table) as journal:
        assert names(journal) == {"a.npy": "debris", "b.npy": "tumour cell"}
        journal.label(["c.npy"], "debris")
    assert [entry["text"] for entry in entries(table) if entry["entry"] == "torn"] == [
        '{"entry":"labelled","step":2,"key":"c.n'
    ]
    with Journal(table) as journal:
        assert not journal.notes
        assert names(journal)["c.npy"] == "debris"


def test_damaged_lines_are_named_and_passed_over_and_newer_entries_too(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "debris")
        journal.label(["c.npy"], "debris")
    lines = journal_path(table).read_text().splitlines()
    place = next(place for place, line in enumerate(lines) if '"key":"b.npy"' in line)
    lines[place] = lines[place][:30]
    lines[-1:-1] = ["[1, 2]", '{"entry":"labelled","step":"x"}', '{"entry":"from the future","x":1}']
    table.write_text(TABLE)
    journal_path(table).write_text("\n".join(lines) + "\n")
    with Journal(table) as journal:
        (note, _) = journal.notes
        assert f"line {place + 1}, {len(lines) - 3}, {len(lines) - 2}" in note
        assert names(journal) == {"a.npy": "debris", "c.npy": "debris"}  # put back from the journal


def test_labels_of_several_specimens_are_one_write_and_one_step(table, monkeypatch):
    with Journal(table) as journal:
        journal.label(["a.npy"], "debris")
        writes, write = [], os.write
        monkeypatch.setattr(os, "write", lambda handle, data: writes.append(len(data)) or write(handle, data))
        changes = journal.label(["b.npy", "c.npy", "b.npy"], "tumour cell")
        monkeypatch.undo()
        assert [change.key for change in changes] == ["b.npy", "c.npy"]
        assert len(writes) == 1
        journal.undo()
        assert names(journal) == {"a.npy": "debris"}


def test_an_entry_tells_when_who_what_and_how(table):
    with Journal(table, who="Ann") as journal:
        pick = Pick("random", "hidden", round=2)
        journal.label(["a.npy"], "tumour cell", pick, predicted={"a.npy": "debris"}, digests={"a.npy": "0123"})
    entry = next(entry for entry in entries(table) if entry["entry"] == "labelled")
    assert entry.pop("when").endswith("+00:00")
    assert entry == {
        "entry": "labelled",
        "who": "Ann",
        "step": 1,
        "key": "a.npy",
        "label": "tumour cell",
        "was": "debris",
        "picked": "random",
        "prediction": "hidden",
        "predicted": "debris",
        "digest": "0123",
        "round": 2,
    }


# ----------------------------------------------------------------------------------- undo and redo


def test_undo_and_redo_follow_a_simple_model_through_closing_and_folding(table):
    chance, keys = random.Random(1), ["a.npy", "b.npy", "c.npy", "d.npy"]
    states, place = [{"a.npy": "debris"}], 0  # every state so far, and which one stands
    journal = Journal(table)
    for _ in range(300):
        action = chance.choice(
            ["label", "label", "label", "clear", "unsure", "undo", "undo", "redo", "rename", "shut"]
        )
        some, state = chance.sample(keys, chance.randint(1, 3)), dict(states[place])
        if action == "label":
            name = chance.choice(["debris", "tumour cell", "leukocyte"])
            journal.label(some, name)
            state |= dict.fromkeys(some, name)
        elif action == "clear":
            journal.clear(some)
            state = {key: name for key, name in state.items() if key not in some}
        elif action == "unsure":
            journal.unsure(some)
            state |= dict.fromkeys(some, "?")
        elif action == "rename":
            old, new = chance.sample(["debris", "tumour cell", "leukocyte"], 2)
            if old not in journal.history.classes:
                continue
            journal.rename_class(old, new)
            state = {key: new if name == old else name for key, name in state.items()}
        elif action == "shut":
            chance.choice([Journal.close, abandon, Journal.fold])(journal)
            abandon(journal)
            journal = Journal(table)
            assert not journal.notes
        elif action == "undo":
            before = names(journal)
            changed = journal.undo()
            assert place or not changed
            place = max(0, place - 1)
            assert {c.key for c in changed if before.get(c.key) != names(journal).get(c.key)} == {
                key for key in keys if before.get(key) != states[place].get(key)
            }
        else:
            place = min(place + 1, len(states) - 1)
            journal.redo()
        if action in ("label", "clear", "unsure", "rename"):
            states, place = [*states[: place + 1], state], place + 1
        assert names(journal) == states[place]
    abandon(journal)
    with Journal(table) as journal:
        assert names(journal) == states[place]
    labels = Manifest.read(table).labelled().table
    shown = {key: name for key, name in states[place].items() if name != "?"}
    assert dict(zip(labels["path"], labels["label"], strict=True)) == shown


def test_undo_leaves_alone_what_somebody_else_changed_since(table):
    with Journal(table) as journal:
        journal.label(["b.npy", "c.npy"], "debris")
    table.write_text(TABLE.replace("b.npy,", "b.npy,tumour cell").replace("c.npy,", "c.npy,debris"))
    with Journal(table) as journal:
        assert [change.key for change in journal.undo()] == ["c.npy"]
        assert names(journal) == {"a.npy": "debris", "b.npy": "tumour cell"}


# ------------------------------------------------------------------------------------------ classes


def test_a_class_is_renamed_or_merged_and_the_order_of_the_keys_stays(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "tumour cell")
        journal.label(["c.npy"], "Artefakt")
        assert journal.history.classes == ("debris", "tumour cell", "Artefakt")
        journal.rename_class("debris", "cell debris")
    with Journal(table) as journal:
        assert journal.history.classes == ("cell debris", "tumour cell", "Artefakt")
        journal.rename_class("Artefakt", "cell debris")
        assert names(journal) == {"a.npy": "cell debris", "b.npy": "tumour cell", "c.npy": "cell debris"}
        assert journal.history.classes == ("cell debris", "tumour cell")
        journal.undo()
        assert names(journal)["c.npy"] == "Artefakt"
        assert journal.history.classes == ("cell debris", "tumour cell", "Artefakt")
        journal.set_classes(["tumour cell", "new one", "Artefakt"])
        assert journal.history.classes == ("tumour cell", "new one", "Artefakt", "cell debris")
        with pytest.raises(JournalError, match="No class is called 'debris'"):
            journal.rename_class("debris", "x")
        for name in ("  ", "two\nlines", "\ud800"):
            with pytest.raises(JournalError):
                journal.label(["a.npy"], name)


# ------------------------------------------------------------------------------------------- locks


def test_a_name_typed_with_other_characters_that_look_the_same_is_the_class_that_exists(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "caf\u00e9")
        journal.label(["c.npy"], "cafe\u0301")
        assert journal.history.classes == ("debris", "caf\u00e9")
        journal.rename_class("debris", "cafe\u0301")
        assert journal.history.classes == ("caf\u00e9",)


def test_a_second_window_opens_for_reading_and_says_who_labels(table):
    with Journal(table, who="Ann") as first:
        first.label(["b.npy"], "debris")
        with Journal(table, who="Bob") as second:
            assert f"labels.csv is being labelled by Ann on {platform.node()}" in second.read_only
            assert names(second)["b.npy"] == "debris"
            for act in (lambda: second.label(["c.npy"], "debris"), second.fold):
                with pytest.raises(JournalError, match="Ann"):
                    act()
        first.label(["c.npy"], "debris")
    with Journal(table) as third:
        assert not third.read_only
    assert sorted(path.name for path in table.parent.glob(".*")) == []
    with pytest.raises(JournalError, match="closed"):
        third.undo()


# -------------------------------------------------------------------------------------- the manifest

FORMS = {
    "header and more columns": (
        'path,label,remark,source\na.npy,debris,"x, y",s1\nb.npy,,,s2\n',
        'path,label,remark,source\na.npy,tumour cell,"x, y",s1\nb.npy,,,s2\nn.npy,debris,,s9\n',
    ),
    "no header": ("b.npy,\na.npy,debris\n", "b.npy,\na.npy,tumour cell\nn.npy,debris\n"),
    "no header, one column": ("b.npy\na.npy\n", "b.npy\na.npy,tumour cell\nn.npy,debris\n"),
    "semicolons for Excel": (
        "\ufeffsource;label;path\r\ns1;debris;a.npy\r\ns1;;b.npy\r\n",
        "\ufeffsource;label;path\r\ns1;tumour cell;a.npy\r\ns1;;b.npy\r\ns9;debris;n.npy\r\n",
    ),
    "tabs, no line end": ("Path\tLabel\na.npy\tdebris", "Path\tLabel\na.npy\ttumour cell\nn.npy\tdebris\n"),
    "old Macintosh": ("path,label\ra.npy,debris\r", "path,label\ra.npy,tumour cell\rn.npy,debris\r"),
    "quotation marks": (
        '"path","label","note"\n"a.npy","debris","say ""hi"",\nthere"\n',
        '"path","label","note"\n"a.npy","tumour cell","say ""hi"",\nthere"\nn.npy,debris,\n',
    ),
    "blank lines, spaces, backslashes": (
        "\n;\n path ; label \n\n sub\\b.npy ; x \n a.npy ; debris \n;\n",
        "\n;\n path ; label \n\n sub\\b.npy ; x \n a.npy ;tumour cell\n;\nn.npy;debris\n",
    ),
    "no column of labels": (
        "path,x\na.npy,1\nb.npy,2\n",
        "path,x,label\na.npy,1,tumour cell\nb.npy,2,\nn.npy,,debris\n",
    ),
    "authors": (
        "path,label,by\na.npy,debris,classifier\nb.npy,x,classifier\n",
        "path,label,by\na.npy,tumour cell,person\nb.npy,x,classifier\nn.npy,debris,person\n",
    ),
}


@pytest.mark.parametrize(("before", "after"), FORMS.values(), ids=FORMS)
def test_a_manifest_keeps_its_form_its_order_and_its_columns(tmp_path, before, after):
    table = tmp_path / "mine.csv"
    table.write_bytes(before.encode())
    with Journal(table) as journal:
        journal.label(["a.npy"], "tumour cell")
        journal.label(["n.npy"], "debris")
        journal.unsure(["u.npy"])
        journal.fold(sources={"n.npy": "s9"})
    assert table.read_bytes().decode() == after
    assert (tmp_path / "mine.backup.csv").read_bytes().decode() == before
    assert Manifest.read(table).keys


def test_a_table_without_labels_stays_as_it_is_when_none_are_given(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("path,source\na.npy,s1\n")
    with Journal(table):
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["labels.csv"]
    with Journal(table) as journal:
        journal.unsure(["a.npy"])
    assert table.read_text() == "path,source\na.npy,s1\n"


@pytest.mark.parametrize("mark", [",", ";", "\t"])
@pytest.mark.parametrize("name", ["big, round", "big; round; dark", 'a "tab"\t'])
def test_a_class_name_with_a_mark_that_separates_cells_leaves_the_table_readable(tmp_path, mark, name):
    table = tmp_path / "mine.csv"
    table.write_text(f"a.npy{mark}debris\nb.npy{mark}\n")
    with Journal(table) as journal:
        journal.label(["a.npy", "b.npy"], name.strip())
    assert list(Manifest.read(table).table["label"]) == [name.strip()] * 2


def test_a_label_taken_back_after_folding_restores_the_cell(tmp_path):
    table = tmp_path / "labels.csv"
    text = "path,label,by\na.npy,debris,classifier\n"
    table.write_text(text)
    with Journal(table) as journal:
        journal.label(["a.npy"], "debris")  # a person confirms what the classifier said
        journal.fold()
        assert table.read_text() == "path,label,by\na.npy,debris,person\n"
        journal.undo()
    assert table.read_text() == text


def test_an_unlabelled_folder_gets_a_table_of_its_labelled_specimens(own_folder):
    (own_folder / "manifest.csv").unlink()
    folder = Manifest.from_folder(own_folder)
    first, second, third = folder.keys[:3]
    with Journal(own_folder / "labels.csv") as journal:
        journal.unsure([third])
        assert not journal.fold().written
        assert not (own_folder / "labels.csv").exists()
        journal.label([first, second], 'a "rare", cell')
    labelled = Manifest.from_folder(own_folder).labelled()
    assert labelled.keys == [first, second]
    assert labelled.classes == ('a "rare", cell',)
    assert not list(own_folder.glob("*backup*"))


def test_unsure_is_kept_and_never_trained_on(table):
    with Journal(table) as journal:
        journal.unsure(["a.npy", "b.npy"])
    assert not len(Manifest.read(table).labelled())
    with Journal(table) as journal:
        assert names(journal) == {"a.npy": "?", "b.npy": "?"}
        journal.clear(["a.npy"])
        assert names(journal) == {"b.npy": "?"}


def test_every_form_that_somebody_else_wrote_is_kept_once(table):
    for name in ("x", "y"):
        with Journal(table) as journal:
            journal.label(["b.npy"], name)  # over our own form: no backup
    other = "path,label\na.npy,z\nb.npy,y\n"
    table.write_text(other)
    with Journal(table) as journal:
        journal.label(["a.npy"], "x")
    backups = {path.name: path.read_text() for path in table.parent.glob("*backup*")}
    assert backups == {"labels.backup.csv": TABLE, "labels.backup-2.csv": other}


# ------------------------------------------------------------------------ changed by somebody else


def test_what_another_program_wrote_meanwhile_is_merged_by_specimen(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "debris")
        # their file has another order, a changed label, one that conflicts, a new row and a new column
        table.write_text("label,path,x\nleukocyte,c.npy,1\ntumour cell,b.npy,2\ndebris,d.npy,3\nrare,a.npy,4\n")
        folded = journal.fold()
        assert "changed by another program" in folded.notes[0]
        assert "1 label was changed here and there" in folded.notes[1]
        assert {change.key: change.now.name for change in folded.changes} == {
            "a.npy": "rare",
            "c.npy": "leukocyte",
            "d.npy": "debris",
        }
    assert table.read_text() == "label,path,x\nleukocyte,c.npy,1\ndebris,b.npy,2\ndebris,d.npy,3\nrare,a.npy,4\n"
    (lost,) = [entry for entry in entries(table) if entry["entry"] == "merged"]
    assert (lost["key"], lost["label"], lost["theirs"], lost["kept"]) == ("b.npy", "debris", "tumour cell", "ours")
    with Journal(table) as journal:
        assert not journal.notes  # said once


def test_their_later_change_of_a_folded_label_is_taken_over(table):
    with Journal(table) as journal:
        journal.label(["b.npy", "c.npy"], "debris")
    table.write_text(table.read_text().replace("b.npy,debris", "b.npy,tumour cell"))
    with Journal(table) as journal:
        assert journal.notes == ("labels.csv: 1 label was changed there since, and taken over.",)
        assert names(journal)["b.npy"] == "tumour cell"
    assert "b.npy,tumour cell" in table.read_text()


def test_a_stale_copy_saved_over_the_manifest_takes_no_label_away(table):
    with Journal(table) as journal:
        journal.label(["b.npy", "n.npy", "gone.npy"], "debris")
        np.save(table.parent / "n.npy", np.zeros((8, 9, 4), np.uint8))
        journal.fold()
        table.write_text(TABLE)
        folded = journal.fold()
    assert any("2 labels were given here and gone there, and put back" in note for note in folded.notes)
    assert table.read_text() == TABLE.replace("b.npy,", "b.npy,debris") + "n.npy,debris,\n"


def test_a_deleted_manifest_is_written_again(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "debris")
        table.unlink()
        assert "deleted by another program" in journal.fold().notes[0]
    assert table.read_text() == TABLE.replace("b.npy,", "b.npy,debris")


def test_a_manifest_that_cannot_be_read_any_more_stays_and_so_do_the_labels(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "debris")
        table.write_text("nonsense")
        with pytest.raises(ManifestError):
            journal.fold()
        assert table.read_text() == "nonsense"
        table.write_text(TABLE)
    assert "b.npy,debris" in table.read_text()


def test_a_crash_between_manifest_and_journal_merges_with_itself(table, monkeypatch):
    journal = Journal(table)
    journal.label(["b.npy"], "debris")
    before = journal_path(table).read_bytes()
    journal.fold()
    abandon(journal)
    journal_path(table).write_bytes(before)
    with Journal(table) as journal:
        assert not journal.notes
        assert names(journal) == {"a.npy": "debris", "b.npy": "debris"}


# --------------------------------------------------------------------------------------- bad disks


def test_a_full_disk_changes_nothing_and_says_so(table, monkeypatch):
    journal = Journal(table)
    journal.label(["a.npy"], "debris")
    before, write, writes = journal_path(table).read_bytes(), os.write, []

    def fill_up(handle, data):
        if writes:
            raise OSError(28, "No space left on device")
        writes.append(1)
        return write(handle, data[:20])

    monkeypatch.setattr(os, "write", fill_up)
    with pytest.raises(JournalError, match=r"labels\.journal\.jsonl cannot be written: No space left"):
        journal.label(["b.npy", "c.npy"], "tumour cell")
    assert journal_path(table).read_bytes() == before
    assert names(journal) == {"a.npy": "debris"}
    assert journal.history.classes == ("debris",)
    # and where not even that part can be cut off again, the next label starts on a line of its own
    writes.clear()
    monkeypatch.setattr(os, "ftruncate", lambda *_: fill_up(0, b""))
    with pytest.raises(JournalError):
        journal.label(["b.npy"], "tumour cell")
    monkeypatch.undo()
    journal.label(["c.npy"], "tumour cell")
    abandon(journal)
    with Journal(table) as journal:
        assert "damaged" in journal.notes[0]
        assert names(journal) == {"a.npy": "debris", "c.npy": "tumour cell"}


FILLER = """
import resource, sys
from napari_ctc.data.journal import Journal
from napari_ctc.errors import JournalError
journal = Journal(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))
for number in range(1000):
    try:
        journal.label([f"{number}.npy"], "debris")
    except JournalError as problem:
        assert "cannot be written: File too large" in str(problem), problem
        print(number, len(journal.history.given))
        break
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
def test_a_limit_that_the_system_sets_loses_no_earlier_label(tmp_path):
    table = tmp_path / "labels.csv"
    done = subprocess.run([sys.executable, "-c", FILLER, str(table)], capture_output=True, text=True, check=True)
    number, held = map(int, done.stdout.split())
    assert 5 < number == held
    with Journal(table) as journal:
        assert not journal.notes
        assert len(journal.history.given) == number
        assert journal.label(["x.npy"], "debris")


def test_a_folder_that_cannot_be_written_to_opens_for_reading(table, monkeypatch):
    if hasattr(os, "geteuid") and os.geteuid() == 0:  # who may write anywhere: let the system say no
        plain = os.open
        monkeypatch.setattr(
            os, "open", lambda path, flags, *rest, **more: _refuse() if flags & os.O_CREAT else plain(path, flags)
        )
    table.parent.chmod(0o555)
    try:
        with Journal(table) as journal:
            assert "cannot be written" in journal.read_only
            assert names(journal) == {"a.npy": "debris"}
            with pytest.raises(JournalError, match="open for reading only"):
                journal.label(["b.npy"], "debris")
    finally:
        table.parent.chmod(0o755)
    assert sorted(path.name for path in table.parent.iterdir()) == ["a.npy", "b.npy", "c.npy", "labels.csv"]


def _refuse():
    raise PermissionError(13, "Permission denied")


def test_a_write_protected_manifest_is_left_alone(table):
    table.chmod(0o444)
    with pytest.raises(CTCError, match="write-protected"), Journal(table) as journal:
        journal.label(["b.npy"], "debris")
    assert table.read_text() == TABLE
    table.chmod(0o640)
    with Journal(table) as journal:
        assert names(journal)["b.npy"] == "debris"
    assert "b.npy,debris" in table.read_text()
    assert table.stat().st_mode & 0o777 == 0o640


def test_a_journal_that_is_deleted_while_open_is_written_again(table):
    with Journal(table) as journal:
        journal.label(["b.npy"], "debris")
        journal_path(table).unlink()
        journal.label(["c.npy"], "debris")
        assert [entry["key"] for entry in entries(table) if entry["entry"] == "labelled"] == ["b.npy", "c.npy"]


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    with pytest.raises(JournalError, match="is not a folder"):
        Journal(tmp_path / "nowhere" / "labels.csv")


# ------------------------------------------------------------------------------ what it is good for


def test_only_blind_random_labels_count_towards_rates(table):
    with Journal(table) as journal:
        one, two = Pick("random", "hidden", round=1), Pick("random", "none", round=2)
        journal.label(["a.npy"], "debris", one)
        journal.unsure(["b.npy"], one)
        journal.label(["c.npy"], "debris", one)
        journal.undo()
        journal.label(["d.npy"], "rare", two)
        journal.label(["e.npy"], "rare", Pick("rare", "hidden"))
        journal.label(["f.npy"], "rare", Pick("random", "visible", round=2))
        journal.label(["d.npy"], "debris", Pick("review", "visible"))  # the blind judgement stays what it was
        journal.rename_class("rare", "tumour cell")
        expected = {
            1: {"a.npy": Label("debris", by="person"), "b.npy": Label(unsure=True)},
            2: {"d.npy": Label("tumour cell", by="person")},
        }
        assert journal.history.random_labels() == expected
    with Journal(table) as journal:
        assert journal.history.random_labels() == expected


def test_specimens_deleted_or_rewritten_since_are_named(table):
    folder = table.parent
    digests = {f"{name}.npy": content_digest(read_specimen(folder / f"{name}.npy")) for name in "abc"}
    with Journal(table) as journal:
        journal.label(digests, "debris", digests=digests)
    (folder / "a.npy").unlink()
    np.save(folder / "b.npy", np.zeros((8, 9, 4), np.uint8))
    with Journal(table) as journal:
        found = run(recheck(list(journal.history.labels()), journal.history.digests, journal.manifest.parent))
    assert (found.missing, found.rewritten) == (("a.npy",), ("b.npy",))
    assert found.sentence == (
        "1 labelled specimen (a.npy): gone or unreadable; 1 labelled specimen (b.npy): rewritten since, so look "
        "again. The labels are kept."
    )


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "rows",
    [
        ["path,label,by", "a.npy,debris,person", "b/c.npy,,", " d.npy , debris,classifier"],
        ["source;path;label", "s1;a.npy;debris", "s2;b/c.npy;", "s2;d.npy;x"],
        ["a.npy,debris", "b/c.npy,", "d.npy,x"],
    ],
)
def test_a_plain_table_is_written_as_one_that_is_looked_at_row_by_row(tmp_path, rows, end, mark):
    path = tmp_path / "labels.csv"
    changes = {"b/c.npy": Label("leukocyte", by="person"), "d.npy": Label(), "new.npy": Label("debris")}
    for last in ("", end):
        plain = (mark + end.join(rows) + last).encode()
        odd = (mark + end.join([rows[0], "", *rows[1:]]) + last).encode()  # with a blank row
        expected = LabelTable.of(path, odd).with_labels(changes, {}).decode().replace(f"{end}{end}", end, 1)
        assert LabelTable.of(path, plain).with_labels(changes, {}).decode() == expected
        assert LabelTable.of(path, plain).with_labels({}, {}) == plain


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
@pytest.mark.parametrize("content", [b"", b"path,label\na.npy,debris\n"])
def test_labels_of_files_with_odd_names_are_read_again(tmp_path, content):
    path = tmp_path / "labels.csv"
    labels = {name: Label("debris") for name in (" first.npy", "slide_1\\cell.npy", "b.npy")}
    before = LabelTable.of(path, content) if content else LabelTable()
    after = LabelTable.of(path, before.with_labels(labels, {}))
    assert set(after.labels) == set(labels) | set(before.labels)
    again = LabelTable.of(path, after.with_labels({" first.npy": Label("tumour cell")}, {}))
    assert again.labels[" first.npy"].name == "tumour cell"
    assert len(again.labels) == len(after.labels)


# -------------------------------------------------------------------------- whoever reads the table alone


def test_labels_of_a_killed_window_count_for_whoever_reads_the_table(table):
    np.save(table.parent / "d.npy", np.zeros((8, 9, 4), np.uint8))
    journal = Journal(table)
    journal.label(["b.npy", "d.npy"], "cell")
    journal.clear(["a.npy"])
    journal.label(["gone.npy"], "cell")
    for manifest in (Manifest.read(table), Manifest.open(table.parent)):
        assert dict(zip(manifest.keys, manifest.table["label"], strict=True)) == {
            "a.npy": "",
            "b.npy": "cell",
            "c.npy": "",
            "d.npy": "cell",
        }
        assert list(manifest.table["source"][:3]) == ["s1", "s1", "s2"]
        assert manifest.notes == (
            "3 labels that labels.csv does not have yet are taken from labels.journal.jsonl.",
        )
    abandon(journal)
    with Journal(table):
        pass  # folds them
    assert Manifest.read(table).notes == ()
    assert Manifest.read(table).counts(["cell"]) == [3]  # with the one whose file is gone


def test_labels_of_a_killed_window_count_where_no_table_was_written_yet(table):
    table.unlink()
    (table.parent / "slide").mkdir()
    np.save(table.parent / "slide/d.npy", np.zeros((8, 9, 4), np.uint8))
    journal = Journal(table)
    journal.label(["a.npy", "slide/d.npy"], "cell")
    manifest = Manifest.open(table.parent, subfolders="label")
    assert manifest.classes == ("cell",)  # and no class "slide"
    assert len(manifest) == 4
    assert manifest.labels_file == table
    abandon(journal)


def test_a_journal_that_cannot_be_read_is_told_and_the_table_is_read(table):
    journal_path(table).mkdir()
    manifest = Manifest.read(table)
    assert list(manifest.table["label"]) == ["debris", "", ""]
    assert "labels.journal.jsonl cannot be read" in manifest.notes[0]
