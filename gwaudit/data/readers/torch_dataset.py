"""Read map-style data sets of torch, `torch.utils.data.Dataset`, into samples."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.image_decoding import UnreadableImageError
from gwaudit.data.images import IN_MEMORY_BYTES
from gwaudit.data.inputs import Digest, InMemory, Inputs
from gwaudit.data.labels import parse_labels
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source, rows_not_finite
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split


class LazyInputs:
    """Read inputs from a torch data set each time that they are asked for."""

    def __init__(self, dataset: Dataset[Any], n: int, shape: tuple[int, ...]) -> None:
        self.dataset, self.n, self._shape = dataset, n, shape

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of one input."""
        return self._shape

    def __len__(self) -> int:
        return self.n

    def read(self, sample_ids: Tensor) -> Tensor:
        """Return the inputs of these ids, [B, *shape].

        Raises:
            UnreadableImageError: The data set can no longer read an item.
        """
        try:
            return torch.stack([_as_tensor(self.dataset[i][0]) for i in sample_ids.tolist()])
        except Exception as error:  # the code of a data set may raise any exception
            raise UnreadableImageError(f"{type(error).__name__}: {error}") from error

    def add_to(self, digest: Digest) -> None:
        """Add number and shape of the inputs to a checksum: reading all of them would cost an epoch."""
        digest.update(repr((self.n, self._shape)).encode())


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is an object, not a name or a path."""
    return not isinstance(source, str | Path)


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the items (input, label, ...) of a map-style data set, each one once.

    Inputs are PIL images, arrays [H, W, C] of uint8, or tensors: images [C, H, W], uint8 or float, or features [D].
    A label is a class; or, multi-label, a tensor or array [C] of 0 and 1, or a list of classes. Ids are the indices in
    the data set. Keys are the paths of an image folder, else the indices in the innermost data set, behind the number
    of the part in a `ConcatDataset`.

    Raises:
        DataError: The data set has no length, no item can be read, or its items are of another kind.
    """
    if isinstance(source, str | Path) or not hasattr(source, "__len__"):
        raise DataError("a stream has no ids: give a map-style data set, or WebDataset shards (a folder of .tar files)")
    notes = ReadingNotes()
    choose_split(settings.split, (), f"a {type(source).__name__}", notes)
    n = len(source)
    in_memory: dict[int, Tensor] = {}
    labels: list[Any] = [None] * n
    broken: BrokenRows = {}
    first: Tensor | None = None
    for row in range(n):
        item = _read_item(source, row)
        if isinstance(item, str):
            broken[row] = item
            continue
        tensor, labels[row] = item
        first = tensor if first is None else first
        if tensor.shape != first.shape:
            broken[row] = f"has the shape {tuple(tensor.shape)}, not {tuple(first.shape)}: bring all to one shape"
        elif n * first.nbytes <= IN_MEMORY_BYTES:
            in_memory[row] = tensor
    if first is None:
        raise DataError(f"no item of the data set can be read; the first: {broken.get(0, 'there is none')}")
    stated = settings.class_names
    parsed = parse_labels(labels, stated or _class_names(source), numbers_are_indices=stated is None)
    inputs: Inputs = LazyInputs(source, n, tuple(first.shape))
    if in_memory:
        blank = torch.zeros_like(first)
        inputs = InMemory(torch.stack([in_memory.get(row, blank) for row in range(n)]))
    not_finite = rows_not_finite(inputs.values.numpy()) if isinstance(inputs, InMemory) and first.ndim == 1 else {}
    notes.remarks.extend(parsed.remarks)
    return RawSamples(
        name=type(source).__name__,
        split=settings.split,
        inputs=inputs,
        labels=parsed.labels,
        class_names=parsed.class_names,
        keys=[_key(source, row) for row in range(n)],
        broken={**parsed.broken, **not_finite, **broken},
        notes=notes,
    )


def _read_item(dataset: Dataset[Any], row: int) -> tuple[Tensor, Any] | str:
    """Return the input and the label of a row, or the reason why it cannot be used."""
    try:
        values = dataset[row]
        label = values[1]
        if isinstance(label, Tensor | np.ndarray):
            label = label.item() if label.ndim == 0 else np.asarray(label)
        return _as_tensor(values[0]), label.item() if isinstance(label, np.generic) else label
    except Exception as error:  # the code of a data set may raise any exception; this row then cannot be read
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"


def _as_tensor(value: Any) -> Tensor:
    """Return an image [C, H, W] or features [D]."""
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
    samples = getattr(dataset, "samples", None)  # of torchvision's ImageFolder
    if isinstance(samples, list) and row < len(samples) and isinstance(samples[row], tuple):
        root = Path(str(getattr(dataset, "root", "")))
        path = Path(str(samples[row][0]))
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return str(row)
