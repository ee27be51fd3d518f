"""Read map-style data sets of torch, `torch.utils.data.Dataset`, into samples."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, Dataset, Subset

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.encoded_images import recorded_warnings
from gwaudit.data.image_conversion import DEFAULT_CONVERSION, ImageConversion, Measurement, choose_conversion
from gwaudit.data.image_decoding import LoadedImage, UnreadableImageError
from gwaudit.data.images import IN_MEMORY_BYTES
from gwaudit.data.inputs import Digest, InMemory, Inputs, features
from gwaudit.data.labels import parse_labels
from gwaudit.data.readers.raw_samples import BrokenRows, RawSamples, Source, note_constant_features, rows_not_finite
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split

PARTS: tuple[str, ...] = ("classes", "root")
"""Settings that name parts of such a source."""
_CHANNELS = (1, 3, 4)
_READ_TWICE = 8  # of this many images, one is almost surely mirrored in one of two readings


class LazyInputs:
    """Read inputs from a torch data set each time that they are asked for."""

    def __init__(
        self, dataset: Dataset[Any], n: int, shape: tuple[int, ...], conversion: ImageConversion = DEFAULT_CONVERSION
    ) -> None:
        self.dataset, self.n, self._shape, self.conversion = dataset, n, shape, conversion

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
            with recorded_warnings():
                values = [_as_input(self.dataset[i][0]) for i in sample_ids.tolist()]
                return torch.stack([_as_tensor(value, self.conversion) for value in values])
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

    Inputs are PIL images of any mode, arrays [H, W, C], or tensors: images [C, H, W], uint8 or float, or features [D].
    A label is a class; or, multi-label, a tensor or array [C] of 0 and 1, or a list of classes. Ids are the indices in
    the data set. Keys are the paths of an image folder, else the indices in the innermost data set, behind the number
    of the part in a `ConcatDataset`.

    Raises:
        DataError: The data set has no length, no item can be read, or its items are of another kind.
    """
    _require_dataset(source)
    if isinstance(source, str | Path) or not hasattr(source, "__len__"):
        raise DataError("a stream has no ids: give a map-style data set, or WebDataset shards (a folder of .tar files)")
    notes = ReadingNotes()
    choose_split(settings.split, (), f"a {type(source).__name__}", notes)
    n = len(source)
    in_memory: dict[int, Tensor | LoadedImage] = {}
    measured: list[Measurement] = []
    labels: list[Any] = [None] * n
    broken: BrokenRows = {}
    first: Tensor | None = None
    with recorded_warnings(notes):
        for row in range(n):
            item = _read_item(source, row)
            if isinstance(item, str):
                broken[row] = item
                continue
            value, labels[row], measurement = item
            shape = _shape(value)
            first = _as_tensor(value, DEFAULT_CONVERSION) if first is None else first
            if shape != first.shape:
                broken[row] = f"has the shape {shape}, not {tuple(first.shape)}: bring all to one shape"
                continue
            measured.append(measurement)
            if n * first.nbytes <= IN_MEMORY_BYTES:
                in_memory[row] = value
    if first is None:
        raise DataError(f"no item of the data set can be read; the first: {broken.get(0, 'there is none')}")
    _warn_of_random_items(source, n, notes)
    stated = settings.class_names
    parsed = parse_labels(labels, stated or _class_names(source), numbers_are_indices=stated is None)
    conversion, remarks = choose_conversion(measured)
    notes.remarks.extend(remarks)
    inputs: Inputs = LazyInputs(source, n, tuple(first.shape), conversion)
    if in_memory:
        blank = torch.zeros_like(first)
        values = torch.stack([_as_tensor(in_memory.get(row, blank), conversion) for row in range(n)])
        inputs = features(values) if first.ndim == 1 else InMemory(values)
    not_finite = {}
    if isinstance(inputs, InMemory) and first.ndim == 1:
        not_finite = rows_not_finite(inputs.values.numpy())
        note_constant_features(inputs.values.numpy(), notes)
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


