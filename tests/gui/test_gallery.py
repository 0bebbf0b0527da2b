"""The gallery of the dock "Predicted classes" in a real window, driven by clicks and keys."""

import numpy as np
import pytest

pytest.importorskip("napari")
from qtpy.QtCore import QPoint, Qt, QThreadPool
from qtpy.QtWidgets import QComboBox, QLineEdit, QPushButton, QTabBar

from napari_ctc.data.composites import composite, ramps
from napari_ctc.data.manifest import Manifest
from napari_ctc.gui import gallery_thumbnails
from napari_ctc.gui.open_jobs import open_paths
from napari_ctc.gui.rows import Status
from napari_ctc.review.space import Space

TIME = 60_000
PLAIN, SHIFT, CTRL = (
    Qt.KeyboardModifier.NoModifier,
    Qt.KeyboardModifier.ShiftModifier,
    Qt.KeyboardModifier.ControlModifier,
)


@pytest.fixture
def reads(monkeypatch):
    """The places of the specimens that thumbnails were made of, in order."""
    made = []
    draw = gallery_thumbnails.thumbnail

    def counting(request):
        made.append(request.place)
        return draw(request)

    monkeypatch.setattr(gallery_thumbnails, "thumbnail", counting)
    return made


@pytest.fixture
def viewer(make_napari_viewer):
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 980)
    return viewer


@pytest.fixture
def dock(viewer, qtbot):
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    qtbot.wait(50)
    return dock


def open_gallery(qtbot, viewer, dock, path):
    viewer.open(str(path), plugin="napari-ctc")
    return show_gallery(qtbot, dock)


def show_gallery(qtbot, dock):
    tabs = dock.findChild(QTabBar, "viewTabs")
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    assert dock.gallery.isVisible()
    settle(qtbot, dock)
    return dock.gallery


def settle(qtbot, dock):
    """Wait until all that is in sight has its thumbnail in the looks of now."""
    for _ in range(4):  # on a busy machine, one wait may end between two steps of the way to new thumbnails
        qtbot.wait(120)
        qtbot.waitUntil(lambda: not dock.gallery.thumbnails.busy, timeout=TIME)


def in_sight(gallery):
    height = gallery.viewport().height()
    rows = range(gallery.model().rowCount())
    places = {row: gallery.visualRect(gallery.model().index(row, 0)) for row in rows}
    return [row for row, place in places.items() if place.bottom() >= 0 and place.top() < height]


def click(qtbot, gallery, row, keys=PLAIN):
    gallery.scrollTo(gallery.model().index(row, 0))
    where = gallery.visualRect(gallery.model().index(row, 0)).center()
    qtbot.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, keys, where)


def sort_by(qtbot, dock, words):
    """Choose an order from its list by the keyboard."""
    box = dock.findChild(QComboBox, "order")
    box.setFocus()
    for _ in range(box.count()):
        qtbot.keyClick(box, Qt.Key.Key_Up)
    for _ in range(box.count()):
        if box.currentText() == words:
            return
        qtbot.keyClick(box, Qt.Key.Key_Down)
    raise AssertionError(f"{words} is not offered")


def predicted(qtbot, dock, classifier):
    dock.session.classifier = classifier
    qtbot.waitUntil(lambda: not dock.background.busy and Status.PENDING not in dock.session.status, timeout=TIME)
    qtbot.wait(50)


