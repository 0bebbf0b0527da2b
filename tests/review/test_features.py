from __future__ import annotations

import numpy as np
import pytest

from napari_ctc.data.manifest import Manifest
from napari_ctc.errors import Stopped
from napari_ctc.events import Measured, Skipped, run
from napari_ctc.review.features import FIRST, feature_count, features_of, measure


def some(shape, count=3, dtype=np.uint16):
    return list(np.random.default_rng(0).integers(0, 200, (count, *shape)).astype(dtype))


def test_four_channels_give_at_most_256_features():
    assert features_of(some((64, 64, 4))).shape == (3, feature_count(4))
    assert feature_count(4) <= 256


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (5, 64, 2), (80, 40, 3)])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float16", "float32", "float64"])
def test_any_size_and_dtype_can_be_measured(shape, dtype):
    found = features_of(some(shape, dtype=dtype))
    assert found.dtype == np.float32 and np.isfinite(found).all()


def test_constant_channels_holes_and_huge_values_give_numbers():
    specimen = np.full((20, 20, 4), 1e6 / 3)
    specimen[:, :, 1] = np.nan
    specimen[:10, :, 2] = 3e38
    specimen[3, 4, 3] = np.inf
    assert np.isfinite(features_of([specimen])).all()
    assert np.array_equal(features_of([np.full((9, 9, 1), 7)]), features_of([np.full((9, 9, 1), 7.0)]))


def test_a_turned_or_mirrored_specimen_measures_the_same():
    y, x = np.mgrid[:40, :40]
    specimen = np.exp(-(((x - 15) / 4) ** 2) - ((y - 22) / 8) ** 2)[:, :, None] * [900, 400] + [10, 20]
    found = features_of([specimen, np.rot90(specimen), specimen[:, ::-1], specimen.transpose(1, 0, 2)])
    assert np.allclose(found, found[0], rtol=1e-3, atol=2e-3)


def test_two_lobes_differ_from_one_of_the_same_brightness():
    y, x = np.mgrid[:32, :32] - 15.5
    two = np.exp(-((abs(x) - 6) ** 2 + y**2) / 9)
    one = np.sort(two.ravel())[::-1][np.argsort(np.argsort(np.hypot(x, y).ravel()))].reshape(32, 32)
    found = features_of([two[:, :, None], one[:, :, None]])
    assert abs(found[0] - found[1]).max() > 0.1


def test_the_batch_makes_no_difference():
    specimens = some((24, 24, 2), count=5)
    alone = np.concatenate([features_of([one]) for one in specimens])
    assert np.allclose(features_of(specimens), alone, rtol=1e-4, atol=1e-4)


def test_each_specimen_is_measured_once_and_the_first_come_early(drawn_manifest):
    events = []
    values = run(measure(drawn_manifest), events.append)
    measured = [event for event in events if isinstance(event, Measured)]
    assert len(measured[0].rows) == FIRST < len(drawn_manifest)
    assert sorted(row for event in measured for row in event.rows) == list(range(len(drawn_manifest)))
    assert np.array_equal(np.concatenate([event.values for event in measured]), values)
    assert (measured[-1].done, measured[-1].total) == (60, 60)
    one = features_of([drawn_manifest.specimen(37)])[0]
    assert np.allclose(values[37], one, rtol=1e-4, atol=1e-4)


def test_an_unreadable_specimen_is_told_and_the_others_are_measured(own_folder):
    manifest = Manifest.open(own_folder / "manifest.csv")
    (own_folder / manifest.keys[5]).write_bytes(b"nothing")
    (own_folder / manifest.keys[40]).unlink()
    events = []
    values = run(measure(manifest), events.append)
    assert [event.path for event in events if isinstance(event, Skipped)] == [manifest.keys[5], manifest.keys[40]]
    assert np.flatnonzero(np.isnan(values).any(axis=1)).tolist() == [5, 40]


def test_specimens_of_several_sizes_are_measured_together(tmp_path):
    for place, side in enumerate([8, 16, 8, 16]):
        np.save(tmp_path / f"{place}.npy", some((side, side, 4), count=1)[0])
    values = run(measure(Manifest.open(tmp_path)))
    assert values[:, 0].tolist() == [8, 16, 8, 16]


def test_a_stopped_job_keeps_what_it_has_and_another_goes_on_with_it(drawn_manifest):
    job = measure(drawn_manifest)
    while not isinstance(next(job), Measured):
        pass
    with pytest.raises(StopIteration) as ended:
        job.throw(Stopped())
    partly = ended.value.value
    assert np.isfinite(partly[:FIRST]).all() and np.isnan(partly[FIRST:]).all()
    events = []
    whole = run(measure(drawn_manifest, partly), events.append)
    assert np.isfinite(whole).all()
    assert events[-1].done == 60
    assert sum(len(event.rows) for event in events if isinstance(event, Measured)) == 60 - FIRST


def test_drawn_classes_are_told_apart_by_a_head_on_few_labels(drawn_manifest):
    from napari_ctc.review.head import fit_head
    from napari_ctc.review.space import Space

    space = Space.of(run(measure(drawn_manifest)))
    truth = drawn_manifest.labels(drawn_manifest.classes)
    given = np.where(np.arange(60) % 2, truth, -1)
    said = fit_head(space.values, given).probabilities(space.values, 3).argmax(1)
    hidden = (given < 0) & np.isin(truth, np.unique(given[given >= 0]))
    recalls = [(said == truth)[hidden & (truth == one)].mean() for one in np.unique(truth[hidden])]
    assert np.mean(recalls) > 0.6
