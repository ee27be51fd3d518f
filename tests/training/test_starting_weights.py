"""Photos start from pretrained weights, small images from random ones; weights that are missing are named at once."""

import json
import time

import numpy as np
import pytest
import torch

from gwaudit import DataSettings, RefinementSettings, TrainingSettings
from gwaudit.core.errors import ModelError, SettingsError
from gwaudit.core.presets import PRESETS
from gwaudit.data.loading import load_dataset
from gwaudit.pipeline.audit import load_and_train
from gwaudit.training.models import build_model
from gwaudit.training.refinement import require_refinable
from gwaudit.training.starting_weights import BACKBONE, SMALL_NETWORK, require_weights, with_starting_weights
from helpers.command import gwaudit
from helpers.making import make_tree


@pytest.fixture(autouse=True)
def offline(tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.fixture
def photos(tmp_path):
    make_tree(tmp_path / "photos", per_class=12, size=(120, 100))
    return tmp_path / "photos"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "weights.pt"
    torch.save(build_model("resnet9_16", n_classes=5).state_dict(), path)
    return path


def recorded(run):
    return json.loads((run / "run.json").read_text())["settings"]


@pytest.mark.parametrize(("given", "photos", "model", "pretrained", "backbone"), [
    ({}, True, BACKBONE, True, "frozen"),
    ({}, False, SMALL_NETWORK, False, "trained"),
    ({"checkpoint": "w.pt"}, True, BACKBONE, False, "frozen"),
    ({"checkpoint": "w.pt"}, False, SMALL_NETWORK, False, "trained"),
    ({"model": "resnet18"}, True, "resnet18", True, "frozen"),
    ({"model": "resnet18"}, False, "resnet18", False, "trained"),
    ({"model": "resnet9_16"}, True, "resnet9_16", False, "trained"),
    ({"pretrained": False}, True, SMALL_NETWORK, False, "trained"),
    ({"pretrained": True}, False, BACKBONE, True, "trained"),
    ({"backbone": "trained"}, True, BACKBONE, True, "trained"),
])  # fmt: skip
def test_what_is_left_open_follows_the_data_and_what_is_set_stays(given, photos, model, pretrained, backbone):
    chosen = with_starting_weights(TrainingSettings(**given), "images", photos=photos)
    assert (chosen.model, chosen.pretrained, chosen.backbone) == (model, pretrained, backbone)


@pytest.mark.parametrize(("preset", "expected"), [
    ("pretrained", (BACKBONE, True, "frozen")),
    ("fine-tune", (BACKBONE, True, "trained")),
    ("scratch", (SMALL_NETWORK, False, "trained")),
])  # fmt: skip
@pytest.mark.parametrize("photos", [True, False])
def test_a_preset_is_the_same_for_images_of_any_size(preset, expected, photos):
    chosen = with_starting_weights(PRESETS[preset][0], "images", photos=photos)
    assert (chosen.model, chosen.pretrained, chosen.backbone) == expected


@pytest.mark.parametrize(("size", "options", "is_photo"), [
    ((96, 96), {}, False),
    ((97, 97), {}, True),
    ((97, 20), {}, True),
    ((30, 20), {}, False),
    ((120, 100), {"image_size": 32}, True),
    ((30, 30), {"image_size": 224}, False),
])  # fmt: skip
def test_photos_are_images_that_the_source_has_in_more_than_96_pixels(tmp_path, size, options, is_photo):
    make_tree(tmp_path / "tree", size=size)
    assert load_dataset(tmp_path / "tree", **options).holds_photos == is_photo


def test_without_weights_an_audit_of_photos_ends_before_any_work(photos, tmp_path, monkeypatch):
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    done = gwaudit("audit", photos, "-o", tmp_path / "run")
    assert done.returncode == 2
    assert "cannot build 'tf_efficientnet_lite0' with pretrained weights: HF_HUB_OFFLINE is set" in done.stderr
    assert "--checkpoint" in done.stderr
    assert "--preset scratch" in done.stderr
    assert not (tmp_path / "run").exists()
    assert sum(waited) < 10, "nothing is tried again and again"


def test_missing_weights_are_named_before_a_photo_is_decoded(photos, tmp_path, monkeypatch):
    (photos / "cat").mkdir(exist_ok=True)
    whole = next(photos.rglob("*.png"), None) or next(photos.rglob("*.jpg"))
    (photos / "cat" / f"broken{whole.suffix}").write_bytes(whole.read_bytes()[:-40])
    monkeypatch.setattr("gwaudit.data.images._Decoding._decode", lambda *_, **__: pytest.fail("photos are decoded"))
    with pytest.raises(ModelError, match="preset='scratch'"):
        load_and_train(DataSettings(str(photos)), tmp_path / "run", TrainingSettings())


def test_weights_of_another_network_are_named_before_any_work(weights):
    given = TrainingSettings(checkpoint=str(weights))
    with pytest.raises(ModelError, match=r"taken for weights of tf_efficientnet_lite0, .* with `model`"):
        require_weights(given, with_starting_weights(given, "images", photos=True))


def test_photos_with_a_file_of_weights_get_features_once_and_resume(photos, weights, tmp_path):
    command = ["audit", photos, "-o", tmp_path / "run", "--model", "resnet9_16", "--checkpoint", weights]
    done = gwaudit(*command, "--epochs", 2)
    assert done.returncode == 0, done.stderr
    assert (
        "these are photos (up to 120x100 pixels): a head is trained on the features of resnet9_16 with the weights in "
        "weights.pt"
    ) in done.stderr
    assert recorded(tmp_path / "run")["training"]["backbone"] == "frozen"
    again = gwaudit(*command, "--epochs", 2, "--resume")
    assert again.returncode == 0, again.stderr


def test_a_run_on_photos_from_random_weights_resumes_as_it_was_made(photos, tmp_path):
    data = DataSettings(str(photos), image_size=32)
    scratch = TrainingSettings(epochs=1, pretrained=False)
    dataset, _ = load_and_train(data, tmp_path / "run", scratch)
    assert [note for note in dataset.notes.remarks if "resnet9_16 is trained from random weights" in note]
    _, result = load_and_train(data, tmp_path / "run", TrainingSettings(), resume=True)
    assert result.epochs == 1
    assert recorded(tmp_path / "run")["training"]["pretrained"] is False


@pytest.mark.parametrize("preset", ["fast", "quality"])
def test_a_preset_for_small_images_is_refused_on_photos_before_the_training(photos, tmp_path, preset):
    done = gwaudit("audit", photos, "-o", tmp_path / "run", "--preset", preset)
    assert done.returncode == 2
    assert "trains networks for small images from random weights, and these are photos" in done.stderr
    assert "--no-pretrained" in done.stderr
    assert not (tmp_path / "run").exists()
    refinement = RefinementSettings(refine=1, refine_as="whitened")
    require_refinable(load_dataset(photos), TrainingSettings(pretrained=False), refinement)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "pretrained"], "--backbone frozen is for images, and these samples are features"),
        (["--preset", "fine-tune"], "--pretrained is for images"),
        (["--checkpoint", "w.pt"], "--checkpoint is for images"),
    ],
)
def test_a_backbone_is_refused_on_features(tmp_path, options, message):
    np.savez(tmp_path / "mine.npz", x=np.eye(20), y=np.arange(20) % 2)
    done = gwaudit("audit", tmp_path / "mine.npz", "-o", tmp_path / "run", *options)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_preset_without_a_backbone_is_taken_on_features():
    chosen = with_starting_weights(PRESETS["scratch"][0], "features", photos=False)
    assert (chosen.model, chosen.pretrained, chosen.backbone) == (SMALL_NETWORK, False, "trained")
    with pytest.raises(SettingsError, match="leave it out"):
        with_starting_weights(TrainingSettings(backbone="frozen"), "texts", photos=False)
