"""Data sets that live in Python: any map-style `torch.utils.data.Dataset`, and those of the `datasets` library."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from gwaudit.core.errors import DataError, MissingExtraError
from gwaudit.data.images import IN_MEMORY_BYTES
from gwaudit.data.inputs import Digest, InMemory, Inputs
from gwaudit.data.labels import parse_labels
from gwaudit.data.readers.columns import Columns, not_finite, samples_of_table
from gwaudit.data.readers.raw_samples import RawSamples


class LazyInputs:
    """Inputs that stay in a torch data set, which is asked for them each time."""

    def __init__(self, dataset: Dataset[Any], n: int, shape: tuple[int, ...]) -> None:
        self.dataset, self.n, self._shape = dataset, n, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one input."""
        return self._shape

    def __len__(self) -> int:
        return self.n

    def read(self, sample_ids: Tensor) -> Tensor:
        """[B, *shape]."""
        return torch.stack([_as_tensor(self.dataset[i][0]) for i in sample_ids.tolist()])

    def add_to(self, digest: Digest) -> None:
        """By their number and shape: reading all would cost an epoch."""
        digest.update(repr((self.n, self._shape)).encode())


def read_torch_dataset(dataset: Dataset[Any], split: str, class_names: Sequence[str] | None) -> RawSamples:
    """The items (input, label, ...) of a map-style data set, each read once.

    Inputs are PIL images, arrays [H, W, C] of uint8, or tensors: images [C, H, W], uint8 or float, or features [D].
    A label is a class, or a tensor or array [C] of 0 and 1, or a list of classes, where a sample has any number.
    Ids are the places in `dataset`; keys are the paths of a folder of images, else the places in the innermost data
    set, behind the number of the part in a `ConcatDataset`.

    Raises:
        DataError: it has no length, or its items are not so, or are of several shapes.
    """
    if not hasattr(dataset, "__len__"):
        raise DataError("a stream has no ids: give a map-style data set, or WebDataset shards (a folder of .tar files)")
    n = len(dataset)
    held: dict[int, Tensor] = {}
    labels: list[Any] = [None] * n
    broken: dict[int, str] = {}
    first: Tensor | None = None
    for row in range(n):
        item = _item(dataset, row)
        if isinstance(item, str):
            broken[row] = item
            continue
        tensor, labels[row] = item
        first = tensor if first is None else first
        if tensor.shape != first.shape:
            broken[row] = f"has the shape {tuple(tensor.shape)}, not {tuple(first.shape)}: bring all to one"
        elif n * first.nbytes <= IN_MEMORY_BYTES:
            held[row] = tensor
    if first is None:
        raise DataError(f"no item of the data set can be read; the first: {broken.get(0, 'it is empty')}")
    numbers, names, wrong = parse_labels(labels, class_names or _class_names(dataset))
    inputs: Inputs = LazyInputs(dataset, n, tuple(first.shape))
    if held:
        blank = torch.zeros_like(first)
        inputs = InMemory(torch.stack([held.get(row, blank) for row in range(n)]))
        if first.ndim == 1:
            wrong |= not_finite(inputs.values.numpy())
    keys = [_key(dataset, row) for row in range(n)]
    return RawSamples(type(dataset).__name__, split, inputs, numbers, names, keys, {**wrong, **broken})


def _item(dataset: Dataset[Any], row: int) -> tuple[Tensor, Any] | str:
    """Input and label of a row, or what is wrong with it."""
    try:
        values = dataset[row]
        label = values[1]
        if isinstance(label, Tensor | np.ndarray):
            label = label.item() if label.ndim == 0 else np.asarray(label)
        return _as_tensor(values[0]), label.item() if isinstance(label, np.generic) else label
    except Exception as error:  # whatever a stranger's data set raises, this row cannot be read
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a word'}"


def _as_tensor(value: Any) -> Tensor:
    """An image [C, H, W] or features [D]."""
    if isinstance(value, Image.Image):
        value = np.asarray(value if value.mode == "L" else value.convert("RGB"))
        value = value[..., None] if value.ndim == 2 else value
    if isinstance(value, np.ndarray) and value.ndim == 3 and value.dtype == np.uint8:
        value = np.ascontiguousarray(value.transpose(2, 0, 1))
    tensor = torch.as_tensor(value)
    if tensor.ndim not in (1, 3) or tensor.is_complex():
        raise DataError(f"an input is an image [C, H, W] or features [D], not {tensor.dtype} {list(tensor.shape)}")
    return tensor if tensor.dtype == torch.uint8 and tensor.ndim == 3 else tensor.float()


def _class_names(dataset: Dataset[Any]) -> Sequence[str] | None:
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    if isinstance(dataset, ConcatDataset):
        return _class_names(dataset.datasets[0])
    names = getattr(dataset, "classes", None)
    return [str(name) for name in names] if isinstance(names, list | tuple) else None


def _key(dataset: Dataset[Any], row: int) -> str:
    if isinstance(dataset, Subset):
        return _key(dataset.dataset, int(dataset.indices[row]))
    if isinstance(dataset, ConcatDataset):
        part = int(np.searchsorted(dataset.cumulative_sizes, row, side="right"))
        return f"{part}/{_key(dataset.datasets[part], row - ([0, *dataset.cumulative_sizes][part]))}"
    samples = getattr(dataset, "samples", None)  # torchvision's ImageFolder
    if isinstance(samples, list) and row < len(samples) and isinstance(samples[row], tuple):
        root = Path(str(getattr(dataset, "root", "")))
        path = Path(str(samples[row][0]))
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return str(row)


def is_hugging_face(source: object) -> bool:
    """Whether it is a data set of the `datasets` library, which then has been imported by whoever made it."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(source, library.Dataset | library.DatasetDict)


def load_hugging_face(name: str, split: str) -> Any:
    """A data set by its name on the hub, `NAME` or `NAME:CONFIGURATION`, as its library loads it.

    Raises:
        MissingExtraError: the library is not installed.
        DataError: it cannot be loaded.
    """
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError("the source hf:", "hf") from error
    path, _, configuration = name.partition(":")
    try:
        return datasets.load_dataset(path, configuration or None, split=split)
    except Exception as error:  # whatever the library and the network raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(f"hf:{name} ({split}) cannot be loaded: {reason}") from error


def read_hugging_face(
    dataset: Any, split: str, columns: Columns, root: Path, class_names: Sequence[str] | None
) -> RawSamples:
    """The rows of a `datasets.Dataset`, under the keys that they had before `shuffle`, `filter` and `select`.

    Without a column of ids a key is the row's number in the data set as it was loaded.

    Raises:
        DataError: as for tables, or there is no such split.
    """
    if not hasattr(dataset, "features"):
        if split not in dataset:
            raise DataError(f"the data set has no split {split!r}: there are {', '.join(dataset)}")
        dataset = dataset[split]
    table = dataset.with_format("arrow")[:]
    items = {name: getattr(feature, "feature", feature) for name, feature in dataset.features.items()}
    features_of = {name: {"names": list(f.names)} for name, f in items.items() if hasattr(f, "names")}
    metadata = {"huggingface": json.dumps({"info": {"features": features_of}})}
    table = table.replace_schema_metadata(metadata)
    name = str(dataset.info.dataset_name or "dataset")
    raw = samples_of_table(table, name=name, split=split, columns=columns, root=root, class_names=class_names)
    indices = dataset._indices
    if indices is None or not raw.keys[0].startswith(f"{split}/"):
        return raw
    return replace(raw, keys=[f"{split}/{original:06d}" for original in indices.column(0).to_pylist()])
