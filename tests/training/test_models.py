"""Models are built by name for any number of classes and channels, and their linear head is found."""

from pathlib import Path

import pytest
import timm
import torch
from torch import nn

from gwaudit.core.errors import ModelError
from gwaudit.recording.head import find_head, unwrap
from gwaudit.training.models import build_model

COMPACT = [
    "resnet9_16", "resnet9_16_gn", "resnet9_32", "resnet9_64", "resnet18_small", "resnet18_small_gn",
    "resnet20_bn", "resnet20_gn", "resnet56_bn", "resnet56_gn", "resnet110_gn", "whitened_32", "whitened_64",
]  # fmt: skip


@pytest.mark.parametrize("name", COMPACT)
@pytest.mark.parametrize(("channels", "side"), [(3, 32), (1, 8), (2, 5)])
def test_compact_networks_take_images_of_any_size_and_channels(name: str, channels: int, side: int) -> None:
    model = build_model(name, n_classes=7, in_chans=channels).eval()

    logits = model(torch.randn(2, channels, side, side))

    assert logits.shape == (2, 7)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("name", COMPACT)
def test_compact_networks_speak_timms_interface(name: str) -> None:
    model = timm.create_model(name, num_classes=4, in_chans=1).eval()
    images = torch.randn(2, 1, 16, 16)

    latent = model.forward_head(model.forward_features(images), pre_logits=True)

    assert latent.shape == (2, model.num_features)
    torch.testing.assert_close(model.get_classifier()(latent), model(images))
    model.reset_classifier(9)
    assert model(images).shape == (2, 9)
    model.reset_classifier(0)
    torch.testing.assert_close(model(images), latent)
    assert model.pretrained_cfg["architecture"] == name


def test_importing_registers_the_compact_networks_with_timm() -> None:
    assert set(COMPACT) <= set(timm.list_models())


def test_resnet9_of_width_16_has_128_latent_features_and_any_width_can_be_asked() -> None:
    assert build_model("resnet9_16", n_classes=10).num_features == 128
    assert timm.create_model("resnet9_16", width=8).num_features == 64


def test_group_norm_networks_hold_no_batch_norm_and_score_a_sample_alone_as_in_a_batch() -> None:
    model = build_model("resnet20_gn", n_classes=3)
    images = torch.randn(4, 3, 8, 8)

    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    torch.testing.assert_close(model(images)[:1], model(images[:1]))


def test_whitening_makes_patches_of_pixels_uncorrelated_with_unit_variance() -> None:
    model = timm.create_model("whitened_32", in_chans=3)
    images = torch.randn(64, 3, 16, 16).cumsum(2).cumsum(3) / 20  # neighbours are alike, as in photographs

    model.whiten(images, floor=0.0)

    first = model.first
    filters = nn.functional.conv2d(images.double(), first.weight[:12].double()).permute(1, 0, 2, 3).flatten(1)
    torch.testing.assert_close(filters @ filters.T / filters.shape[1], torch.eye(12).double(), atol=1e-2, rtol=0)
    torch.testing.assert_close(first.weight[12:], -first.weight[:12])
    assert not first.weight.requires_grad


def test_a_compact_network_learns_digits_in_a_few_steps_under_bfloat16() -> None:
    from sklearn.datasets import load_digits

    torch.manual_seed(0)
    images, labels = load_digits(return_X_y=True)
    x = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    x, y = x.to(memory_format=torch.channels_last), torch.tensor(labels)
    model = build_model("resnet9_16", n_classes=10, in_chans=1).to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    for step in range(45):
        batch = torch.arange(step * 128, (step + 1) * 128) % 1500
        with torch.autocast("cpu", torch.bfloat16):
            loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    accuracy = (model.eval()(x[1500:]).argmax(1) == y[1500:]).float().mean()

    assert accuracy > 0.8


def test_a_vision_transformer_takes_the_image_size_that_is_asked() -> None:
    model = build_model("vit_tiny_patch16_224", n_classes=5, image_size=32, in_chans=1)

    assert model(torch.randn(2, 1, 32, 32)).shape == (2, 5)


def test_a_convolutional_model_takes_an_image_size_without_needing_it() -> None:
    assert build_model("resnet18", n_classes=3, image_size=64)(torch.randn(2, 3, 64, 64)).shape == (2, 3)


def test_an_unknown_name_is_refused_with_near_names() -> None:
    with pytest.raises(ModelError, match=r"unknown model 'resnet9_15'; did you mean .*resnet9_16"):
        build_model("resnet9_15", n_classes=10)


