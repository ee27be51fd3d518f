"""The small ViT and ConvNeXt are timm's, fit small images, are recorded, and go on from a local checkpoint."""

import pytest
import timm
import torch

from gwaudit import TrainingSettings, TrajectoryStore, train
from gwaudit.recording.head import find_head
from gwaudit.training.models import build_model
from helpers.making import few_digits

NAMES = ["vit_mini_patch4_32", "convnext_mini_32"]


@pytest.mark.parametrize("name", NAMES)
def test_they_speak_timms_interface_and_have_a_linear_head(name):
    model = build_model(name, n_classes=7, image_size=32).eval()
    images = torch.randn(2, 3, 32, 32)
    latent = model.forward_head(model.forward_features(images), pre_logits=True)
    assert model(images).shape == (2, 7)
    torch.testing.assert_close(find_head(model).module(latent), model(images))
    assert name in timm.list_models()


@pytest.mark.parametrize("name", NAMES)
def test_they_are_fine_tuned_from_a_local_checkpoint_of_other_classes(name, tmp_path):
    source = build_model(name, n_classes=6, image_size=32)
    torch.save(source.state_dict(), tmp_path / "weights.pt")
    loaded = build_model(name, n_classes=3, image_size=32, checkpoint=tmp_path / "weights.pt")
    head = find_head(loaded).name
    kept = {key: value for key, value in source.state_dict().items() if not key.startswith(head)}
    assert kept
    assert all(torch.equal(loaded.state_dict()[key], value) for key, value in kept.items())
    assert find_head(loaded).n_outputs == 3


def test_a_vit_with_patches_of_four_pixels_is_trained_and_recorded(tmp_path):
    settings = TrainingSettings(
        model="vit_mini_patch4_32", epochs=2, batch_size=64, optimizer="adamw", learning_rate=1e-3, augment="none"
    )
    train(few_digits(192), tmp_path / "run", settings)
    with TrajectoryStore.open(tmp_path / "run") as store:
        losses = [store.commit(epoch).metrics["mean_loss"] for epoch in store.epochs]
    assert losses[1] < losses[0]
