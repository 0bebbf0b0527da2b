"""The classifier's file says everything, gives equal outputs, and refuses what is not one of its kind."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import safe_open
from spots import draw_spot, write_spots

from napari_ctc.errors import ClassifierError
from napari_ctc.events import run
from napari_ctc.learn.loading import load_classifier, read_card
from napari_ctc.learn.networks import NETWORKS
from napari_ctc.learn.training import train
from napari_ctc.settings import TrainSettings


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("secret_patient")
    manifest = write_spots(folder)
    manifest = manifest.with_column("source", [f"slide_{n % 3}" for n in range(len(manifest))])
    settings = TrainSettings(epochs=1, precision="float32", device="cpu")
    names = ("CK", "CD45", "DAPI", "bright field")
    return run(train(manifest, settings, folder / "model.safetensors", channel_names=names)), folder


@pytest.fixture
def rewritten(trained, tmp_path):
    """Write the classifier's file with another description or other tensors."""

    def write(change=None, tensors=None, card=None, source="model"):
        source = trained[1] / f"{source}.safetensors"
        with safe_open(source, framework="numpy") as file:
            text = file.metadata()["napari_ctc"]
            found = {name: file.get_tensor(name) for name in file.keys()}
        described = json.loads(text) | (change or {})
        path = tmp_path / "other.safetensors"
        safetensors.numpy.save_file(
            {**found, **(tensors or {})}, path, {"napari_ctc": card or json.dumps(described)}
        )
        return path

    return write


def test_a_loaded_classifier_is_the_saved_one(trained):
    classifier, folder = trained
    loaded = load_classifier(folder / "model.safetensors")
    batch = classifier.canvas.to_input(
        classifier.canvas.batch([draw_spot(k, 9) for k in range(3)]), torch.device("cpu")
    )
    with torch.no_grad():
        assert torch.equal(loaded.network_module(batch), classifier.network_module(batch))
    for name in ("classes", "channels", "scaling", "native", "size", "settings", "metrics", "counts", "digest"):
        assert getattr(loaded, name) == getattr(classifier, name), name
    assert loaded.training_digests == classifier.training_digests
    assert loaded.channels == ("CK", "CD45", "DAPI", "bright field")
    assert loaded.layout.channels == 4 and loaded.short == loaded.digest[:8]
    assert not loaded.network_module.training


def test_saving_a_loaded_classifier_gives_the_same_bytes(trained, tmp_path):
    _, folder = trained
    load_classifier(folder / "model.safetensors").save(tmp_path / "again.safetensors")
    assert read_card(tmp_path / "again.safetensors") == read_card(folder / "model.safetensors")
    assert load_classifier(tmp_path / "again.safetensors").digest == trained[0].digest


def test_the_file_holds_no_path_and_no_source(trained):
    content = (trained[1] / "model.safetensors").read_bytes()
    for secret in (b"secret_patient", b"slide_", b".npy", b"manifest", str(trained[1]).encode()):
        assert secret not in content


def test_loading_leaves_the_random_state_alone(trained):
    before = torch.get_rng_state()
    load_classifier(trained[1] / "model.safetensors")
    assert torch.equal(torch.get_rng_state(), before)


def refusal(path) -> str:
    with pytest.raises(ClassifierError) as caught:
        load_classifier(path)
    return str(caught.value)


def test_files_of_another_kind_are_refused(tmp_path, trained):
    assert "does not exist" in refusal(tmp_path / "none.safetensors")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "text.safetensors").write_text("not tensors")
    assert "not a classifier file" in refusal(tmp_path / "text.safetensors")
    (tmp_path / "empty.safetensors").write_bytes(b"")
    assert "not a classifier file" in refusal(tmp_path / "empty.safetensors")
    torch.save({"a": torch.zeros(1)}, tmp_path / "pickle.pt")
    assert "not a classifier file" in refusal(tmp_path / "pickle.pt")
    safetensors.numpy.save_file({"a": np.zeros(1)}, tmp_path / "foreign.safetensors")
    assert "was not saved by napari-ctc" in refusal(tmp_path / "foreign.safetensors")


def test_a_file_cut_short_or_changed_is_refused(trained, tmp_path):
    content = (trained[1] / "model.safetensors").read_bytes()
    path = tmp_path / "cut.safetensors"
    path.write_bytes(content[:-100])
    assert "damaged" in refusal(path)
    changed = bytearray(content)
    changed[-5] ^= 1
    path.write_bytes(changed)
    assert "changed or damaged" in refusal(path)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"format": "something else"}, "is a 'something else'"),
        ({"format_version": 4}, "newer napari-ctc"),
        ({"classes": ["a"]}, "does not hold together"),
        ({"classes": ["a", "a", "b"]}, "a class stands twice"),
        ({"classes": ["a", "b", "c", "d"], "loss_prior": [], "shown": []}, "tensors do not fit"),
        ({"classes": ["x", "y", "z"]}, "changed or damaged"),
        ({"channels": ["a"]}, "scaling and channels"),
        ({"size": 10**9}, "does not hold together"),
        ({"size": 0}, "does not hold together"),
        ({"size": 16}, "cannot have the size 16"),
        ({"native": -1}, "does not hold together"),
        ({"scaling": {"mean": [0] * 4, "sd": [0, 1, 1, 1]}}, "a scaling of zero"),
        ({"loss_prior": [1, 2]}, "loss prior"),
        ({"settings": {"network": "../../evil"}}, "does not hold together"),
        ({"settings": {"unknown": 1}}, "does not hold together"),
        ({"settings": {"network": "seed"}}, "cannot have the size"),
        ({"settings": None}, "does not hold together"),
        ({"shown": [1]}, "one proportion for each class"),
        ({"shown": [1.5, -0.5, 0]}, "a proportion below zero"),
        ({"loss_prior": [1, 0, 0]}, "a proportion below zero"),
        ({"temperature": 0}, "does not hold together"),
        ({"calibrated": ["unheard of"]}, "is calibrated that is none"),
        ({"counts": {"training": 3}}, "does not hold together"),
        ({"temperature": 2.0}, "changed or damaged"),
        ({"shown": [0.2, 0.3, 0.5]}, "changed or damaged"),
        ({"loss_prior": [0.2, 0.3, 0.5]}, "changed or damaged"),
        ({"calibrated": ["debris"]}, "changed or damaged"),
        ({"format_version": 1}, "tensors do not fit"),
        ({"structure": 0}, "does not hold together"),
        ({"structure": 99}, "has no structure 99"),
    ],
)
def test_a_description_that_does_not_hold_together_is_refused(rewritten, change, reason):
    assert reason in refusal(rewritten(change))


