"""CIFAR-10 and CIFAR-100 in the python batches of the original archives."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gwaudit.core.errors import DataError
from gwaudit.data.inputs import InMemory
from gwaudit.data.readers.raw_samples import RawSamples

_ARRAYS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),  # how protocol 2 writes bytes
}


class _ArraysOnly(pickle.Unpickler):
    """Builds arrays and plain containers; whatever else a pickle asks for is refused before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ARRAYS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        return super().find_class(module, name)


def is_cifar_batches(folder: Path) -> bool:
    """Whether the folder is `cifar-10-batches-py` or `cifar-100-python`."""
    return (folder / "data_batch_1").is_file() or ((folder / "train").is_file() and (folder / "meta").is_file())


def read_cifar_batches(folder: Path, split: str) -> RawSamples:
    """The images of a split in their original order; the fine labels of CIFAR-100.

    Raises:
        DataError: a batch is missing, broken, or holds more than arrays.
    """
    if split not in ("train", "test"):
        raise DataError(f"{folder} has the splits train and test, not {split!r}")
    ten = (folder / "data_batch_1").is_file()
    train = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    files = train if split == "train" else ["test_batch" if ten else "test"]
    batches = [_read(folder / name) for name in files]
    try:
        images = np.concatenate([np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32) for batch in batches])
        labels = np.concatenate(
            [np.asarray(batch[b"labels" if ten else b"fine_labels"], np.int64) for batch in batches]
        )
        meta = _read(folder / ("batches.meta" if ten else "meta"))
        names = tuple(name.decode() for name in meta[b"label_names" if ten else b"fine_label_names"])
    except (KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{folder} does not hold CIFAR batches: {error}") from error
    name = "cifar10" if ten else "cifar100"
    return RawSamples(
        name, split, InMemory(torch.from_numpy(images)), labels, names, [f"{split}/{i:05d}" for i in range(len(labels))]
    )


def _read(path: Path) -> dict[bytes, Any]:
    try:
        content = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the folder must hold all batches of the original archive") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise DataError(f"{path} is not a CIFAR batch, nothing in it was executed: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR batch: it holds a {type(content).__name__}")
    return content