def test_an_unknown_tag_an_impossible_size_and_one_class_are_refused_on_one_line() -> None:
    for arguments in (
        {"name": "resnet18.no_such_tag", "n_classes": 2},
        {"name": "vit_tiny_patch16_224", "n_classes": 2, "image_size": 8},
        {"name": "resnet9_16", "n_classes": 1},
    ):
        with pytest.raises(ModelError) as refusal:
            build_model(**arguments)  # type: ignore[arg-type]  # a table of keyword arguments
        assert "\n" not in str(refusal.value)


def test_pretrained_weights_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ModelError, match="no pretrained weights for 'resnet9_16'"):
        build_model("resnet9_16", n_classes=10, pretrained=True)


def _save(model: nn.Module, path: Path) -> Path:
    torch.save(model.state_dict(), path)
    return path


def test_a_checkpoint_of_the_same_classes_is_loaded_with_its_head(tmp_path: Path) -> None:
    source = build_model("resnet9_16", n_classes=6)

    loaded = build_model("resnet9_16", n_classes=6, checkpoint=_save(source, tmp_path / "w.pt"))

    for name, value in source.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value)


def test_a_checkpoint_of_other_classes_gives_the_body_and_a_new_head(tmp_path: Path) -> None:
    source = build_model("resnet20_bn", n_classes=6)

    loaded = build_model("resnet20_bn", n_classes=3, checkpoint=_save(source, tmp_path / "w.pt"))

    assert loaded(torch.randn(2, 3, 8, 8)).shape == (2, 3)
    torch.testing.assert_close(loaded.get_parameter("stem.conv.weight"), source.get_parameter("stem.conv.weight"))


def test_a_vit_checkpoint_serves_another_size_and_other_channels(tmp_path: Path) -> None:
    source = build_model("vit_tiny_patch16_224", n_classes=6, image_size=64)

    loaded = build_model(
        "vit_tiny_patch16_224", n_classes=3, image_size=32, in_chans=1, checkpoint=_save(source, tmp_path / "w.pt")
    )

    assert loaded(torch.randn(1, 1, 32, 32)).shape == (1, 3)


class Exploit:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.marker,)


def test_a_checkpoint_that_is_missing_broken_of_another_model_or_malicious_is_refused(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "broken.pt").write_bytes(b"not weights")
    torch.save({"fc.weight": Exploit(marker)}, tmp_path / "malicious.pt")
    _save(build_model("resnet20_bn", n_classes=10), tmp_path / "other.pt")
    for file in ("missing.pt", "broken.pt", "malicious.pt", "other.pt"):
        with pytest.raises(ModelError) as refusal:
            build_model("resnet9_16", n_classes=10, checkpoint=tmp_path / file)
        assert "\n" not in str(refusal.value)
    assert not marker.exists()


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))


def test_the_head_of_a_timm_model_is_its_classifier() -> None:
    for name, head in (("resnet18", "fc"), ("vit_tiny_patch16_224", "head"), ("convnext_atto", "head.fc")):
        assert find_head(timm.create_model(name, num_classes=3)).name == head


def test_without_timms_interface_the_head_is_the_last_linear_layer_or_the_named_one() -> None:
    model = _mlp()

    assert find_head(model).name == "2"
    assert find_head(model, "0").module is model[0]
    assert find_head(model, model[0]).name == "0"


def test_the_head_is_found_inside_wrappers_under_its_bare_name() -> None:
    model = _mlp()
    for wrapped in (
        nn.DataParallel(model),
        torch.compile(model, backend="eager"),
        nn.DataParallel(torch.compile(model, backend="eager")),
        torch.optim.swa_utils.AveragedModel(model),
    ):
        assert find_head(wrapped).name == "2"
        assert find_head(wrapped, "module.2").name == "2"
    assert unwrap(nn.DataParallel(torch.compile(model, backend="eager"))) is model


def test_a_model_without_a_linear_head_is_refused_and_its_linear_layers_listed() -> None:
    with pytest.raises(ModelError, match=r"no nn\.Linear"):
        find_head(nn.Conv1d(3, 8, 1))
    with pytest.raises(ModelError, match="Identity"):
        find_head(timm.create_model("resnet9_16", num_classes=0))
    with pytest.raises(ModelError, match=r"no layer is called 'fc'.*'0', '2'"):
        find_head(_mlp(), "fc")
    with pytest.raises(ModelError, match=r"'1' is ReLU.*'0', '2'"):
        find_head(_mlp(), "1")
    with pytest.raises(ModelError, match="not a layer of this Sequential"):
        find_head(_mlp(), nn.Linear(8, 3))
