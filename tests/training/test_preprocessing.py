"""A network with pretrained weights gets images as these weights expect them, frozen or fine-tuned."""

import dataclasses

import numpy as np
import pytest
import timm
import torch
from timm.data import create_transform, resolve_model_data_config

from gwaudit import DataSettings, TrainingSettings, audit, load_dataset, train
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import Resizing
from gwaudit.data.inputs import InMemory
from gwaudit.pipeline.run_data import data_of_run, load_data
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.frozen_features import extract_features
from gwaudit.training.preprocessing import preprocessing_of, recorded_preprocessing, with_resizing_of_weights
from helpers.making import make_tree, picture

MODEL = "test_resnet.r160_in1k"  # 160 pixels, the centre 95 %, bilinear, mean and std .5


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "test_resnet.pth"
    torch.manual_seed(0)
    torch.save(timm.create_model(MODEL).state_dict(), path)
    return str(path)


@pytest.fixture
def settings(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    return TrainingSettings(model=MODEL, checkpoint=weights, epochs=1, batch_size=8, dtype="float32", augment="none")


@pytest.fixture
def photos(tmp_path):
    make_tree(tmp_path / "photos", per_class=4, size=(200, 200))
    return DataSettings(str(tmp_path / "photos"))


def test_frozen_features_are_those_of_timms_own_pipeline(photos, settings):
    dataset = load_data(with_resizing_of_weights(photos, settings))
    assert dataset.input_shape == (3, 160, 160)
    model = timm.create_model(MODEL, checkpoint_path=settings.checkpoint).eval()
    transform = create_transform(**resolve_model_data_config(model), is_training=False)
    images = torch.stack([transform(picture(seed, (200, 200))) for seed in (0, 1, 2, 3, 100, 101, 102, 103)])
    with torch.no_grad():
        expected = model.forward_head(model.forward_features(images), pre_logits=True)
    latents = extract_features(dataset, dataclasses.replace(settings, backbone="frozen"))
    torch.testing.assert_close(latents.read(torch.arange(8)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("backbone", ["trained", "frozen"])
def test_an_audit_records_them_and_finds_the_same_images_again(photos, settings, tmp_path, backbone):
    audit(photos, tmp_path / "run", dataclasses.replace(settings, backbone=backbone))
    with TrajectoryStore.open(tmp_path / "run") as store:
        prepared = store.settings["preprocessing"]
        again = load_data(data_of_run(store))
        assert again.fingerprint == store.fingerprint
        assert recorded_preprocessing(store, again).to_dict() == prepared
    assert prepared == {
        "source": "weights",
        "mean": [127.5] * 3,
        "std": [127.5] * 3,
        "size": [160, 160],
        "fit": "crop",
        "interpolation": "bilinear",
        "crop_share": 0.95,
    }


def test_an_image_size_that_the_user_states_has_priority(photos, settings):
    data = with_resizing_of_weights(dataclasses.replace(photos, image_size=64), settings)
    assert load_data(data).input_shape == (3, 64, 64)
    assert data.resizing == Resizing("bilinear", 0.95, 160)


@pytest.mark.parametrize("model", ["resnet9_16", "resnet18"])
def test_without_pretrained_weights_the_data_give_mean_and_deviation(photos, model):
    settings = TrainingSettings(model=model, pretrained=False)
    assert with_resizing_of_weights(photos, settings) == photos
    dataset = load_data(photos)
    prepared = preprocessing_of(dataset, settings)
    assert prepared.source == "data"
    np.testing.assert_array_equal(np.float32(prepared.mean), dataset.channel_statistics()[0])


def test_a_network_of_our_own_has_no_weights_that_expect_anything(photos, weights):
    settings = TrainingSettings(model="resnet9_16", checkpoint=weights)
    assert with_resizing_of_weights(photos, settings) == photos


@pytest.mark.parametrize(
    ("make", "mean", "std"),
    [
        (lambda images: images, 127.5, 127.5),
        (lambda images: images[:, :1], 127.5, 127.5),  # grey
        (lambda images: images.float(), 127.5, 127.5),
        (lambda images: images / 255, 0.5, 0.5),
        (lambda images: images / 127.5 - 1, 0.0, 1.0),  # normalised already
    ],
)
def test_the_units_of_the_images_are_those_of_the_mean(photos, settings, make, mean, std):
    dataset = load_data(dataclasses.replace(photos, image_size=32))
    values = make(dataset.read(torch.arange(len(dataset)))).contiguous()
    prepared = preprocessing_of(dataclasses.replace(dataset, inputs=InMemory(values)), settings)
    channels = values.shape[1]
    assert (prepared.source, prepared.mean, prepared.std) == ("weights", (mean,) * channels, (std,) * channels)


def test_images_of_other_channels_are_normalised_by_the_data(photos, settings):
    dataset = load_data(dataclasses.replace(photos, image_size=32))
    five = torch.cat([dataset.read(torch.arange(len(dataset)))] * 2, 1)[:, :5]
    assert preprocessing_of(dataclasses.replace(dataset, inputs=InMemory(five)), settings).source == "data"


def test_a_run_goes_on_under_the_same_preprocessing_only(tmp_path, settings):
    make_tree(tmp_path / "wide", per_class=3, size=(90, 40))
    one = load_dataset(tmp_path / "wide", image_size=32)
    train(one, tmp_path / "run", settings)
    train(one, tmp_path / "run", settings, resume=True)
    other = dataclasses.replace(one, image_fit=dataclasses.replace(one.image_fit, fit="pad"))
    with pytest.raises(SettingsError, match="prepared its images with `fit='squash'`, not 'pad'"):
        train(other, tmp_path / "run", settings, resume=True)


def test_a_fine_tuning_from_before_is_not_continued_under_other_statistics(tmp_path, photos, settings):
    prepared = preprocessing_of(load_data(photos), settings)
    assert "not of the weights" in prepared.difference(None, "trained")
    assert prepared.difference(None, "frozen") is None
    assert preprocessing_of(load_data(photos), TrainingSettings()).difference(None, "trained") is None


def test_a_model_folder_brings_its_own_configuration(tmp_path, photos, weights):
    folder = tmp_path / "model"
    folder.mkdir()
    config = '{"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 48, 48], "mean": [0.1, 0.2, 0.3], '
    config += '"std": [0.4, 0.4, 0.4], "interpolation": "bilinear", "crop_pct": 0.8}}'
    (folder / "config.json").write_text(config)
    data = with_resizing_of_weights(photos, TrainingSettings(model=f"local-dir:{folder}", pretrained=True))
    assert data.resizing == Resizing("bilinear", 0.8, 48)
