"""Register the data sets of the trust benchmark, each with its role.

Thresholds and defaults may be chosen on sets of the role `chosen`. Sets of the role `test` are only scored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine

from gwaudit.benchmarks.trust import generated_sets as generated
from gwaudit.benchmarks.trust import sources as read
from gwaudit.benchmarks.trust.generated_sets import Generated
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import SettingsError
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.inputs import features as as_inputs

Role = Literal["chosen", "test"]


@dataclass(frozen=True)
class TrustSet:
    """Describe a data set of the trust benchmark.

    Attributes:
        name: Name of the data set.
        role: "chosen" where defaults and thresholds may be chosen on it, "test" where they may not.
        kind: Kind of the data: "features", "table", "text", "images", or "noise" where nothing can be learned.
        build: Returns the data set with its clean labels, always the same.
        training: Settings of the training that differ from the defaults.
        is_quick: Whether the quick subset has it.
        few_cells: Whether it is costly: only 5 and 20 % of uniform errors and seed 0 are measured.
    """

    name: str
    role: Role
    kind: Literal["features", "table", "text", "images", "noise"]
    build: Callable[[Sources], LabeledDataset]
    training: Mapping[str, Any] = field(default_factory=dict)
    is_quick: bool = False
    few_cells: bool = False


def from_arrays(name: str, made: Generated) -> LabeledDataset:
    """Return features [n, D] and labels [n] as a data set with the classes class-0, class-1, ..."""
    values, labels = made
    classes = tuple(f"class-{label}" for label in range(int(labels.max()) + 1))
    keys = [f"{name}/{row:05d}" for row in range(len(labels))]
    return LabeledDataset(name, as_inputs(torch.from_numpy(np.asarray(values))), labels, classes, keys)


def features_of(dataset: LabeledDataset) -> NDArray[np.float32]:
    """Return the features of a data set as they were read, [n, D]; images as one row of pixels each."""
    values = dataset.read(torch.arange(len(dataset))).flatten(1).float().numpy()
    return np.asarray(values, np.float32)


def _sklearn(load: Callable[..., Any]) -> Generated:
    values, labels = load(return_X_y=True)
    return values.astype(np.float32), labels.astype(np.int64)


def _is_it_a_three() -> Generated:
    values, labels = _sklearn(load_digits)
    return values, (labels == 3).astype(np.int64)


def _arrays(name: str, role: Role, make: Callable[[], Generated], **options: Any) -> TrustSet:
    options = {"kind": "features", **options}
    return TrustSet(name, role, build=lambda _: from_arrays(name, make()), **options)


def _table(name: str, role: Role, package: str, item: str, label: str, **options: Any) -> TrustSet:
    drop: Sequence[str] = options.pop("drop", ())
    rows = options.pop("rows", 2000)

    def build(_: Sources) -> LabeledDataset:
        table = read.packaged_table(package, item).drop(columns=list(drop)).dropna(subset=[label])
        return read.table_set(name, read.sampled(table, rows), label)

    return TrustSet(name, role, "table", build, **options)


def _courses(name: str, sources: Sources) -> LabeledDataset:
    table = read.packaged_table("openintro", "ucla_f18").drop_duplicates("course").reset_index(drop=True)
    subjects = (
        "Chemistry and Biochemistry", "Law", "Theater", "Music", "Psychology", "History", "Mathematics", "Economics",
        "Physics", "Computer Science", "Nursing", "Spanish",
    )  # fmt: skip
    table = table.iloc[read.first_of_each(table["subject"], subjects, 80)]
    return read.text_set(name, table["course"].tolist(), table["subject"].tolist(), sources)


def _reviews(name: str, sources: Sources) -> LabeledDataset:
    table = read.packaged_table("modeldata", "training_data").drop_duplicates("review")
    table = read.sampled(table[table["review"].str.len() <= 250], 600)
    return read.text_set(name, table["review"].tolist(), table["score"].tolist(), sources)


def _some_questions(name: str, sources: Sources) -> LabeledDataset:
    intents = (
        "card_arrival", "exchange_rate", "lost_or_stolen_card", "terminate_account", "top_up_failed",
        "verify_my_identity", "apple_pay_or_google_pay", "age_limit",
    )  # fmt: skip
    return read.questions_set(name, sources, lambda table: read.first_of_each(table["category"], intents, 75))


def _all_questions(name: str, sources: Sources) -> LabeledDataset:
    def choose(table: Any) -> Any:
        return read.first_of_each(table["category"], sorted(table["category"].unique()), 26)

    return read.questions_set(name, sources, choose)


TRUST_SETS: tuple[TrustSet, ...] = (
    # scikit-learn's
    _arrays("iris", "chosen", lambda: _sklearn(load_iris), is_quick=True),
    _arrays("wine", "chosen", lambda: _sklearn(load_wine)),
    _arrays("breast-cancer", "chosen", lambda: _sklearn(load_breast_cancer)),
    _arrays("digits", "chosen", lambda: _sklearn(load_digits)),
    _arrays("digits-3-or-not", "chosen", _is_it_a_three),
    # generated
    _arrays("blobs", "chosen", lambda: generated.blobs([250] * 4, 10, distance=5), is_quick=True),
    _arrays("blobs-near", "chosen", lambda: generated.blobs([250] * 4, 8, distance=2.5, seed=11)),
    _arrays("blobs-12-classes", "chosen", lambda: generated.blobs([80] * 12, 20, distance=4.5, seed=12)),
    _arrays("blobs-70-20-10", "chosen", lambda: generated.blobs([700, 200, 100], 10, distance=2.5, seed=13)),
    _arrays("blobs-overlapping", "test", lambda: generated.blobs([200] * 5, 12, distance=3, seed=3)),
    _arrays("blobs-95-5", "chosen", lambda: generated.blobs([950, 50], 10, distance=5, seed=4), is_quick=True),
    _arrays("blobs-90-8-2", "test", lambda: generated.blobs([900, 80, 20], 16, distance=5, seed=5)),
    _arrays("moons", "test", generated.moons),
    _arrays("circles", "chosen", generated.circles),
    _arrays("linear-2-classes", "chosen", lambda: generated.linear_classes(600, 20, 2, separation=1.8)),
    _arrays("linear-10-classes", "test", lambda: generated.linear_classes(1500, 60, 10, separation=2.5)),
    _arrays("clusters-5-classes", "test", lambda: generated.linear_classes(1000, 40, 5, clusters=3, separation=2.5)),
    _arrays("clusters-3-classes", "chosen", lambda: generated.linear_classes(800, 15, 3, clusters=2, separation=1.8)),
    _arrays("clusters-6-classes", "chosen", lambda: generated.linear_classes(1200, 30, 6, clusters=2, separation=2.2)),
    _arrays("ratings", "chosen", generated.ratings),
    _arrays("many-classes", "test", lambda: generated.blobs([10] * 100, 64, distance=9, seed=6)),
    _arrays("twin-classes", "test", generated.twin_classes),
    _arrays("rare-classes", "test", lambda: generated.blobs([400, 300, 100, 20, 8, 3], 16, distance=6, seed=7)),
    _arrays("tiny", "chosen", lambda: generated.blobs([20] * 3, 8, distance=5, seed=8), is_quick=True),
    _arrays("wide", "test", generated.wide),
    _arrays("repeated-rows", "test", generated.repeated_rows),
    _arrays("uneven-columns", "test", generated.uneven_columns),
    _arrays("unlearnable", "chosen", lambda: generated.unlearnable(400, [1] * 4), kind="noise", is_quick=True),
    _arrays("unlearnable-80-20", "test", lambda: generated.unlearnable(600, [8, 2]), kind="noise"),
    TrustSet("tariffs", "chosen", "table", lambda _: read.table_set("tariffs", generated.categorical_table(), "label")),
    # real tables
    _table("penguins", "test", "palmerpenguins", "penguins", "species", is_quick=True),
    _table("titanic", "test", "carData", "TitanicSurvival", "survived"),
    _table("spam", "test", "DAAG", "spam7", "yesno", rows=1500),
    _table("glass", "chosen", "MASS", "fgl", "type"),
    _table("biopsies", "test", "MASS", "biopsy", "class", drop=["ID"]),
    _table("cells", "chosen", "modeldata", "cells", "class", drop=["case"], rows=1000),
    _table("diamond-cuts", "test", "ggplot2", "diamonds", "cut", rows=1500),
    _table("voters", "chosen", "carData", "Chile", "vote"),
    _table("fishing", "chosen", "Ecdat", "Fishing", "mode"),
    _table("heating", "chosen", "Ecdat", "Heating", "depvar"),
    _table("heart-attacks", "test", "DAAG", "monica", "outcome"),
    _table("frogs", "test", "DAAG", "frogs", "pres.abs"),
    _table("mortgages", "test", "Ecdat", "Hmda", "deny"),
    _table("orange-juice", "test", "ISLR", "OJ", "Purchase"),
    _table("working-women", "test", "carData", "Mroz", "lfp"),
    # texts
    TrustSet("questions-8", "chosen", "text", lambda s: _some_questions("questions-8", s)),
    TrustSet("questions-77", "test", "text", lambda s: _all_questions("questions-77", s)),
    TrustSet("courses", "test", "text", lambda s: _courses("courses", s)),
    TrustSet("reviews", "test", "text", lambda s: _reviews("reviews", s)),
    # images
    TrustSet("cifar10-300", "test", "images", lambda s: read.image_features("cifar10-300", s, 300)),
    TrustSet("cifar10-600", "chosen", "images", lambda s: read.image_features("cifar10-600", s, 600)),
    TrustSet("cifar10-2000", "test", "images", lambda s: read.image_features("cifar10-2000", s, 2000)),
    TrustSet("pixels-600", "test", "images", lambda s: read.images("pixels-600", s, 600), few_cells=True),
    # a head that can memorise
    _arrays("wine-mlp", "chosen", lambda: _sklearn(load_wine), training={"head": "mlp", "folds": 1}),
    _arrays("digits-mlp", "test", lambda: _sklearn(load_digits), training={"head": "mlp"}),
)  # fmt: skip
"""All data sets."""


def select_sets(names: Sequence[str] | None = None, *, quick: bool = False) -> list[TrustSet]:
    """Return the data sets of these names, or roles; by default all, or the quick ones.

    Raises:
        SettingsError: A name is unknown.
    """
    if not names:
        return [each for each in TRUST_SETS if each.is_quick or not quick]
    known = {each.name for each in TRUST_SETS} | {"chosen", "test"}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SettingsError(f"unknown data set {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    return [each for each in TRUST_SETS if each.name in names or each.role in names]


def with_wrong_labels(dataset: LabeledDataset, given: NDArray[np.int64]) -> LabeledDataset:
    """Return the data set with other given labels; its own become the true ones."""
    return dataset.with_labels(given, true_labels=dataset.labels)
