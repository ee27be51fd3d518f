"""A frozen backbone's latents are computed once and kept; a head is trained on them and audited as always."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from gwaudit import DataSettings, RefinementSettings, TrainingSettings, load_dataset, rank, train
from gwaudit.core.errors import SettingsError
from gwaudit.data import encoded_images, images
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory, features
from gwaudit.data.label_noise import add_label_noise
from gwaudit.pipeline.run_data import load_data
from gwaudit.store.latents import read_latents
from gwaudit.store.store import TrajectoryStore
from gwaudit.training import trainer
from gwaudit.training.frozen_features import FrozenBackbone, extract_features
from gwaudit.training.models import build_model
from gwaudit.training.refinement import refine
from gwaudit.training.tensor_files import read_tensors
from gwaudit.training.trainer import predict
from helpers.command import FAST, gwaudit
from helpers.making import make_tree

FROZEN = TrainingSettings(epochs=8, batch_size=128, backbone="frozen", model="resnet9_16")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A backbone that has learned half of the digits."""
    folder = tmp_path_factory.mktemp("backbone")
    half = load_dataset("digits").subset(np.arange(900))
    train(half, folder / "run", TrainingSettings(epochs=4, batch_size=128, augment="none", learning_rate=0.05))
    state = read_tensors(folder / "run" / "checkpoints" / "best.safetensors")["model"]
    torch.save(state, folder / "weights.pt")
    return str(folder / "weights.pt")


def test_two_views_have_the_mean_features_of_images_as_they_are_and_mirrored(weights):
    digits = load_dataset("digits").subset(np.arange(20))
    mirrored = replace(digits, inputs=InMemory(digits.read(torch.arange(20)).flip(3)))
    one = TrainingSettings(backbone="frozen", checkpoint=weights, dtype="float32")
    prepared, ids = FrozenBackbone(digits, one).preprocessing, torch.arange(20)
    of_one = [extract_features(images, one, preprocessing=prepared).read(ids) for images in (digits, mirrored)]
    of_two = extract_features(digits, replace(one, views=2), preprocessing=prepared).read(ids)
    torch.testing.assert_close(of_two, (of_one[0] + of_one[1]) / 2)


