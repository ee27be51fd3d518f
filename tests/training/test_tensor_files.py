"""A file of tensors is read back bit for bit, or it is an error."""

import random
from collections import OrderedDict
from contextlib import suppress

import pytest
import torch

from gwaudit.training.tensor_files import read_tensors, write_tensors

MOMENTUM = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
VALUES = {
    "epoch": 3,
    "model": OrderedDict(weight=torch.randn(3, 4), bias=torch.randn(3).bfloat16()),
    "optimizer": {
        "state": {"0": {"step": torch.tensor(7.0), "momentum": MOMENTUM}},
        "param_groups": [{"lr": 0.1 + 0.2, "betas": [0.9, 0.999], "params": [0, 1], "foreach": None, "nesterov": True}],
    },
    "ema": None,
    "tensor": torch.zeros(0, 5),
    "mask": {"tensor": torch.tensor([True, False])},
}


def same(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def test_values_are_read_back(tmp_path):
    write_tensors(tmp_path / "a.safetensors", VALUES)
    assert same(VALUES, read_tensors(tmp_path / "a.safetensors"))


def test_tied_weights_are_written(tmp_path):
    shared = torch.randn(4, 4)
    write_tensors(tmp_path / "a.safetensors", {"model": {"a": shared, "b": shared.T}})
    read = read_tensors(tmp_path / "a.safetensors")["model"]
    assert torch.equal(read["a"], shared)
    assert torch.equal(read["b"], shared.T)


def test_no_damage_is_silent(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, VALUES)
    data, draw, unnoticed = path.read_bytes(), random.Random(1), 0
    for _ in range(400):
        position = draw.randrange(len(data))
        flipped = data[:position] + bytes([data[position] ^ 1 << draw.randrange(8)]) + data[position + 1 :]
        path.write_bytes(draw.choice([flipped, flipped, data[:position], data + draw.randbytes(8)]))
        with suppress(ValueError):
            assert same(VALUES, read_tensors(path)), position
            unnoticed += 1
    assert unnoticed < 4


def test_a_pickle_is_not_read(tmp_path):
    path = tmp_path / "a.safetensors"
    torch.save({"model": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match=r".+"):
        read_tensors(path)


def test_the_same_values_make_the_same_file(tmp_path):
    contents = set()
    for number in range(8):
        write_tensors(tmp_path / f"{number}.safetensors", {"epoch": 3, "model": {"weight": torch.ones(2, 3)}})
        contents.add((tmp_path / f"{number}.safetensors").read_bytes())
    assert len(contents) == 1
