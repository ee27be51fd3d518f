"""A model can be saved, copied, quantized, scripted, traced, exported and compiled while a recorder is attached."""

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gwaudit.recording.recorder import AlignmentRecorder
from gwaudit.store.store import TrajectoryStore

N, CLASSES = 12, 3
LABELS = torch.arange(N) % CLASSES
INPUTS = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))


class WithoutGwaudit(pickle.Unpickler):
    """Load as on a machine where gwaudit is not installed."""

    def find_class(self, module: str, name: str) -> Any:
        assert not module.startswith("gwaudit"), module
        return super().find_class(module, name)


class _PickleModule:
    Unpickler, load = WithoutGwaudit, staticmethod(lambda file, **options: WithoutGwaudit(file, **options).load())


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def saved(model: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    loaded: nn.Module = torch.load(file, weights_only=False, pickle_module=_PickleModule)
    return loaded


def scripted(model: nn.Module) -> Any:
    file = io.BytesIO()
    torch.jit.save(torch.jit.script(model), file)
    file.seek(0)
    return torch.jit.load(file)


def quantized_in_place(model: nn.Module) -> Any:
    return torch.ao.quantization.quantize_dynamic(copy.deepcopy(model), {nn.Linear}, inplace=True)


def statically_quantized(model: nn.Module) -> Any:
    wrapped = torch.ao.quantization.QuantWrapper(copy.deepcopy(model)).eval()
    wrapped.qconfig = torch.ao.quantization.default_qconfig
    prepared = torch.ao.quantization.prepare(wrapped)
    prepared(INPUTS)
    return torch.ao.quantization.convert(prepared)


COPIES: dict[str, Callable[[nn.Module], Any]] = {
    "torch.save": saved,
    "pickle": lambda model: WithoutGwaudit(io.BytesIO(pickle.dumps(model))).load(),
    "copy of a copy": lambda model: pickle.loads(pickle.dumps(copy.deepcopy(copy.deepcopy(model)))),
    "copy.copy": copy.copy,
    "averaged": torch.optim.swa_utils.AveragedModel,
    "scripted": scripted,
    "traced": lambda model: torch.jit.trace(model, INPUTS),
    "exported": lambda model: torch.export.export(model, (INPUTS,)).module(),
    "exported strictly": lambda model: torch.export.export(model, (INPUTS,), strict=True).module(),
    "compiled copy": lambda model: torch.compile(copy.deepcopy(model), backend="eager", fullgraph=True),
    "compiled loaded model": lambda model: torch.compile(saved(model), backend="eager", fullgraph=True),
    "quantized": lambda model: torch.ao.quantization.quantize_dynamic(model, {nn.Linear}),
    "quantized in place": quantized_in_place,
    "statically quantized": statically_quantized,
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls most of these deprecated
        yield
    torch.compiler.reset()


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_made_while_attached_runs_and_is_not_recorded(tmp_path: Path, name: str) -> None:
    model = network()
    store = TrajectoryStore.create(tmp_path / "run", given_labels=LABELS.numpy(), class_names=list("abc"))
    with store, AlignmentRecorder(model, store) as recorder:
        model(INPUTS)
        made = COPIES[name](model)  # between the forward pass and observe(): its own passes do not count
        if name != "copy.copy":  # which shares the layers
            output: Tensor = made(2 * INPUTS)
            torch.testing.assert_close(output, network()(2 * INPUTS), atol=0.5 if "quantized" in name else 1e-6, rtol=0)
        recorder.observe(range(N), LABELS)
        assert recorder.end_epoch().missing == 0
    losses = nn.functional.cross_entropy(network()(INPUTS), LABELS, reduction="none").detach().numpy()
    assert store.read_block(0, 0, ["loss"])["loss"] == pytest.approx(losses, abs=1e-5)
    left: list[nn.Module] = list(model.modules())
    assert not any(part._forward_hooks or part._forward_hooks_with_kwargs for part in left)
