"""Alignment over all parameters of a network is the cosine that autograd finds, one sample at a time."""

import pytest
import torch
from torch import Tensor, nn

from gwaudit.core.errors import ModelError
from gwaudit.core.settings import Alignment
from gwaudit.recording.alignment import head_alignment
from gwaudit.recording.network import network_alignment


def make_network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8 * 16, 4)
    )
    network[1].running_mean.uniform_(-0.5, 0.5)
    network[1].running_var.uniform_(0.5, 2.0)
    return network


def one_sample_at_a_time(network: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    network = network.double().eval()
    parameters = [p for p in network.parameters() if p.requires_grad]
    flat = torch.cat([p.detach().flatten() for p in parameters])
    cosines = []
    for x, y in zip(inputs.double(), labels, strict=True):
        gradients = torch.autograd.grad(nn.functional.cross_entropy(network(x[None]), y[None]), parameters)
        cosines.append(nn.functional.cosine_similarity(-torch.cat([g.flatten() for g in gradients]), flat, dim=0))
    return torch.stack(cosines)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(6, 3, 6, 6, generator=generator), torch.arange(6) % 4


def test_it_is_the_cosine_of_each_samples_own_gradient(batch: tuple[Tensor, Tensor]) -> None:
    alignment = network_alignment(make_network(), *batch)
    assert alignment.dtype == torch.float32
    torch.testing.assert_close(alignment.double(), one_sample_at_a_time(make_network(), *batch), atol=1e-5, rtol=0)


def test_frozen_parameters_are_left_out(batch: tuple[Tensor, Tensor]) -> None:
    network, reference = make_network(), make_network()
    network[0].requires_grad_(False)
    reference[0].requires_grad_(False)
    alignment = network_alignment(network, *batch)
    torch.testing.assert_close(alignment.double(), one_sample_at_a_time(reference, *batch), atol=1e-5, rtol=0)


@pytest.mark.parametrize("sharpness", [1.0, 1000.0])
@pytest.mark.parametrize(("parameters", "form"), [(["5.weight", "5.bias"], "head"), (["5.weight"], "weight")])
def test_over_the_parameters_of_the_head_it_is_the_alignment_of_the_head(
    batch: tuple[Tensor, Tensor], sharpness: float, parameters: list[str], form: Alignment
) -> None:
    inputs, labels = batch
    network = make_network().eval()
    head = network[-1]
    head.weight.data *= sharpness
    latent = network[:-1](inputs)
    expected = head_alignment(latent, head(latent), labels, head.weight, head.bias, alignment=form)
    got = network_alignment(network, inputs, labels, parameters=parameters)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("training", [True, False])
def test_the_network_is_left_as_it_was(batch: tuple[Tensor, Tensor], training: bool) -> None:
    network = make_network().train(training)
    network[1].eval()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    with torch.no_grad():
        network_alignment(network, *batch)
    assert network.training is training
    assert network[1].training is False
    assert network[3].training is training
    assert all(torch.equal(t, before[name]) for name, t in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_half_precision_networks_and_autocast_are_computed_in_float32(batch: tuple[Tensor, Tensor]) -> None:
    inputs, labels = batch
    network = make_network().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        alignment = network_alignment(network, inputs.bfloat16(), labels)
    expected = one_sample_at_a_time(make_network().bfloat16(), inputs.bfloat16(), labels)
    assert alignment.dtype == torch.float32
    torch.testing.assert_close(alignment.double(), expected, atol=1e-5, rtol=0)


def test_parameters_that_are_not_there_are_named(batch: tuple[Tensor, Tensor]) -> None:
    network = make_network()
    with pytest.raises(ModelError, match=r"no parameter named 7\.weight; the model has 0\.weight"):
        network_alignment(network, *batch, parameters=["7.weight"])
    with pytest.raises(ModelError, match="no parameters to align with"):
        network_alignment(network.requires_grad_(False), *batch)
