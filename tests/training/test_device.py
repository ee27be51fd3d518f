"""The number format is measured where it matters, kept in the run, and never measured again for it."""

import json

import numpy as np
import pytest
import timm
import torch

from gwaudit import TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import InMemory
from gwaudit.training import device as devices
from gwaudit.training.device import DtypeChoice, choose_dtype, measure_dtype
from gwaudit.training.trainer import train

CPU = torch.device("cpu")


def images(n=8, side=32):
    values = torch.randint(256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return LabeledDataset("noise", InMemory(values), np.arange(n) % 2, ("a", "b"), list(range(n)))


def recorded(run):
    return json.loads((run / "run.json").read_text())["settings"]


class Heard:
    def __init__(self):
        self.choices = []

    def on_dtype(self, choice):
        self.choices.append(choice)

    def on_step(self, report):
        pass

    on_epoch = on_step


def test_measuring_changes_neither_the_network_nor_what_is_drawn():
    model = timm.create_model("test_resnet", num_classes=3)
    before, state = {name: value.clone() for name, value in model.state_dict().items()}, torch.get_rng_state()
    threads = torch.get_num_threads()
    choice = measure_dtype(model, torch.randn(2, 3, 32, 32, generator=torch.Generator()), trains=True)
    assert choice.seconds.keys() == {"float32", "bfloat16"}
    assert (choice.dtype == "bfloat16") == (choice.seconds["bfloat16"] * 1.4 < choice.seconds["float32"])
    assert choice.describe().startswith(f"dtype: {choice.dtype}; measured: a step takes ")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("fast", "measured", "in_folds", "dtype"), [
    (True, "float32", False, "float32"),
    (True, "bfloat16", False, "bfloat16"),
    (False, "bfloat16", False, "float32"),  # without instructions nothing is timed
    (True, None, False, "bfloat16"),
    (False, None, False, "float32"),
    (True, None, True, "float32"),
])  # fmt: skip
def test_what_is_fast_is_chosen_and_heads_in_folds_get_float32(monkeypatch, fast, measured, in_folds, dtype):
    monkeypatch.setattr(devices, "is_fast_at_bfloat16", lambda device: fast)
    measure = None if measured is None else lambda: DtypeChoice(measured, {"float32": 1.0, "bfloat16": 1.0})
    assert choose_dtype(CPU, measure, in_folds=in_folds).dtype == dtype


def test_a_run_keeps_the_measured_dtype_and_a_resumed_one_measures_nothing(tmp_path, monkeypatch):
    measured = []

    def measure(model, inputs, *, trains):
        measured.append((tuple(inputs.shape), trains))
        return DtypeChoice("float32", {"float32": 0.001, "bfloat16": 0.02})

    monkeypatch.setattr("gwaudit.training.trainer.measure_dtype", measure)
    monkeypatch.setattr(devices, "is_fast_at_bfloat16", lambda device: True)
    settings, heard = TrainingSettings(model="test_resnet", epochs=1, batch_size=4), Heard()
    train(images(), tmp_path / "run", settings, progress=heard)
    assert measured == [((2, 3, 32, 32), True)]
    assert [choice.dtype for choice in heard.choices] == ["float32"]
    kept = recorded(tmp_path / "run")
    assert kept["training"]["dtype"] == "float32"
    assert kept["dtype"] == {"dtype": "float32", "seconds": {"float32": 0.001, "bfloat16": 0.02}}
    train(images(), tmp_path / "run", settings, resume=True)
    train(images(), tmp_path / "set", TrainingSettings(model="test_resnet", epochs=1, dtype="bfloat16"))
    assert recorded(tmp_path / "set")["dtype"] is None
    assert len(measured) == 1


def test_networks_for_small_images_are_not_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(devices, "is_fast_at_bfloat16", lambda device: True)
    train(images(), tmp_path / "run", TrainingSettings(epochs=1), progress=(heard := Heard()))
    assert heard.choices == []
    assert recorded(tmp_path / "run")["training"]["dtype"] == "bfloat16"