def pixel(gallery, row):
    """The colours painted in the middle of a thumbnail."""
    picture = gallery.viewport().grab().toImage()
    place = gallery.visualRect(gallery.model().index(row, 0))
    side = gallery._cells.side
    colour = picture.pixelColor(place.center().x(), place.y() + side // 2)
    return colour.red(), colour.green(), colour.blue()


def stack_file(folder, count, side=8):
    """A file of many specimens whose pages on disk hold only zeros."""
    path = folder / "many.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (count, side, side, 4)).flush()
    return path


def test_thumbnails_are_made_only_of_what_is_in_sight(viewer, dock, drawn_folder, reads, qtbot):
    viewer.open(str(drawn_folder), plugin="napari-ctc")
    qtbot.wait(300)
    assert not reads  # the table needs none
    gallery = show_gallery(qtbot, dock)
    seen = in_sight(gallery)
    assert 0 < len(seen) < 60
    assert set(reads) == set(seen)
    assert len(reads) == len(seen)
    bar, before = gallery.verticalScrollBar(), len(reads)
    bar.setValue(bar.maximum())
    settle(qtbot, dock)
    assert set(reads[before:]) == set(in_sight(gallery)) - set(seen)
    before = len(reads)
    bar.setValue(0)
    settle(qtbot, dock)
    assert len(reads) == before  # kept


def test_what_was_scrolled_past_is_not_made(viewer, dock, tmp_path, reads, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, stack_file(tmp_path, 5000))
    bar = gallery.verticalScrollBar()
    reads.clear()
    for value in np.linspace(0, bar.maximum(), 200, dtype=int).tolist():
        bar.setValue(value)  # no events are let in between: nothing is painted
    settle(qtbot, dock)
    assert set(reads) <= set(in_sight(gallery))


def test_thumbnails_have_the_colours_and_contrast_of_the_layers(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    stack = dock.session.stacks[0]
    for layer in viewer.layers:
        layer.visible = layer is viewer.layers[0]
    layer = viewer.layers[0]
    layer.colormap, layer.contrast_limits = "magenta", (0, 255)
    settle(qtbot, dock)
    frame = stack.frame(0)[[layer.metadata["napari_ctc"]["channel"]]]
    expected = composite(frame, ramps([(1, 0, 1)]), [(0, 255)])
    red, green, blue = pixel(gallery, 0)
    middle = expected[24:40, 24:40].reshape(-1, 3)
    assert green == 0 and red == blue
    assert middle[:, 0].min() <= red <= middle[:, 0].max()
    layer.contrast_limits = (254, 255)
    settle(qtbot, dock)
    assert max(pixel(gallery, 0)) < 200
    layer.visible = False  # what is hidden altogether keeps its last looks: a black grid is of use to nobody
    settle(qtbot, dock)
    layer.contrast_limits, layer.visible = (0, 1), True
    qtbot.waitUntil(lambda: pixel(gallery, 0) == (255, 0, 255), timeout=TIME)


def test_the_words_below_a_thumbnail_leave_its_frame_alone(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    predicted(qtbot, dock, tiny_classifier)
    settle(qtbot, dock)
    picture = gallery.viewport().grab().toImage()
    cell, side = gallery.visualRect(gallery.model().index(1, 0)), gallery._cells.side
    bottom = {picture.pixelColor(cell.x() + x, cell.y() + 6 + side + 1).name() for x in range(8, side + 4)}
    assert bottom == {dock.session.colour(dock.session.classes[dock.model.predicted(1)]).lower()}


def test_thumbnails_follow_gamma_and_colormaps_that_do_not_begin_with_black(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    for layer in viewer.layers:
        layer.visible = layer is viewer.layers[0]
    layer = viewer.layers[0]
    layer.colormap, layer.contrast_limits = "gray", (0, 255)
    settle(qtbot, dock)
    plain = pixel(gallery, 0)
    layer.gamma = 0.3
    settle(qtbot, dock)
    lighter = pixel(gallery, 0)
    assert max(lighter) > max(plain) + 20
    layer.gamma, layer.colormap = 1, "gray_r"
    settle(qtbot, dock)
    assert all(abs(255 - light - dark) <= 1 for light, dark in zip(plain, pixel(gallery, 0), strict=True))


def test_side_by_side_shows_each_channel_and_back(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    narrow = gallery.visualRect(gallery.model().index(0, 0)).width()
    button = dock.findChild(QPushButton, "apart")
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    settle(qtbot, dock)
    assert gallery.visualRect(gallery.model().index(0, 0)).width() > 3 * narrow
    picture = gallery.thumbnails.in_sight([0])[0]
    assert picture.width() > 3.5 * picture.height()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    settle(qtbot, dock)
    assert gallery.visualRect(gallery.model().index(0, 0)).width() == narrow


def test_a_click_goes_to_the_specimen_and_the_slider_selects_its_thumbnail(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    click(qtbot, gallery, 5)
    assert viewer.dims.current_step[0] == 5
    qtbot.keyClick(gallery, Qt.Key.Key_Right)
    assert viewer.dims.current_step[0] == 6
    qtbot.keyClick(gallery, Qt.Key.Key_Down)
    assert viewer.dims.current_step[0] == 6 + gallery.grid.columns
    viewer.dims.set_current_step(0, 55)
    assert dock.table.selected() == [55]
    place = gallery.visualRect(gallery.currentIndex())
    assert gallery.currentIndex().row() == 55
    assert 0 <= place.top() and place.bottom() < gallery.viewport().height()


def test_several_are_selected_in_the_gallery_and_the_table_alike(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    click(qtbot, gallery, 2)
    click(qtbot, gallery, 6, SHIFT)
    click(qtbot, gallery, 9, CTRL)
    click(qtbot, gallery, 4, CTRL)
    assert dock.table.selected() == [2, 3, 5, 6, 9]
    assert viewer.dims.current_step[0] == 4
    tabs = dock.findChild(QTabBar, "viewTabs")
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(0).center())
    assert {index.row() for index in dock.table.selectionModel().selectedRows()} == {2, 3, 5, 6, 9}
    qtbot.keyClick(gallery, Qt.Key.Key_A, CTRL)
    assert len(dock.table.selected()) == 60


def test_a_rectangle_selects_what_it_touches(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    columns = gallery.grid.columns
    start = gallery.visualRect(gallery.model().index(1, 0)).center()
    end = gallery.visualRect(gallery.model().index(columns + 2, 0)).topLeft() + QPoint(20, 5)
    view = gallery.viewport()
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=start)
    for part in range(1, 11):
        qtbot.mouseMove(view, start + (end - start) * part / 10)
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=end)
    assert dock.table.selected() == [1, 2, columns + 1, columns + 2]


def test_the_selection_stays_with_its_specimens_when_they_are_sorted(
    viewer, dock, drawn_folder, tiny_classifier, qtbot
):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    predicted(qtbot, dock, tiny_classifier)
    click(qtbot, gallery, 3)
    click(qtbot, gallery, 8, CTRL)
    for words in ("margin, most uncertain first", "label", "as opened"):
        sort_by(qtbot, dock, words)
        assert set(dock.table.selected()) == {3, 8}
    assert viewer.dims.current_step[0] == 8


def test_a_set_that_another_one_hides_keeps_its_colours_in_a_dock_opened_later(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    before = pixel(gallery, 0)
    viewer.open(str(drawn_folder / "slide_2"), plugin="napari-ctc")
    assert not any(layer.visible for layer in viewer.layers[:4])
    viewer.window.remove_dock_widget("all")
    dock = viewer.window.add_plugin_dock_widget("napari-ctc", "Predicted classes")[1]
    qtbot.waitUntil(dock.table.isVisible, timeout=TIME)
    gallery = show_gallery(qtbot, dock)
    gallery.scrollToTop()
    settle(qtbot, dock)
    assert pixel(gallery, 0) == before != (0, 0, 0)


@pytest.mark.parametrize("shown_before", [False, True])
def test_what_the_buttons_open_looks_as_on_the_canvas(viewer, dock, drawn_folder, qtbot, shown_before):
    if shown_before:
        dock.findChild(QTabBar, "viewTabs").setCurrentIndex(1)
    open_paths(viewer, drawn_folder)  # the layers come one by one
    qtbot.waitUntil(lambda: len(dock.session) == 60, timeout=TIME)
    gallery = show_gallery(qtbot, dock)
    opened = pixel(gallery, 0)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: len(dock.session) == 0, timeout=TIME)
    open_gallery(qtbot, viewer, dock, drawn_folder)
    assert opened == pixel(gallery, 0) != (255, 255, 255)


def test_orders_are_what_they_say_they_are(viewer, dock, drawn_folder, tiny_classifier, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    predicted(qtbot, dock, tiny_classifier)
    rows, model = dock.session.rows, dock.model
    sort_by(qtbot, dock, "score, highest first")  # too few specimens were held out to call it a probability
    assert (np.diff(rows.probability[model.indices]) <= 0).all()
    first_two = -np.partition(-rows.probabilities, 1, axis=1)[:, :2]
    sort_by(qtbot, dock, "margin, most uncertain first")
    assert (np.diff((first_two[:, 0] - first_two[:, 1])[model.indices]) >= -1e-6).all()
    sort_by(qtbot, dock, "label and prediction differ")
    differ = (rows.label != rows.predicted)[model.indices]
    assert not (np.diff(differ.astype(int)) > 0).any() and differ.any() and not differ.all()
    assert [title for _, title in model.groups()] == ["label and prediction differ", "label and prediction agree"]
    sort_by(qtbot, dock, "label")
    assert (np.diff(rows.label[model.indices]) >= 0).all()
    assert [title for _, title in model.groups()] == [f"labelled {name}" for name in dock.session.classes]
    viewer.dims.set_current_step(0, 20)
    qtbot.waitUntil(lambda: not dock.queue.measuring.running, timeout=TIME)  # what is not measured comes last
    sort_by(qtbot, dock, "most like the selected one")
    assert model.indices[0] == 20
    qtbot.mouseClick(dock.findChild(QPushButton, "reverse"), Qt.MouseButton.LeftButton)
    assert model.indices[-1] == 20
    assert gallery.grid.count == 60


def test_specimens_are_alike_by_what_is_measured_before_anything_is_predicted(viewer, dock, drawn_folder, qtbot):
    viewer.open(str(drawn_folder), plugin="napari-ctc")
    box = dock.findChild(QComboBox, "order")
    item = box.model().item(box.findText("most like the selected one"))
    assert not item.isEnabled()  # nothing is measured yet
    show_gallery(qtbot, dock)
    measuring, model = dock.queue.measuring, dock.model
    qtbot.waitUntil(lambda: not measuring.running, timeout=TIME)
    assert item.isEnabled()
    viewer.dims.set_current_step(0, 20)
    sort_by(qtbot, dock, "most like the selected one")
    assert model.indices[0] == 20
    values = Space.of(measuring.features_of(dock.session.rows.ids)).values
    apart = np.linalg.norm(values - values[20], axis=1)
    assert (np.diff(apart[model.indices]) >= -1e-3).all()
    assert not model.by_prediction


def test_the_filter_of_the_table_holds_for_the_gallery(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    qtbot.keyClicks(dock.findChild(QLineEdit, "filterText"), "slide_2")
    few = int((dock.session.rows.source == "slide_2").sum())
    assert 0 < few < 60
    assert gallery.grid.count == few
    click(qtbot, gallery, 1)
    assert dock.session.rows.source[viewer.dims.current_step[0]] == "slide_2"


def test_an_unreadable_specimen_says_so_and_the_others_are_shown(viewer, dock, own_folder, qtbot):
    path = sorted((own_folder / "slide_1").iterdir())[0]
    gallery = open_gallery(qtbot, viewer, dock, own_folder)
    path.write_bytes(path.read_bytes()[:300])
    dock.gallery.thumbnails._begin_edition()
    settle(qtbot, dock)
    broken = dock.session.rows.name.tolist().index(path.relative_to(own_folder).as_posix())
    images = gallery.thumbnails.in_sight([broken, (broken + 1) % 60])
    assert images[0].isNull() and not images[1].isNull()


def test_kept_thumbnails_are_bound_by_memory(viewer, dock, drawn_folder, monkeypatch, qtbot):
    monkeypatch.setattr(gallery_thumbnails, "MEMORY", 10 * 64 * 64 * 4)
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    bar = gallery.verticalScrollBar()
    for value in range(0, bar.maximum() + 1, gallery.grid.height):
        bar.setValue(value)
        settle(qtbot, dock)
    kept, seen = gallery.thumbnails._kept, in_sight(gallery)
    assert len(kept) <= max(10, len(seen))
    assert set(dock.session.rows.ids[seen]) <= set(kept)
    assert gallery.thumbnails._bytes == sum(image.sizeInBytes() for _, image in kept.values())


def test_100_000_specimens_open_and_scroll(viewer, dock, tmp_path, reads, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, stack_file(tmp_path, 100_000))
    assert gallery.grid.count == 100_000
    assert len(set(reads)) < 200
    qtbot.keyClick(gallery, Qt.Key.Key_End)
    settle(qtbot, dock)
    assert viewer.dims.current_step[0] == 99_999
    assert 99_999 in reads and len(set(reads)) < 400


def test_the_gallery_follows_the_theme(viewer, dock, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)

    def background():
        view = gallery.viewport()
        return view.grab().toImage().pixelColor(view.width() - 2, view.height() - 2).lightness()

    sort_by(qtbot, dock, "label")
    viewer.theme = "dark"
    qtbot.wait(50)
    dark = background()
    viewer.theme = "light"
    qtbot.wait(50)
    assert background() > dark + 100


def test_closing_the_dock_while_thumbnails_are_made_leaves_no_thread(viewer, dock, tmp_path, monkeypatch, qtbot):
    import time

    draw = gallery_thumbnails.thumbnail
    begun = []

    def slow(request):
        begun.append(request)
        time.sleep(0.02)
        return draw(request)

    monkeypatch.setattr(gallery_thumbnails, "thumbnail", slow)
    viewer.open(str(stack_file(tmp_path, 3000)), plugin="napari-ctc")
    tabs = dock.findChild(QTabBar, "viewTabs")
    qtbot.mouseClick(tabs, Qt.MouseButton.LeftButton, pos=tabs.tabRect(1).center())
    qtbot.waitUntil(lambda: len(begun) > 2)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: QThreadPool.globalInstance().activeThreadCount() == 0, timeout=TIME)
    many = len(begun)
    qtbot.wait(100)
    assert len(begun) == many < 40
    for layer in list(viewer.layers):
        layer.visible = not layer.visible  # nobody is left to hear it


def test_two_sets_are_each_shown_in_their_own_looks(viewer, dock, own_folder, drawn_folder, qtbot):
    gallery = open_gallery(qtbot, viewer, dock, drawn_folder)
    viewer.open(str(own_folder / "slide_1"), plugin="napari-ctc")
    dock.session.go_to(0)  # hides the layers of the other set
    settle(qtbot, dock)
    gallery.verticalScrollBar().setValue(gallery.verticalScrollBar().maximum())
    settle(qtbot, dock)
    last = len(dock.session) - 1
    picture = gallery.thumbnails.in_sight([last])[0]
    assert picture.width() == Manifest.open(own_folder / "slide_1").specimen(0).shape[1]
    colours = {picture.pixelColor(x, y).lightness() for x in range(0, 64, 4) for y in range(0, 64, 4)}
    assert len(colours) > 5  # not black