def _require_dataset(source: Any) -> None:
    """Raise DataError for objects that hold data in another way, with the way on."""
    kind, module = type(source).__name__, type(source).__module__.split(".")[0]
    if module in ("pandas", "polars", "pyarrow"):
        raise DataError(f"a {kind} is not read from memory: write it to a Parquet file, and give the path of that")
    if isinstance(source, tuple | np.ndarray | Tensor):
        raise DataError(
            f"a {kind} is no data set: give a `torch.utils.data.TensorDataset(inputs, labels)`, or the path of an .npz "
            "file with `x` and `y`"
        )
    if not hasattr(source, "__getitem__") and not hasattr(source, "__iter__"):
        raise DataError(f"a {kind} is no source: give a path, a name, or a map-style `torch.utils.data.Dataset`")


def _warn_of_random_items(dataset: Dataset[Any], n: int, notes: ReadingNotes) -> None:
    """Warn if one of the first items is another one when it is read again."""
    for row in range(min(n, _READ_TWICE)):
        with recorded_warnings():
            items = [_read_item(dataset, row), _read_item(dataset, row)]
        inputs = [_as_tensor(item[0], DEFAULT_CONVERSION) for item in items if not isinstance(item, str)]
        if len(inputs) == 2 and not (inputs[0].shape == inputs[1].shape and torch.equal(*inputs)):
            notes.warn(
                f"the data set gives another input each time that item {row} is read: leave out its random "
                "augmentation. The training has its own (`augment`)"
            )
            return


def _read_item(dataset: Dataset[Any], row: int) -> tuple[Tensor | LoadedImage, Any, Measurement] | str:
    """Return the input, the label and the measurement of a row, or the reason why it cannot be used."""
    try:
        values = dataset[row]
        if isinstance(values, Mapping):
            return f"is a {type(values).__name__} with {', '.join(map(str, values))}: give items (input, label)"
        label = values[1]
        if isinstance(label, Tensor):
            label = label.detach().cpu()
            label = (label.float() if label.dtype == torch.bfloat16 else label).numpy()
        if isinstance(label, np.ndarray) and label.ndim == 0:
            label = label.item()
        value = _as_input(values[0])
        measurement = value.measure() if isinstance(value, LoadedImage) else Measurement()
        return value, label.item() if isinstance(label, np.generic) else label, measurement
    except Exception as error:  # the code of a data set may raise any exception; this row then cannot be read
        return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'without a message'}"


def _as_input(value: Any) -> Tensor | LoadedImage:
    """Return an image [C, H, W] or features [D]; an image that is not 8-bit RGB or grey as it is."""
    if isinstance(value, Image.Image):
        if value.mode not in ("L", "RGB") or "transparency" in value.info:
            return LoadedImage(value)
        value = np.asarray(value)
        value = value[..., None] if value.ndim == 2 else value
    if isinstance(value, np.ndarray):
        if value.ndim == 3 and (value.dtype == np.uint8 or _channels_are_last(value.shape)):
            value = value.transpose(2, 0, 1)
        value = np.require(value, value.dtype.newbyteorder("="), ["C", "W"])
    tensor = torch.as_tensor(value).detach().cpu()
    if tensor.ndim not in (1, 3) or tensor.is_complex() or tensor.layout != torch.strided:
        kind = f"{tensor.layout} {tensor.dtype} {list(tensor.shape)}".removeprefix("torch.strided ")
        raise DataError(f"an input is an image [C, H, W] or features [D], not {kind}")
    if tensor.ndim == 3 and tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise DataError("the image holds a NaN or an infinity")
    if tensor.ndim == 1:
        return tensor.double()
    return tensor if tensor.dtype == torch.uint8 else tensor.float()


def _channels_are_last(shape: tuple[int, ...]) -> bool:
    return shape[2] in _CHANNELS and shape[0] not in _CHANNELS


def _shape(value: Tensor | LoadedImage) -> tuple[int, ...]:
    return (3, *value.image.size[::-1]) if isinstance(value, LoadedImage) else tuple(value.shape)


def _as_tensor(value: Tensor | LoadedImage, conversion: ImageConversion) -> Tensor:
    if isinstance(value, Tensor):
        return value
    return torch.from_numpy(np.asarray(value.to_rgb(conversion)).transpose(2, 0, 1).copy())


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
        name = samples[row][0]
        path = Path(os.fsdecode(name) if isinstance(name, bytes | os.PathLike) else str(name))
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    return str(row)