def older_file(path, version, without=(), settings=()):
    """Describe the classifier as an earlier version did, with the digest that it had."""
    with safe_open(path, framework="numpy") as file:
        card = json.loads(file.metadata()["napari_ctc"])
        found = {name: file.get_tensor(name) for name in file.keys()}
    card = {name: one for name, one in card.items() if name not in without}
    card["settings"] = {name: one for name, one in card["settings"].items() if name not in settings}
    decisive = ["classes", "channels", "scaling", "native", "size", "settings"]
    decisive += ["loss_prior", "shown", "temperature", "calibrated"] if version > 1 else []
    digest = hashlib.sha256(json.dumps({name: card[name] for name in decisive}, sort_keys=True).encode())
    for name in sorted(found):
        array = found[name]
        digest.update(f"{name}{array.dtype.name}{array.shape}".encode() + array.tobytes())
    return card | {"format_version": version, "digest": digest.hexdigest()}


@pytest.fixture(scope="module")
def before_rings(trained):
    """Save a classifier whose network has the first structure, as all had in versions 1 and 2."""
    classifier, folder = trained
    network = NETWORKS["compact"].built(1)(4, 3, classifier.size)
    path = folder / "before_rings.safetensors"
    replace(classifier, network_module=network, structure=1, digest="").save(path)
    return path


def test_a_file_of_version_1_still_loads_and_is_saved_as_such(trained, before_rings, rewritten, tmp_path):
    classifier, _ = trained
    older = older_file(before_rings, 1, ("shown", "temperature", "calibrated", "structure"))
    loaded = load_classifier(rewritten(card=json.dumps(older), source="before_rings"))
    assert loaded.digest == older["digest"] != classifier.digest
    assert (loaded.temperature, loaded.calibrated) == (1.0, ())
    counts = np.array(list(classifier.counts["training"].values()))
    assert loaded.shown == pytest.approx(counts / counts.sum())
    loaded.save(tmp_path / "again.safetensors")
    assert load_classifier(tmp_path / "again.safetensors").digest == older["digest"]
    smuggled = json.dumps(older | {"temperature": 9.0, "calibrated": ["debris"]})  # its digest does not cover them
    assert load_classifier(rewritten(card=smuggled, source="before_rings")).temperature == 1.0
    without = {name: one for name, one in older.items() if name not in ("counts", "loss_prior")}
    assert load_classifier(rewritten(card=json.dumps(without), source="before_rings")).shown == pytest.approx(
        (1 / 3,) * 3
    )


def test_a_file_that_knows_fewer_settings_and_no_structure_still_loads_and_is_saved_as_such(
    before_rings, rewritten, tmp_path
):
    older = older_file(before_rings, 2, ("structure",), ("patience", "precision"))
    loaded = load_classifier(rewritten(card=json.dumps(older), source="before_rings"))
    assert (loaded.structure, loaded.settings.patience, loaded.digest) == (1, 0, older["digest"])
    assert loaded.network_module[-1].in_features == 256  # means over all places, no rings
    loaded.save(tmp_path / "again.safetensors")
    assert load_classifier(tmp_path / "again.safetensors").digest == older["digest"]
    smuggled = json.dumps(older | {"structure": 99})  # its digest does not cover it
    assert load_classifier(rewritten(card=smuggled, source="before_rings")).structure == 1


def test_a_classifier_says_how_its_scores_are_read(trained):
    classifier, _ = trained
    assert classifier.reading().shown == classifier.shown == pytest.approx((14 / 28, 9 / 28, 5 / 28), abs=0.05)
    assert classifier.reading().decision == "balanced"
    other = classifier.reading("most-probable", "uniform")
    assert (other.decision, other.shown) == ("most-probable", pytest.approx((1 / 3,) * 3))
    assert classifier.described(proportions="debris=0.5,leukocyte=0.25,tumour cell=0.25") == {
        "decision": "balanced",
        "proportions": "debris=0.5, leukocyte=0.25, tumour cell=0.25",
        "calibrated": "",
    }


@pytest.mark.parametrize("card", ["", "[]", "{}", '{"format": 3', "null", "[" * 5000, '{"format_version": "x"}'])
def test_a_description_that_is_no_description_is_refused(rewritten, card):
    assert "damaged" in refusal(rewritten(card=card or " "))


def test_tensors_that_are_not_the_networks_are_refused(rewritten):
    assert "do not fit" in refusal(rewritten(tensors={"extra": np.zeros(3, np.float32)}))
    assert "do not fit" in refusal(rewritten(tensors={"0.weight": np.zeros((32, 4, 3, 3), np.float64)}))
