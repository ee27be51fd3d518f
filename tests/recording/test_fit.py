"""Only a head that makes the logits of the loss is recorded, as autograd has it; any other is refused."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from gwaudit.core.errors import GwauditError, ModelError
from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore
from helpers.gradients import head_cosines

N, CLASSES, FEATURES = 12, 4, 6
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, FEATURES, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[TrajectoryStore]:
    with TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), class_names=list("abcd")) as store:
        yield store


def observe(recorder: AlignmentRecorder, model: nn.Module, inputs: Tensor = INPUTS) -> None:
    model(inputs)
    recorder.observe(range(N), LABELS)


def recorded(model: nn.Module, store: TrajectoryStore, head: str | None = None, inputs: Tensor = INPUTS) -> np.ndarray:
    with AlignmentRecorder(model, store, head=head) as recorder:
        observe(recorder, model, inputs)
        recorder.end_epoch()
    return store.read_block(0, 0, ["alignment"])["alignment"]


class Net(nn.Module):
    """Returns the logits of its head in a way of its own; a second head is defined after it."""

    def __init__(self, output: Callable[[Any, Tensor], object], *, second: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU()), nn.Linear(8, CLASSES)
        self.second = nn.Linear(8, CLASSES) if second else None
        self.dropout, self.output = nn.Dropout(0.5), output

    def forward(self, inputs: Tensor) -> object:
        return self.output(self, self.body(inputs))

    def expected(self, scale: float = 1) -> Tensor:
        return head_cosines(self.body(INPUTS), LABELS, scale * self.head.weight, scale * self.head.bias)


SAME: dict[str, Callable[[Any, Tensor], object]] = {
    "log_softmax": lambda net, z: net.head(z).log_softmax(1),
    "a dict without logits": lambda net, z: {"scores": net.head(z), "features": z},
    "nested": lambda net, z: ((net.head(z), z), None),
    "[B, 1, C]": lambda net, z: net.head(z[:, None]),
    "[B, 1, C], squeezed": lambda net, z: net.head(z[:, None])[:, 0].float(),
    "centred": lambda net, z: net.head(z) - net.head(z).mean(1, keepdim=True),
}


@pytest.mark.parametrize("name", ["head", None])
@pytest.mark.parametrize("output", SAME)
def test_logits_that_are_returned_up_to_a_shift_or_in_another_shape_are_recorded(
    store: TrajectoryStore, output: str, name: str | None
) -> None:
    if output == "centred":
        net = Net(lambda net, z: (lambda logits: logits - logits.mean(1, keepdim=True))(net.head(z)), second=False)
    else:
        net = Net(SAME[output], second=False)
    np.testing.assert_allclose(recorded(net, store, name), net.expected(), atol=1e-5)


@pytest.mark.parametrize("scale", [0.125, 3.0])
def test_logits_that_are_scaled_after_a_named_head_are_recorded_with_the_scaled_weight(
    store: TrajectoryStore, scale: float
) -> None:
    net = Net(lambda net, z: scale * net.head(z))
    np.testing.assert_allclose(recorded(net, store, "head"), net.expected(scale), atol=1e-5)
    with torch.no_grad():
        losses = functional.cross_entropy(net(INPUTS), LABELS, reduction="none")
    np.testing.assert_allclose(store.read_block(0, 0, ["loss"])["loss"], losses, rtol=1e-5, atol=1e-6)


def test_probabilities_of_a_named_head_are_recorded(store: TrajectoryStore) -> None:
    net = Net(lambda net, z: net.head(z).softmax(1))
    np.testing.assert_allclose(recorded(net, store, "head"), net.expected(), atol=1e-5)


OTHER: dict[str, Callable[[Any, Tensor], object]] = {
    "the mean of two heads": lambda net, z: (net.head(z) + net.second(z)) / 2,
    "dropout": lambda net, z: net.dropout(net.head(z)),
    "an activation": lambda net, z: net.head(z).tanh(),
    "a prior of each class": lambda net, z: (net.head(z), net.second(z))[0] + torch.arange(CLASSES),
    "only the other head": lambda net, z: (net.head(z), net.second(z))[1],
}


@pytest.mark.parametrize("output", OTHER)
def test_logits_that_the_head_does_not_make_are_refused_with_the_layers_to_choose_from(
    store: TrajectoryStore, output: str
) -> None:
    with pytest.raises(GwauditError, match=r"head= \(layers with 4 outputs: 'head', 'second'\).*logits="):
        recorded(Net(OTHER[output]), store, "head")
    assert store.epochs == ()


GUESSES = [*list(OTHER.values())[:4], lambda net, z: (net.second(z), net.head(z))[1], lambda net, z: net.head(z)]


def change_in_place(net: Any, z: Tensor, factor: float, shift: float) -> Tensor:
    logits: Tensor = net.head(z)
    return logits.mul_(factor).add_(shift * torch.arange(CLASSES))


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("factor", "shift"), [(3.0, 0.0), (1.0, 0.5)])
def test_logits_that_the_model_changes_in_place_are_compared_with_the_output_of_the_head(
    tmp_path: Path, store: TrajectoryStore, factor: float, shift: float, compiled: bool
) -> None:
    net = Net(lambda net, z: change_in_place(net, z, factor, shift), second=False)
    model = torch.compile(net, backend="aot_eager") if compiled else net
    with pytest.raises(GwauditError, match="does not return the output of "):
        recorded(model, store)
    torch.compiler.reset()
    if shift:
        with pytest.raises(GwauditError, match="not the output of the head 'head'"):
            recorded(model, store, "head")
    else:
        found = recorded(model, store, "head")
        wide = head_cosines(net.body(INPUTS), LABELS, factor * net.head.weight, factor * net.head.bias)
        np.testing.assert_allclose(found, wide, atol=1e-5)
    torch.compiler.reset()


@pytest.mark.parametrize(
    "change",
    [
        lambda logits: torch.cat([logits[:8], logits[8:].flip(0)]),
        lambda logits: torch.cat([logits[:8], 3 * logits[8:]]),
    ],
)
def test_each_row_that_the_model_returns_is_compared(
    store: TrajectoryStore, change: Callable[[Tensor], Tensor]
) -> None:
    net = Net(lambda net, z: change(net.head(z)), second=False)
    for head, message in [(None, "does not return the output of"), ("head", "not the output of the head")]:
        with pytest.raises(GwauditError, match=message):
            recorded(net, store, head)


def test_a_loss_may_change_the_logits_in_place(store: TrajectoryStore) -> None:
    net = Net(lambda net, z: net.head(z), second=False)
    with AlignmentRecorder(net, store) as recorder:
        net(INPUTS).mul_(3)
        recorder.observe(range(N), LABELS)
        recorder.end_epoch()
    wide = head_cosines(net.body(INPUTS), LABELS, net.head.weight, net.head.bias)
    np.testing.assert_allclose(store.read_block(0, 0, ["alignment"])["alignment"], wide, atol=1e-5)


@pytest.mark.parametrize("output", GUESSES)
def test_a_guessed_last_layer_that_does_not_make_the_logits_is_refused_with_the_layers_to_choose_from(
    store: TrajectoryStore, output: Callable[[Any, Tensor], object]
) -> None:
    with pytest.raises(GwauditError, match=r"'second'.*head= \(layers with 4 outputs: 'head', 'second'\)"):
        recorded(Net(output), store)
    assert store.epochs == ()


@pytest.mark.parametrize(
    "output", [lambda net, z: (net.head(z), net.second(z)), lambda net, z: {"a": net.head(z), "b": net.second(z)}]
)
def test_of_two_heads_of_equal_width_one_has_to_be_named(
    store: TrajectoryStore, output: Callable[[Any, Tensor], object]
) -> None:
    net = Net(output)
    with pytest.raises(GwauditError, match=r"Net returns 2 tensors.*head= \(layers with 4 outputs: 'head', 'second'\)"):
        recorded(net, store)
    np.testing.assert_allclose(recorded(net, store, "head"), net.expected(), atol=1e-5)


def test_a_second_head_that_starts_at_zero_is_found_out_when_it_moves(store: TrajectoryStore) -> None:
    net = Net(lambda net, z: net.head(z) + net.second(z))
    nn.init.zeros_(net.second.weight), nn.init.zeros_(net.second.bias)
    with AlignmentRecorder(net, store, head="head") as recorder:
        observe(recorder, net)
        nn.init.normal_(net.second.weight)
        with pytest.raises(GwauditError, match="averages several heads"):
            observe(recorder, net)


def test_a_head_that_was_replaced_after_the_recorder_was_made_is_named(store: TrajectoryStore) -> None:
    net = nn.Sequential(nn.Linear(FEATURES, 8), nn.Linear(8, CLASSES))
    with AlignmentRecorder(net, store) as recorder:
        net[-1] = nn.Linear(8, CLASSES)
        with pytest.raises(GwauditError, match=r"'1' is no longer a layer of the model.*make a new recorder"):
            observe(recorder, net)


def test_an_output_that_a_hook_or_a_replaced_forward_method_changes_is_refused(store: TrajectoryStore) -> None:
    net = Net(lambda net, z: net.head(z), second=False)
    handle = net.head.register_forward_hook(
        lambda module, args, output: output + args[0].sum(1, keepdim=True).sin() * 9
    )
    with pytest.raises(GwauditError, match=r"'head' is not its input times its weight.*before the head"):
        recorded(net, store)
    handle.remove()
    net.head.forward = lambda z: functional.linear(z, net.head.weight.sign())  # type: ignore[method-assign]  # a patch
    with pytest.raises(GwauditError, match="not its input times its weight"):
        recorded(net, store, "head")


def test_a_distilled_vision_transformer_is_refused_at_each_of_its_two_heads(store: TrajectoryStore) -> None:
    model = timm.create_model(
        "deit_tiny_distilled_patch16_224",
        num_classes=CLASSES,
        img_size=32,
        patch_size=16,
        depth=1,
        embed_dim=16,
        num_heads=2,
    )
    nn.init.normal_(model.head.weight), nn.init.normal_(model.head_dist.weight)
    images = torch.randn(N, 3, 32, 32)
    with pytest.raises(ModelError, match="'head', 'head_dist'"):
        recorded(model, store, inputs=images)
    with pytest.raises(GwauditError, match="averages several heads"):
        recorded(model, store, "head", images)
    model.set_distilled_training(True)
    assert recorded(model, store, "head", images).shape == (N,)


@pytest.mark.parametrize("replace", [lambda: nn.Linear(320, CLASSES), lambda: nn.Sequential(nn.Linear(320, CLASSES))])
def test_a_timm_model_whose_head_was_replaced_is_recorded(
    store: TrajectoryStore, replace: Callable[[], nn.Module]
) -> None:
    model = timm.create_model("convnext_atto", num_classes=CLASSES, depths=(1, 1, 1, 1), dims=(8, 8, 8, 320))
    model.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), replace())
    assert recorded(model, store, inputs=torch.randn(N, 3, 32, 32)).shape == (N,)


def adapted(**options: Any) -> Any:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    model = get_peft_model(net, LoraConfig(target_modules=["2"], r=2, **options))
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize(
    ("name", "options"), [(None, {}), ("base_model.model.2", {}), (None, {"lora_bias": True, "lora_alpha": 3})]
)
@pytest.mark.parametrize("merged", [False, True])
def test_lora_on_the_classifier_is_recorded_with_the_sums_of_weights_and_of_biases(
    store: TrajectoryStore, name: str | None, options: dict[str, Any], merged: bool
) -> None:
    model = adapted(**options)
    layer = model.base_model.model[2]
    weight = (layer.base_layer.weight + layer.get_delta_weight("default")).detach()
    latents = model.base_model.model[:2](INPUTS)
    bias = layer(torch.zeros(8)).detach()
    if merged:
        model.merge_adapter()
    expected = head_cosines(latents, LABELS, weight, bias)
    np.testing.assert_allclose(recorded(model, store, name), expected, atol=1e-5)


@pytest.mark.parametrize("options", [{"lora_dropout": 0.5}, {"use_dora": True}])
def test_an_adapter_whose_weight_is_not_a_sum_is_refused(store: TrajectoryStore, options: dict[str, Any]) -> None:
    with pytest.raises(GwauditError, match=r"adapter with dropout.*evaluation passes"):
        recorded(adapted(**options), store)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("features", [8, 2048])
def test_rounding_of_half_precision_is_no_misfit(store: TrajectoryStore, dtype: torch.dtype, features: int) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(FEATURES, features), nn.ReLU(), nn.Linear(features, CLASSES))
    for scale in (1e-3, 1.0, 30.0):
        with AlignmentRecorder(model, store, head="2") as recorder, torch.autocast("cpu", dtype):
            logits = model(INPUTS * scale).float().log_softmax(1)
            recorder.observe(range(N), LABELS, logits=logits)
            observe(recorder, model, INPUTS * scale)
    half = model.to(dtype)
    with AlignmentRecorder(half, store) as recorder:
        observe(recorder, half, INPUTS.to(dtype))


def test_a_cosine_head_of_a_multi_label_run_has_cosines_as_alignments(tmp_path: Path) -> None:
    class Cosine(nn.Linear):
        def forward(self, latent: Tensor) -> Tensor:
            return 5 * functional.linear(functional.normalize(latent, dim=1), functional.normalize(self.weight, dim=1))

    torch.manual_seed(0)
    head = Cosine(FEATURES, 3, bias=False)
    labels = np.random.default_rng(0).integers(0, 2, (N, 3))
    with TrajectoryStore.create(tmp_path / "run", given_labels=labels, class_names=list("abc")) as store:
        with AlignmentRecorder(head, store, head=head) as recorder:
            head(INPUTS)
            recorder.observe(range(N), labels)
            recorder.end_epoch()
        alignment = store.read_block(0, 0, ["alignment"])["alignment"].reshape(N, 3)
    cosines = functional.cosine_similarity(INPUTS[:, None], head.weight[None], dim=2).detach().numpy()
    np.testing.assert_allclose(alignment, np.where(labels == 1, cosines, -cosines), atol=1e-5)
