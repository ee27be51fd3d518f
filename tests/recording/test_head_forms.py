"""Heads that are not a last nn.Linear are recorded as automatic differentiation has it, or refused with the remedy."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from timm.models.resnetv2 import ResNetV2
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torch.utils.checkpoint import checkpoint

from gwaudit.core.errors import ModelError, RecordingError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.models import build_model
from helpers.gradients import head_cosines

N, CLASSES, FEATURES = 12, 4, 8
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0)) * torch.arange(1, N + 1)[:, None]
IMAGES = torch.randn(N, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    with TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), class_names=list("abcd")) as store:
        yield store


def recorded(
    model: nn.Module, store: TrajectoryStore, head: str | None = None, inputs: Tensor = INPUTS, step: bool = False
) -> np.ndarray:
    with AlignmentRecorder(model, store, head=head) as recorder:
        logits = model(inputs)
        if step:  # a late observation must not see the weights after the step
            F.cross_entropy(logits.flatten(1), LABELS).backward()
            torch.optim.SGD(model.parameters(), lr=1.0).step()
        recorder.observe(torch.arange(N), LABELS)
        recorder.end_epoch()
    return store.read_block(0, 0, ["alignment"])["alignment"]


class Cosine(nn.Module):
    """s cos(z, w_c), or with only one of the two normalised."""

    def __init__(self, scale: float = 3.0, unit_latent: bool = True, unit_weight: bool = True, bias: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(CLASSES, FEATURES) * torch.arange(1, CLASSES + 1)[:, None])
        self.scale = nn.Parameter(torch.tensor(scale))
        self.bias = nn.Parameter(torch.randn(CLASSES)) if bias else None
        self.unit_latent, self.unit_weight = unit_latent, unit_weight

    def forward(self, latent: Tensor) -> Tensor:
        latent = F.normalize(latent, dim=1) if self.unit_latent else latent
        product = self.scale * F.linear(latent, F.normalize(self.weight, dim=1) if self.unit_weight else self.weight)
        return product if self.bias is None else product + self.bias


class CosineLinear(nn.Linear):
    def forward(self, latent: Tensor) -> Tensor:
        return 5 * F.linear(F.normalize(latent, dim=1), F.normalize(self.weight, dim=1))


def test_the_last_linear_layer_of_a_hidden_mlp_head_is_the_head(store: TrajectoryStore) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(FEATURES, 16), nn.ReLU(), nn.Sequential(nn.Linear(16, 8), nn.GELU(), nn.Linear(8, 4))
    )
    latents = model[2][:2](model[:2](INPUTS))
    head = model[2][2]
    expected = head_cosines(latents, LABELS, head.weight, head.bias)
    np.testing.assert_allclose(recorded(model, store), expected, atol=1e-5)


def test_a_timm_model_whose_classifier_was_replaced_by_an_mlp_records_at_the_mlps_last_layer(
    store: TrajectoryStore,
) -> None:
    model = build_model("resnet9_16", n_classes=CLASSES).eval()
    name = next(n for n, m in model.named_modules() if m is model.get_classifier())
    setattr(model, name, nn.Sequential(nn.Linear(model.num_features, 8), nn.ReLU(), nn.Linear(8, CLASSES)))
    head = getattr(model, name)[2]
    caught: list[Tensor] = []
    head.register_forward_pre_hook(lambda module, args: caught.append(args[0]))
    alignment = recorded(model, store, inputs=IMAGES)
    expected = head_cosines(caught[0], LABELS, head.weight, head.bias)
    np.testing.assert_allclose(alignment, expected, atol=1e-5)


@pytest.mark.parametrize(("unit_latent", "unit_weight"), [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("step", [False, True])
def test_a_cosine_head_is_the_linear_layer_of_its_normalised_weight(
    store: TrajectoryStore, unit_latent: bool, unit_weight: bool, bias: bool, step: bool
) -> None:
    torch.manual_seed(0)
    head = Cosine(0.5, unit_latent, unit_weight, bias)
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), head)
    with torch.no_grad():
        latents = model[0](INPUTS) * (1 if unit_latent else 0.1)
        model[0].weight *= 1 if unit_latent else 0.1
        model[0].bias *= 1 if unit_latent else 0.1
    weight = head.scale * (F.normalize(head.weight, dim=1) if unit_weight else head.weight)
    latents = F.normalize(latents, dim=1) if unit_latent else latents
    expected = head_cosines(latents, LABELS, weight, head.bias)
    np.testing.assert_allclose(recorded(model, store, head="1", step=step), expected, atol=1e-5)


def test_the_gradient_of_a_cosine_head_is_orthogonal_to_its_weight_before_normalisation() -> None:
    torch.manual_seed(0)
    head = Cosine(3.0)

    def logits_of(z: Tensor, w: Tensor) -> Tensor:
        return 3 * F.linear(F.normalize(z, dim=1), F.normalize(w, dim=1))

    expected = head_cosines(INPUTS, LABELS, head.weight, logits_of=logits_of)
    np.testing.assert_allclose(expected, 0, atol=1e-12)  # why that is not what is recorded


def test_a_subclass_of_linear_that_computes_a_cosine_is_not_taken_for_linear(store: TrajectoryStore) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), CosineLinear(FEATURES, CLASSES, bias=False))
    latents = F.normalize(model[0](INPUTS), dim=1)
    expected = head_cosines(latents, LABELS, 5 * F.normalize(model[1].weight, dim=1))
    np.testing.assert_allclose(recorded(model, store), expected, atol=1e-5)


@pytest.mark.parametrize(
    "normed",
    [
        lambda head: parametrizations.weight_norm(head),
        lambda head: parametrizations.weight_norm(head, dim=None),
        lambda head: parametrizations.spectral_norm(head),
        lambda head: torch.nn.utils.weight_norm(head),
        lambda head: torch.nn.utils.spectral_norm(head),
    ],
)
@pytest.mark.filterwarnings("ignore:.*weight_norm.*deprecated")
@pytest.mark.parametrize("step", [False, True])
def test_a_weight_or_spectral_normed_head_is_recorded_by_the_weight_it_multiplies_with(
    store: TrajectoryStore, normed: Callable[[nn.Module], nn.Module], step: bool
) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, FEATURES), normed(nn.Linear(FEATURES, CLASSES)))
    twin = nn.Sequential(nn.Linear(FEATURES, FEATURES), normed(nn.Linear(FEATURES, CLASSES)))
    twin.load_state_dict(model.state_dict())

    alignment = recorded(model, store, step=step)

    twin(INPUTS)  # spectral_norm moves at each forward pass, and only there
    if not step:
        assert all(torch.equal(value, twin.state_dict()[name]) for name, value in model.state_dict().items())
    effective = twin.eval()[1].weight if parametrize.is_parametrized(twin[1]) else twin[1].weight
    expected = head_cosines(twin[0](INPUTS), LABELS, effective, twin[1].bias)
    np.testing.assert_allclose(alignment, expected, atol=1e-5)


def convolution() -> nn.Sequential:
    return nn.Sequential(nn.Unflatten(1, (FEATURES, 1, 1)), nn.Conv2d(FEATURES, CLASSES, 1), nn.Flatten())


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (lambda: parametrizations.weight_norm(nn.Linear(FEATURES, CLASSES)), "1"),
        (lambda: parametrizations.spectral_norm(nn.Linear(FEATURES, CLASSES)), "1"),
        (lambda: CosineLinear(FEATURES, CLASSES, bias=False), "1"),
        (convolution, "1.1"),
    ],
    ids=["weight_norm", "spectral_norm", "cosine", "convolution"],
)
@pytest.mark.parametrize("technique", ["compiled", "checkpointed", "checkpointed reentrant", "bfloat16"])
def test_such_heads_record_alike_when_compiled_checkpointed_or_under_autocast(
    tmp_path: Path, head: Callable[[], nn.Module], name: str, technique: str
) -> None:
    alignments = []
    for plain in (True, False):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(FEATURES, FEATURES), head())
        called = torch.compile(model, backend="eager") if technique == "compiled" and not plain else model
        options = {"given_labels": LABELS.numpy(), "class_names": list("abcd")}
        with TrajectoryStore.create(tmp_path / str(plain), **options) as store:
            with AlignmentRecorder(called, store, head=name) as recorder:
                with torch.autocast("cpu", torch.bfloat16, enabled=technique == "bfloat16" and not plain):
                    if technique.startswith("checkpointed") and not plain:
                        inputs = INPUTS.clone().requires_grad_()
                        logits = checkpoint(called, inputs, use_reentrant=technique.endswith("reentrant"))
                    else:
                        logits = called(INPUTS)
                F.cross_entropy(logits, LABELS).backward()
                recorder.observe(torch.arange(N), LABELS)
                recorder.end_epoch()
            alignments.append(store.read_block(0, 0, ["alignment"])["alignment"])
    torch.compiler.reset()
    np.testing.assert_allclose(*alignments, atol=0.02 if technique == "bfloat16" else 1e-5)


class Convolutional(nn.Module):
    """A head that is a convolution, before or after the pooling."""

    def __init__(self, head: nn.Module, pool: Callable[[Tensor], Tensor] | None, after: Callable[[Tensor], Tensor]):
        super().__init__()
        self.body, self.head, self.pool, self.after = nn.Conv2d(3, FEATURES, 3, stride=8), head, pool, after

    def latent(self, images: Tensor) -> Tensor:
        latent = F.relu(self.body(images))
        return latent if self.pool is None else self.pool(latent)

    def forward(self, images: Tensor) -> Tensor:
        return self.after(self.head(self.latent(images)))


def average(maps: Tensor) -> Tensor:
    return F.adaptive_avg_pool2d(maps, 1)


@pytest.mark.parametrize(
    ("kernel", "pool", "after"),
    [
        (1, average, lambda logits: logits.flatten(1)),
        (1, average, lambda logits: logits[:, :, 0, 0]),
        (1, average, lambda logits: logits),
        (4, None, lambda logits: logits.flatten(1)),
        (1, None, lambda logits: logits.mean((2, 3))),
        (1, None, lambda logits: average(logits).flatten(1)),
    ],
)
def test_a_convolution_that_makes_one_logit_a_class_is_the_linear_layer_it_amounts_to(
    store: TrajectoryStore, kernel: int, pool: Callable[[Tensor], Tensor], after: Callable[[Tensor], Tensor]
) -> None:
    torch.manual_seed(0)
    head = nn.Conv2d(FEATURES, CLASSES, kernel)
    model = Convolutional(head, pool, after)
    latents = model.latent(IMAGES)
    expected = head_cosines(latents, LABELS, head.weight, head.bias, lambda z, w, b: after(F.conv2d(z, w, b)))
    np.testing.assert_allclose(recorded(model, store, inputs=IMAGES, head="head"), expected, atol=1e-5)


def test_timms_pre_activation_resnet_with_its_convolutional_head_records(store: TrajectoryStore) -> None:
    torch.manual_seed(0)
    model = ResNetV2((1, 1), channels=(128, 256), stem_chs=32, num_classes=CLASSES).eval()
    nn.init.normal_(model.head.fc.weight)
    assert isinstance(model.get_classifier(), nn.Conv2d)
    latents = model.head.global_pool(model.forward_features(IMAGES))
    fc = model.head.fc
    expected = head_cosines(latents, LABELS, fc.weight, fc.bias, F.conv2d)
    np.testing.assert_allclose(recorded(model, store, inputs=IMAGES), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("head", "after", "message"),
    [
        (nn.Conv2d(FEATURES, CLASSES, 1), lambda logits: logits.relu().mean((2, 3)), "for every position.*pool before"),
        (nn.Conv2d(FEATURES, CLASSES, 1), lambda logits: logits.amax((2, 3)), "for every position.*pool before"),
        (
            nn.Conv2d(FEATURES, CLASSES, 3),
            lambda logits: logits.mean((2, 3)),
            r"kernel of \(3, 3\) on a map",
        ),
        (nn.Conv2d(FEATURES, CLASSES, 1, groups=4), lambda logits: logits.mean((2, 3)), "groups 1"),
        (nn.Conv2d(FEATURES, CLASSES, 1), lambda logits: logits, "for every position.*pool before"),
    ],
)
def test_a_convolution_whose_logits_are_not_linear_in_one_latent_is_refused_with_the_remedy(
    store: TrajectoryStore, head: nn.Module, after: Callable[[Tensor], Tensor], message: str
) -> None:
    torch.manual_seed(0)
    head.reset_parameters()
    with pytest.raises(RecordingError, match=message):
        recorded(Convolutional(head, None, after), store, inputs=IMAGES, head="head")
    assert store.epochs == ()


class Margin(CosineLinear):
    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        return super().forward(latent) - 0.5 * F.one_hot(labels, CLASSES)


class Distance(nn.Linear):
    def forward(self, latent: Tensor) -> Tensor:
        return -torch.cdist(latent, self.weight)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        (Margin(FEATURES, CLASSES), "'1'.*cannot be run on a latent only.*head="),
        (Distance(FEATURES, CLASSES), "'1'.*neither linear.*nor a scaled cosine.*head="),
        (nn.Embedding(CLASSES, FEATURES), "'1'.*cannot be run on a latent only"),
    ],
)
def test_a_head_that_is_neither_linear_nor_a_cosine_is_refused_before_training(
    store: TrajectoryStore, head: nn.Module, message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        AlignmentRecorder(nn.Sequential(nn.Linear(FEATURES, FEATURES), head), store, head="1")
