"""Read CIFAR-10 and CIFAR-100 from the python batches of the original archives."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gwaudit.core.errors import DataError
from gwaudit.core.settings import DataSettings
from gwaudit.data.inputs import InMemory
from gwaudit.data.readers.raw_samples import RawSamples, Source
from gwaudit.data.reading_notes import ReadingNotes
from gwaudit.data.splits import choose_split

PARTS: tuple[str, ...] = ()
"""Settings that name parts of such a source."""
_ALLOWED_GLOBALS = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("_codecs", "encode"),  # pickle's protocol 2 writes bytes with it
}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickle arrays and plain containers only; refuse everything else before it runs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no CIFAR batch needs")
        return super().find_class(module, name)


def recognises(source: Source, settings: DataSettings) -> bool:
    """Return whether the source is the folder `cifar-10-batches-py` or `cifar-100-python`, under any name."""
    folder = Path(settings.source)
    return _is_cifar_10(folder) or ((folder / "train").is_file() and (folder / "meta").is_file())


def read(source: Source, settings: DataSettings) -> RawSamples:
    """Read the images of a split in their original order, with the fine labels of CIFAR-100.

    Raises:
        DataError: A batch is missing, broken, or holds more than arrays.
    """
    folder, notes = Path(settings.source), ReadingNotes()
    split = choose_split(settings.split, ("train", "test"), folder, notes)
    ten = _is_cifar_10(folder)
    train = [f"data_batch_{i}" for i in range(1, 6)] if ten else ["train"]
    files = train if split == "train" else ["test_batch" if ten else "test"]
    batches = [_read_batch(folder / name) for name in files]
    try:
        images = np.concatenate([np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32) for batch in batches])
        labels = np.concatenate(
            [np.asarray(batch[b"labels" if ten else b"fine_labels"], np.int64) for batch in batches]
        )
        meta = _read_batch(folder / ("batches.meta" if ten else "meta"))
        class_names = tuple(name.decode() for name in meta[b"label_names" if ten else b"fine_label_names"])
    except (KeyError, ValueError, AttributeError) as error:
        raise DataError(f"{folder} does not hold CIFAR batches: {error}") from error
    return RawSamples(
        name="cifar10" if ten else "cifar100",
        split=split,
        inputs=InMemory(torch.from_numpy(images)),
        labels=labels,
        class_names=class_names,
        keys=[f"{split}/{row:05d}" for row in range(len(labels))],
        notes=notes,
    )


def _is_cifar_10(folder: Path) -> bool:
    return (folder / "data_batch_1").is_file()


def _read_batch(path: Path) -> dict[bytes, Any]:
    try:
        content = _ArrayUnpickler(io.BytesIO(path.read_bytes()), encoding="bytes").load()
    except FileNotFoundError:
        raise DataError(f"{path} is missing: the folder must hold all batches of the original archive") from None
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError) as error:
        raise DataError(f"{path} is not a CIFAR batch, nothing in it was executed: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is not a CIFAR batch: it holds a {type(content).__name__}")
    return content
