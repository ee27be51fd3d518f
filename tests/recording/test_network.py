"""Gradient measures against their definitions, written out sample by sample, and without a trace in the model."""

import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from gwaudit.core.errors import ModelError, SettingsError
from gwaudit.recording.alignment import head_alignment
from gwaudit.recording.network import (
    batch_gradient,
    direction_alignment,
    flat_weights,
    gradient_disparity,
    head_and_network_alignment,
    stiffness,
)
from gwaudit.training.models import build_model


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(10, 6, generator=generator), torch.randint(3, (10,), generator=generator)


def plain_gradient(model, inputs, labels, scale=1.0):
    model = copy.deepcopy(model).eval()
    (cross_entropy(model(inputs), labels) / scale).backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def test_disparity_is_the_mean_distance_between_gradients_of_losses_of_unit_spread(model, data):
    inputs, labels = data
    parts = [(inputs[i : i + 4], labels[i : i + 4]) for i in (0, 3, 6)]
    scaled = []
    for x, y in parts:
        spread = cross_entropy(copy.deepcopy(model).eval()(x), y, reduction="none").std().item()
        scaled.append(plain_gradient(model, x, y, spread))
    expected = sum((scaled[i] - scaled[j]).norm() for i, j in ((0, 1), (0, 2), (1, 2))) / 3
    found = gradient_disparity(model, parts)
    assert found.disparity == pytest.approx(expected.item(), rel=1e-5)
    mean = sum(plain_gradient(model, x, y) for x, y in parts) / 3
    assert found.gradient_norm == pytest.approx(mean.norm().item(), rel=1e-5)


def test_equal_batches_have_no_disparity(model, data):
    assert gradient_disparity(model, [data, data]).disparity == 0


def test_stiffness_is_the_cosine_of_pairs(model, data):
    inputs, labels = data
    gradients = [plain_gradient(model, inputs[i : i + 1], labels[i : i + 1]) for i in range(10)]
    pairs = [(i, j) for i in range(10) for j in range(i)]
    cosines = torch.stack([cosine_similarity(gradients[i], gradients[j], dim=0) for i, j in pairs])
    alike = torch.tensor([bool(labels[i] == labels[j]) for i, j in pairs])
    found = stiffness(model, inputs, labels)
    assert found.cosine == pytest.approx(cosines.mean().item(), abs=1e-6)
    assert found.sign == pytest.approx(cosines.sign().mean().item())
    assert found.cosine_within == pytest.approx(cosines[alike].mean().item(), abs=1e-6)
    assert found.sign_between == pytest.approx(cosines[~alike].sign().mean().item())
    assert math.isnan(stiffness(model, inputs[:2], torch.tensor([0, 1])).cosine_within)


def test_the_way_to_the_final_weights_is_downhill_for_a_linear_problem():
    model = nn.Linear(4, 2, bias=False)
    inputs, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
    start, gradient = flat_weights(model), batch_gradient(model, inputs, labels)
    assert direction_alignment(gradient, start, start - 0.1 * gradient) == pytest.approx(1)
    assert direction_alignment(gradient, start, start + gradient) == pytest.approx(-1)
    assert direction_alignment(gradient, start, start) == 0


def test_the_heads_alignment_stands_beside_the_networks():
    torch.manual_seed(0)
    model = build_model("resnet20_gn", n_classes=4)
    inputs, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 3, 0, 1])
    found = head_and_network_alignment(model, inputs, labels)
    latent = model.eval().forward_head(model.forward_features(inputs), pre_logits=True)
    expected = head_alignment(latent, model.fc(latent), labels, model.fc.weight, model.fc.bias, alignment="weight")
    assert torch.allclose(found.head, expected, atol=1e-5)
    assert found.network.shape == (6,)
    assert found.correlation == pytest.approx(torch.corrcoef(torch.stack([found.head, found.network]))[0, 1].item())


def test_the_model_is_left_as_it_was(model, data):
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    gradient_disparity(model, [data, data])
    stiffness(model, *data)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values(), strict=True))
    assert [module.training for module in model.modules()] == modes
    assert all(p.grad is None for p in model.parameters())


def test_what_has_no_pairs_or_no_gradients_is_refused(model, data):
    inputs, labels = data
    with pytest.raises(SettingsError, match="two batches"):
        gradient_disparity(model, [data])
    with pytest.raises(SettingsError, match="two samples"):
        stiffness(model, inputs[:1], labels[:1])
    with pytest.raises(ModelError, match="no trainable parameters"):
        batch_gradient(model.requires_grad_(False), inputs, labels)
