"""A run keeps latents as it is asked to, and nearly equal images are found by features and pixels."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image

from gwaudit import TrainingSettings
from gwaudit.data.inputs import InMemory
from gwaudit.data.loading import load_dataset
from gwaudit.store.latents import has_latents, read_latents
from gwaudit.training import latents as module
from gwaudit.training.latents import latents_of, nearly_equal
from gwaudit.training.models import build_model
from gwaudit.training.trainer import train
from helpers.making import few_digits


def test_latents_are_the_inputs_of_the_head():
    model, images = build_model("resnet9_16", n_classes=3), torch.randn(5, 3, 16, 16)
    model.train()
    latents = latents_of(model, [images[:2], images[2:]])
    assert model.training
    with torch.no_grad():
        torch.testing.assert_close(model.get_classifier()(latents), model.eval()(images))


@pytest.mark.parametrize(("asked", "kept"), [("auto", False), ("keep", True), ("none", False)])
def test_a_trained_network_keeps_its_latents_on_request(tmp_path, asked, kept):
    digits = few_digits(60)
    train(digits, tmp_path / "run", TrainingSettings(epochs=1, batch_size=30, latents=asked))
    assert has_latents(tmp_path / "run") == kept
    if kept:
        values, found = read_latents(tmp_path / "run")
        assert values.shape == (60, 128)
        assert found == {"nearly_equal": []}, "the latents of a trained network collapse onto its classes"


def test_more_samples_than_can_be_compared_keep_none(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_SAMPLES", 59)
    train(few_digits(60), tmp_path / "run", TrainingSettings(epochs=1, batch_size=30, latents="keep"))
    assert not has_latents(tmp_path / "run")


def photo(seed, side=64):
    """Return a picture that has a structure, as photos do, [3, side, side] uint8."""
    noise = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    large = Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC)
    return torch.from_numpy(np.asarray(large).copy()).permute(2, 0, 1)


def test_images_are_nearly_equal_if_features_and_pixels_are(tmp_path):
    images = torch.stack([photo(0), photo(1), (photo(0).float() * 0.9).byte(), photo(1).flip(2), photo(2), photo(3)])
    dataset = dataclasses.replace(load_dataset("digits").subset(np.arange(6)), inputs=InMemory(images), originals=None)
    random = np.random.default_rng(0)
    features = random.standard_normal((6, 20))
    features[2], features[3], features[5] = features[0], features[1], features[4]
    assert nearly_equal(dataset, features) == [[0, 2], [1, 3]], "4 and 5 have like features and other pixels"
    assert nearly_equal(dataset, random.standard_normal((6, 20))) == []
