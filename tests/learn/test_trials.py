"""The fastest way of computing is tried once, remembered, and says the same as float32."""

import json
import math
from tempfile import gettempdir

import pytest
import torch

from napari_ctc.data.files import cache_folder
from napari_ctc.errors import Stopped, StoppedEarlyError
from napari_ctc.events import Event, Said, run
from napari_ctc.learn import trials
from napari_ctc.learn.agreement import LowPrecision
from napari_ctc.learn.loading import load_classifier
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.training import train
from napari_ctc.learn.trials import choose, compared, fastest, told
from napari_ctc.learn.ways import WAYS, Way
from napari_ctc.settings import TrainSettings

CPU = torch.device("cpu")
LOW, FULL, LOW_FIRST, FULL_FIRST = WAYS


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of this test's own, and short trials."""
    for name in ("SMALLEST_BATCH", "LARGEST_BATCH", "REPEATS"):
        monkeypatch.setattr(trials, name, 1)
    monkeypatch.setenv("NAPARI_CTC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trials.json"


@pytest.fixture
def network():
    return NETWORKS["compact"].build(4, 3, 24).eval()


def tried(network, purpose="training", asked="auto"):
    """Find the fastest way; returns it, the times, and whether a trial was made."""
    events = []
    way, times = run(fastest(network, "compact", 4, 24, CPU, purpose, asked), events.append)
    return way, times, any(isinstance(event, Said) for event in events)


@pytest.mark.parametrize("purpose", ["training", "classifying"])
def test_a_trial_is_made_once_and_remembered(cache, network, purpose):
    way, times, first = tried(network, purpose)
    again = tried(network, purpose)
    assert first and again == (way, pytest.approx(times, abs=1e-5), False)
    assert way in WAYS and set(times) <= set(WAYS)
    assert all(0 < seconds < math.inf for seconds in times.values())


def test_each_purpose_and_number_of_threads_has_a_trial_of_its_own(cache, network, monkeypatch):
    tried(network)
    assert tried(network, "classifying")[2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1000)
    assert tried(network)[2]
    assert len(json.loads(cache.read_text())) == 3


@pytest.mark.parametrize(
    "content", [b"", b"\xff", b"[]", b'{"a": 1}', b'{"a": {"float32": null}}', b"{" * 100_000]
)
def test_a_damaged_cache_is_passed_over_and_written_anew(cache, network, content):
    cache.parent.mkdir()
    cache.write_bytes(content)
    assert tried(network)[2]
    assert not tried(network)[2]


@pytest.mark.parametrize("place", ["file", "long" * 100], ids=["not a folder", "not to be looked at"])
def test_without_a_writable_cache_the_trial_is_made_each_time(tmp_path, network, monkeypatch, place):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NAPARI_CTC_CACHE", str(tmp_path / place))
    assert tried(network)[2] and tried(network)[2]


def test_a_user_without_a_home_has_a_cache_too(monkeypatch):
    def none(*_):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("NAPARI_CTC_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("pathlib.Path.home", none)
    assert cache_folder().is_relative_to(gettempdir())


def test_the_cache_is_in_the_users_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("NAPARI_CTC_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "napari-ctc"


def test_what_was_asked_for_is_used(cache, network):
    for asked in ("float32", "bfloat16"):
        way, times, _ = tried(network, asked=asked)
        assert way.precision == asked
        assert told(way, times, asked) == f"in {asked}, as was asked for"


@pytest.mark.parametrize(
    ("times", "prior", "asked", "chosen"),
    [
        ({LOW: 1.0, FULL: 2.0}, LOW, "auto", LOW),
        ({LOW: 1.2, FULL: 1.0}, LOW, "auto", LOW),  # within the margin
        ({LOW: 1.3, FULL: 1.0}, LOW, "auto", FULL),
        ({LOW: 0.9, FULL: 1.0}, FULL, "auto", FULL),
        ({LOW: 0.7, FULL: 1.0}, FULL, "auto", LOW),
        ({LOW: 1.0, FULL: 2.0}, LOW, "float32", FULL),
        ({LOW: 1.0, FULL: 2.0, FULL_FIRST: 1.5}, LOW, "float32", FULL_FIRST),
        ({FULL: 1.0}, LOW, "auto", FULL),  # bfloat16 was hopeless
        ({FULL: 1.0}, LOW, "bfloat16", LOW),  # but was asked for
        ({}, FULL, "auto", FULL),
    ],
)
def test_the_way_of_the_hardware_is_left_only_for_a_clearly_faster_one(times, prior, asked, chosen):
    assert choose(times, prior, asked) == chosen


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ({LOW: 1.0, FULL: 1.8, LOW_FIRST: 2.0}, "1.8 times as fast as float32 here"),
        ({LOW: 2.0, FULL: 1.0}, "0.5 times as fast as float32 here"),
        ({LOW: 1.0, FULL: 1.02}, "as fast as float32 here"),
        ({FULL: 1.0}, "much slower than float32 here"),
    ],
)
def test_the_gain_is_told_in_words(times, sentence):
    assert compared(times) == sentence


def test_a_way_that_is_not_supported_is_left_out(cache, network, monkeypatch):
    call = trials._call

    def failing(network, way, *others):
        def fail(images):
            raise RuntimeError("not implemented for 'BFloat16'")

        return fail if way.precision == "bfloat16" else call(network, way, *others)

    monkeypatch.setattr(trials, "_call", failing)
    way, times, _ = tried(network)
    assert way.precision == "float32" and not {LOW, LOW_FIRST} & set(times)


def test_a_slow_network_is_tried_with_one_specimen(cache, network, monkeypatch):
    monkeypatch.setattr(trials, "SLOW", 0.0)
    sizes = []
    timed = trials._timed

    def counted(call, images, device):
        sizes.append(len(images))
        return timed(call, images, device)

    monkeypatch.setattr(trials, "_timed", counted)
    assert tried(network)[1]
    assert sizes == [1] * 8


@pytest.mark.parametrize("purpose", ["training", "classifying"])
def test_pytorchs_state_and_the_network_are_left_as_they_were(cache, network, purpose):
    def state():
        return (
            torch.get_num_threads(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
            torch.get_rng_state().tolist(),
            network.training,
            [(one.dtype, one.stride(), one.requires_grad, one.grad) for one in network.parameters()],
            [one.sum().item() for one in network.state_dict().values()],
        )

    before, during = state(), []
    run(fastest(network, "compact", 4, 24, CPU, purpose), lambda _: during.append(state()))
    assert len(during) > 6
    assert all(one == before for one in [*during, state()])


def test_a_run_can_be_stopped_during_its_trial(cache, spots, quick):
    job = train(spots, quick)
    event = next(job)
    while not (isinstance(event, Said) and event.text.startswith("Trying")):
        event = next(job)
    assert type(next(job)) is Event
    with pytest.raises(StoppedEarlyError):
        job.throw(Stopped())
    assert not cache.exists()


def test_a_run_says_and_records_how_it_computed(cache, spots, tmp_path):
    out = tmp_path / "model.safetensors"
    said = []
    settings = TrainSettings(epochs=1, precision="bfloat16", device="cpu")
    run(train(spots, settings, out), lambda event: said.append(getattr(event, "text", "")))
    assert "Training on cpu in bfloat16, as was asked for." in said
    assert load_classifier(out).computed_in.startswith("bfloat16, ")


def test_a_run_in_each_layout_gives_a_classifier(cache, spots, quick, monkeypatch):
    for layout in ("contiguous", "channels-last"):
        times = {Way("float32", layout): 0.1, Way("bfloat16", layout): 1.0}
        monkeypatch.setattr(trials, "_remembered", lambda _, times=times: times)
        classifier = run(train(spots, quick))
        assert classifier.computed_in == f"float32, {layout}"
        assert classifier.low_precision.specimens == sum(classifier.counts["validation"].values())


def test_what_bfloat16_changes_on_the_specimens_held_out_is_on_the_card(
    cache, spots, quick, tmp_path, monkeypatch
):
    times = {Way("float32"): 0.1, Way("bfloat16"): 0.2}  # where it is hopelessly slow, it is not asked
    monkeypatch.setattr(trials, "_remembered", lambda _: times)
    classifier = run(train(spots, quick, tmp_path / "model.safetensors"))
    low = load_classifier(tmp_path / "model.safetensors").low_precision
    assert low == classifier.low_precision
    assert low.specimens == sum(classifier.counts["validation"].values())
    assert 0 < low.largest_change < 0.1


def test_a_stop_after_the_last_epoch_leaves_the_classifier_without_that_record(cache, spots, quick):
    job = train(spots, quick)
    trials_begun = 0
    while trials_begun < 2:  # the second is for classifying, once all is learnt
        event = next(job)
        trials_begun += isinstance(event, Said) and event.text.startswith("Trying")
    job.throw(Stopped())
    classifier = run(job)
    assert classifier.low_precision is None and not classifier.stopped


@pytest.mark.parametrize(
    ("classes", "change", "harmless"), [(0, 0.005, True), (0, 0.0051, False), (1, 0.001, False)]
)
def test_bfloat16_is_harmless_if_it_changes_no_class_and_no_probability_by_much(classes, change, harmless):
    assert LowPrecision(specimens=9, classes_changed=classes, largest_change=change).harmless is harmless
