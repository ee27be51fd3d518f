"""Write and read nested values with tensors as one safetensors file, which no damage can change without notice.

The tensors are named by their place, as `model.fc.weight`; everything else is JSON in the file's metadata, with a
checksum over both. Reading such a file executes nothing, whoever wrote it.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gwaudit.core.json import parse_json

SUFFIX = ".safetensors"

_CONTENT = "content"
"""The only entry of the file's metadata."""

_TENSOR = "tensor"
"""The only key of the object that stands for a tensor in the JSON; its value is the tensor's name in the file."""


def write_tensors(path: Path, values: dict[str, Any]) -> None:
    """Write dicts and lists of tensors, numbers, texts, booleans and None into a new file.

    Raises:
        SafetensorError: the file cannot be written.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_without_tensors(values, "", tensors))
    content = {"structure": structure, "sha256": _checksum(structure, tensors)}
    save_file(tensors, path, metadata={_CONTENT: json.dumps(content)})  # of several entries, the order would vary


def read_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what `write_tensors` wrote; the keys of dicts are texts.

    Raises:
        OSError: the file cannot be opened.
        ValueError: it was altered, or is no such file.
    """
    with path.open("rb"):  # whose errors name the file
        pass
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
    except Exception as error:  # safetensors raises its own error, and those of Rust's JSON and of torch
        raise ValueError(str(error) or type(error).__name__) from error
    content = parse_json(metadata.get(_CONTENT, "{}"))
    structure = str(content.get("structure")) if isinstance(content, dict) else ""
    if not structure or content.get("sha256") != _checksum(structure, tensors):
        raise ValueError("its checksum differs")
    values: dict[str, Any] = _with_tensors(parse_json(structure), tensors, device)
    return values


def _checksum(structure: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(structure.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _without_tensors(value: Any, place: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[place] = value.detach().cpu().contiguous().clone()  # tied weights must not share their memory
        return {_TENSOR: place}
    if isinstance(value, dict):
        return {str(key): _without_tensors(item, f"{place}.{key}".lstrip("."), tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_tensors(item, f"{place}.{index}", tensors) for index, item in enumerate(value)]
    return value


def _with_tensors(value: Any, tensors: dict[str, Tensor], device: torch.device | str) -> Any:
    if isinstance(value, dict) and value.keys() == {_TENSOR} and isinstance(value[_TENSOR], str):
        return tensors[value[_TENSOR]].to(device)
    if isinstance(value, dict):
        return {key: _with_tensors(item, tensors, device) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_tensors(item, tensors, device) for item in value]
    return value