@pytest.mark.parametrize(("most", "groups"), [(20, [[0, 10], [3, 17]]), (19, [])])
def test_no_copies_are_searched_among_more_images_than_can_be_compared(weights, tmp_path, monkeypatch, most, groups):
    monkeypatch.setattr(trainer, "MOST_SAMPLES", most)
    images = torch.randint(0, 256, (20, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    images[10], images[17] = images[0], images[3]
    dataset = replace(load_dataset("digits").subset(np.arange(20)), inputs=InMemory(images), originals=None)
    train(dataset, tmp_path / "run", replace(FROZEN, epochs=1, checkpoint=weights, folds=2))
    kept = read_latents(tmp_path / "run")
    assert kept is not None
    assert kept[1] == {"nearly_equal": groups}


def test_features_are_kept_for_the_next_audit_also_if_the_classes_are_others_than_those_of_the_weights(tmp_path):
    torch.save(build_model("resnet9_16", n_classes=3, in_chans=1).state_dict(), tmp_path / "weights.pt")
    settings = TrainingSettings(backbone="frozen", checkpoint=str(tmp_path / "weights.pt"), dtype="float32")
    for audit in range(2):
        torch.manual_seed(audit)  # the head, which has ten classes in place of three, is drawn from it
        counted = Counted()
        backbone = FrozenBackbone(load_dataset("digits").subset(np.arange(20)), settings)
        backbone.extract(load_dataset("digits").subset(np.arange(20)), counted)
        assert bool(counted.batches) == (audit == 0)


class Counted:
    def __init__(self):
        self.batches = 0

    def on_features(self, done, samples):
        self.batches += 1


def test_latents_are_what_the_model_has_before_its_head(weights):
    digits = load_dataset("digits")
    settings = TrainingSettings(backbone="frozen", checkpoint=weights, dtype="float32")
    latents = extract_features(digits, settings)
    model = build_model("resnet9_16", n_classes=10, in_chans=1, checkpoint=weights).eval()
    mean, std = digits.channel_statistics()
    ids = torch.tensor([3, 1700, 12])
    with torch.no_grad():
        logits = model((digits.read(ids).float() - mean[0]) / std[0])
        torch.testing.assert_close(model.get_classifier()(latents.read(ids)), logits, rtol=1e-4, atol=1e-4)
    assert latents.keys == digits.keys
    assert latents.input_shape == (128,)


def test_they_are_computed_once_for_the_same_inputs_and_weights(weights, cache):
    digits, told = load_dataset("digits"), Counted()
    settings = TrainingSettings(backbone="frozen", checkpoint=weights)
    first = extract_features(digits, settings, told)
    batches = told.batches
    again = extract_features(digits.with_labels((digits.labels + 1) % 10), settings, told)
    assert told.batches == batches > 0
    torch.testing.assert_close(again.read(torch.arange(5)), first.read(torch.arange(5)), rtol=0, atol=0)
    extract_features(digits.subset(np.arange(1796)), settings, told)
    assert told.batches > batches
    kept = next(cache.rglob("*.npy"))
    kept.write_bytes(kept.read_bytes()[:100])
    assert len(extract_features(digits, settings, told)) == len(digits), "a broken file is made anew"


def test_planted_errors_are_found_from_the_head_alone(weights, tmp_path):
    digits = load_dataset("digits")
    noisy = digits.with_labels(add_label_noise(digits.labels, 10, rate=0.1), true_labels=digits.labels)
    settings = TrainingSettings(epochs=20, batch_size=128, backbone="frozen", checkpoint=weights)
    train(noisy, tmp_path / "run", settings)
    with TrajectoryStore.open(tmp_path / "run") as store:
        assert store.fingerprint == noisy.fingerprint
        wrong = noisy.labels != noisy.true_labels
        found = rank(store).by_id("log_odds_wrong")
        top = np.argsort(-found)[: wrong.sum()]
    assert wrong[top].mean() > 0.9


def test_a_frozen_backbone_is_refined_and_predicts_from_its_latents(weights, tmp_path):
    digits = load_dataset("digits")
    settings = TrainingSettings(epochs=10, batch_size=128, backbone="frozen", checkpoint=weights)
    train(digits, tmp_path / "run", settings)
    refine(digits, tmp_path / "run", settings, RefinementSettings(refine=1))
    chosen = np.arange(1796, -1, -6)
    probabilities = predict(tmp_path / "run" / "rounds" / "1", digits, digits.subset(chosen))
    right = probabilities.argmax(1).numpy() == digits.labels[chosen]
    assert right.mean() > 0.9, "of 300 samples in another order; single ones may be wrong"


def test_inputs_that_only_look_the_same_get_latents_of_their_own(weights):
    class Noise(torch.utils.data.Dataset):
        def __init__(self, seed):
            self.seed = seed

        def __len__(self):
            return 6

        def __getitem__(self, i):
            generator = torch.Generator().manual_seed(self.seed + i)
            return torch.randint(256, (1, 8, 8), dtype=torch.uint8, generator=generator), i % 2

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gwaudit.data.readers.torch_dataset.IN_MEMORY_BYTES", 0)
        one, other = load_dataset(Noise(10)), load_dataset(Noise(200))
    assert one.fingerprint == other.fingerprint, "what is not held in memory is known by its shape alone"
    settings = TrainingSettings(backbone="frozen", checkpoint=weights)
    ids = torch.arange(6)
    assert not torch.allclose(extract_features(one, settings).read(ids), extract_features(other, settings).read(ids))


def test_random_weights_are_refused(tmp_path):
    with pytest.raises(SettingsError, match="needs trained weights"):
        train(load_dataset("digits"), tmp_path / "run", FROZEN)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_features_of_any_kind_take_the_same_way(tmp_path, head):
    digits = load_dataset("digits")
    values = digits.read(torch.arange(len(digits))).flatten(1).numpy().astype(np.float64)
    wrong = add_label_noise(digits.labels, 10, rate=0.1)
    np.savez(tmp_path / "mine.npz", embeddings=values * 1e4 + 3, labels=wrong)
    done = gwaudit("audit", tmp_path / "mine.npz", "-o", tmp_path / "run", "--epochs", 15, "--head", head)
    assert done.returncode == 0, done.stderr
    with TrajectoryStore.open(tmp_path / "run") as store:
        score = rank(store).by_id("log_odds_wrong")
    planted = wrong != digits.labels
    assert planted[np.argsort(-score)[: planted.sum()]].mean() > 0.8
    shown = " ".join(gwaudit("show", tmp_path / "run").stdout.split())  # a long path wraps the line
    assert f"a {head} head on features" in shown
    exported = gwaudit("export", tmp_path / "run", "--to", "hf", "--output", tmp_path / "clean")
    assert exported.returncode == 0, exported.stderr
    clean = load_dataset(tmp_path / "clean")
    assert clean.modality == "features"
    assert 1500 < len(clean) < 1797


def test_refinement_and_final_passes_work_on_features(tmp_path):
    digits = load_dataset("digits")
    np.savez(tmp_path / "mine.npz", x=digits.read(torch.arange(len(digits))).flatten(1).numpy(), y=digits.labels)
    done = gwaudit(
        "audit", tmp_path / "mine.npz", "-o", tmp_path / "run", *FAST[:4], "--refine", 1, "--final-passes", 2
    )
    assert done.returncode == 0, done.stderr
    with TrajectoryStore.open(tmp_path / "run" / "rounds" / "1") as store:
        assert len(store.final_passes) == 1, "a feature has no mirror image"


def test_a_preset_for_images_refines_features_as_they_were_trained_first(tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.random.default_rng(0).standard_normal((60, 5)), y=np.arange(60) % 3)
    done = gwaudit(
        "audit",
        tmp_path / "mine.npz",
        "-o",
        tmp_path / "run",
        "--preset",
        "fast",
        "--epochs",
        2,
        "--head",
        "mlp",
        "--learning-rate",
        0.01,
        "--force",  # the labels have nothing to do with the inputs
    )
    assert done.returncode == 0, done.stderr
    assert "a new mlp head learns" in done.stderr
    with TrajectoryStore.open(tmp_path / "run" / "rounds" / "2") as store:
        assert store.settings["training"]["head"] == "mlp"
        assert store.settings["training"]["optimizer"] == "sgd"
        assert len(store.training_epochs) == 2


@pytest.mark.slow
def test_the_heads_of_fifty_thousand_latents_take_less_than_two_minutes(tmp_path):
    random = np.random.default_rng(0)
    labels = random.integers(0, 10, 50_000)
    latents = random.standard_normal((10, 768)).astype(np.float32)[labels] + 2 * random.standard_normal(
        (50_000, 768), dtype=np.float32
    )
    keys = [str(i) for i in range(50_000)]
    dataset = LabeledDataset("latents", features(torch.from_numpy(latents)), labels, tuple("0123456789"), keys)
    began = time.process_time()  # not the clock: other processes may have the processors
    train(dataset, tmp_path / "run", TrainingSettings(epochs=10))
    seconds = time.process_time() - began
    assert seconds < 120 * 10 / 30, f"{seconds:.0f} s for a third of the epochs"


def test_a_run_of_features_finds_its_data_again(tmp_path):
    np.savez(tmp_path / "mine.npz", x=np.eye(20), y=np.arange(20) % 2)
    settings = DataSettings(str(tmp_path / "mine.npz"))
    train(load_data(settings), tmp_path / "run", TrainingSettings(epochs=1), data=settings)
    done = gwaudit("rank", tmp_path / "run", "--top", 3)
    assert done.returncode == 0, done.stderr


def test_photos_that_are_read_on_demand_are_read_once_for_their_features(weights, tmp_path, monkeypatch):
    make_tree(tmp_path / "photos", per_class=6)
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    photos = load_dataset(tmp_path / "photos", cache_limit=0, workers=0)
    decoded, load = [], encoded_images.load
    monkeypatch.setattr(encoded_images, "load", lambda item, fit: decoded.append(item) or load(item, fit))
    model = build_model("resnet9_16", n_classes=2, in_chans=3)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    settings = TrainingSettings(backbone="frozen", model="resnet9_16", checkpoint=str(tmp_path / "weights.pt"))
    part, told = photos.subset([7, 2, 3]), Counted()
    backbone = FrozenBackbone(part, settings)
    decoded.clear()
    features = backbone.extract(part, told)
    assert sorted(decoded) == sorted(part.originals)
    assert torch.equal(backbone.extract(part, told).read(torch.arange(3)), features.read(torch.arange(3)))
    assert (len(decoded), told.batches) == (3, 1)
    backbone.extract(photos.subset([7, 2, 4]), told)
    assert told.batches == 2
