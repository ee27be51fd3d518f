"""Make the audits that reviews are simulated on: data sets of the trust benchmark, human labels, and composed digits.

Prior weights and thresholds of what an audit learns from decisions may be chosen on sets of the role `chosen`. Sets of
the role `test` are only scored. An audit is made once, and kept.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.latent_scores import nearest_neighbours, vote
from gwaudit.analysis.ranking import rank
from gwaudit.benchmarks.multilabel import composed_digits
from gwaudit.benchmarks.review.concentrated_errors import CONCENTRATED, concentrated_errors
from gwaudit.benchmarks.trust.cells import PreparedSet, audited, with_errors
from gwaudit.benchmarks.trust.data_sets import Role, TrustSet, features_of, with_wrong_labels
from gwaudit.benchmarks.trust.label_errors import standardised
from gwaudit.benchmarks.trust.peers import cleanlab_detection
from gwaudit.benchmarks.trust.processes import prepared_set
from gwaudit.benchmarks.trust.rows import Cell
from gwaudit.benchmarks.trust.sources import Sources, image_features, questions_set, require
from gwaudit.core.errors import SettingsError
from gwaudit.core.json import read_json, write_json
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.data.label_noise import add_multilabel_noise
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.trainer import train

_KNOWN = "known.json"
_CIFAR10 = 50_000  # images of its training split, in the order of the human labels


@dataclass(frozen=True)
class ReviewSources(Sources):
    """Hold the files that data sets are read from.

    Attributes:
        human_labels: CIFAR-N's labels of CIFAR-10, CIFAR-10_human.pt.
    """

    human_labels: Path | None = None


@dataclass(frozen=True)
class ReviewSet:
    """Describe an audit that reviews are simulated on.

    Attributes:
        name: Name of the set.
        role: "chosen" where priors and thresholds may be chosen on it, "test" where they may not.
        data: Name of the data set in the trust benchmark, or "composed".
        errors: Kind of the label errors, or the key of human labels.
        rate: Share of wrong labels; 0 for human labels, which have their own.
    """

    name: str
    role: Role
    data: str
    errors: str
    rate: float = 0.0


LARGER_SETS: tuple[TrustSet, ...] = (
    TrustSet("cifar10-5000", "test", "images", lambda s: image_features("cifar10-5000", s, 5000, image_size=96)),
    TrustSet("questions-all", "test", "text", lambda s: questions_set("questions-all", s, lambda t: range(len(t)))),
)
"""Data sets that the trust benchmark leaves out for their size; cleanlab is left out on them for the same reason."""


def _set(role: Role, data: str, errors: str, rate: float) -> ReviewSet:
    return ReviewSet(f"{data}, {errors} {rate:.0%}", role, data, errors, rate)


REVIEW_SETS: tuple[ReviewSet, ...] = (
    _set("chosen", "digits", "uniform", 0.05),
    _set("chosen", "digits", "uniform", 0.1),
    _set("chosen", "digits", "class", 0.1),
    _set("chosen", "digits", "feature", 0.05),
    _set("chosen", "digits", "feature", 0.1),
    _set("chosen", "blobs", "feature", 0.1),
    _set("chosen", "linear-2-classes", "feature", 0.1),
    _set("chosen", "cells", "uniform", 0.1),
    _set("chosen", "questions-8", "feature", 0.1),
    _set("chosen", "cifar10-600", "uniform", 0.1),
    _set("test", "digits-mlp", "feature", 0.1),
    _set("test", "linear-10-classes", "feature", 0.1),
    _set("test", "rare-classes", "class", 0.1),
    _set("test", "spam", "class", 0.1),
    _set("test", "questions-77", "feature", 0.1),
    _set("test", "questions-77", "class", 0.2),
    _set("test", "cifar10-2000", "uniform", 0.1),
    _set("test", "cifar10-2000", "class", 0.2),
    _set("test", "cifar10-2000", "feature", 0.1),
    *(
        ReviewSet(f"cifar10-2000, {key}", "test", "cifar10-2000", key)
        for key in ("aggre_label", "random_label1", "worse_label")
    ),
    *(
        ReviewSet(f"cifar10-5000, {key}", "test", "cifar10-5000", key)
        for key in ("aggre_label", "random_label1", "worse_label")
    ),
    _set("test", "questions-all", "uniform", 0.1),
    _set("test", "questions-all", "class", 0.1),
    _set("test", "composed", "multi-label", 0.1),
    *(_set("chosen", "digits", "pairs", rate) for rate in (0.05, 0.1)),
    *(_set("test", "digits", kind, 0.1) for kind in ("one-way", "region")),
    *(_set("test", "blobs-overlapping", kind, 0.1) for kind in CONCENTRATED),
    *(_set("test", "biopsies", kind, 0.1) for kind in ("one-way", "region")),
    *(_set("test", "clusters-5-classes", kind, 0.05) for kind in CONCENTRATED),
)
"""All sets. Human labels are those of CIFAR-N."""


@dataclass(frozen=True, eq=False)
class KnownAudit:
    """Hold an audit of labels of which the wrong ones are known.

    Attributes:
        source: The set.
        audit: The unsupervised audit, of n labels: one a sample, or one a (sample, class).
        truth: [n] true labels, by their rows in the store.
        cleanlab: [n] cleanlab's scores, higher for more suspicious labels; None where it takes no such data, or too
            much time.
        votes: [n] margin of the nearest neighbours' vote against each label; None but for photos, of which alone an
            audit keeps latents.
    """

    source: ReviewSet
    audit: Audit
    truth: NDArray[np.int64]
    cleanlab: NDArray[np.float64] | None
    votes: NDArray[np.float64] | None = None

    @property
    def is_wrong(self) -> NDArray[np.bool_]:
        """Return whether each given label is wrong, [n], by its row in the store."""
        return np.asarray(self.audit.by_id("given_label") != self.truth)


def known_audit(source: ReviewSet, folder: Path, sources: ReviewSources) -> KnownAudit:
    """Return the audit of a set: the one that the folder keeps, or else a new one.

    Raises:
        GwauditError: A file or package that the set needs is missing.
    """
    kept = folder / source.name.replace(", ", "-").replace(" ", "-").replace("%", "")
    if not (kept / _KNOWN).exists():
        made = _composed(source) if source.data == "composed" else _trained(source, sources)
        made.audit.save(kept)
        scores = {"truth": made.truth, "cleanlab": made.cleanlab, "votes": made.votes}
        write_json(kept / _KNOWN, {name: None if row is None else row.tolist() for name, row in scores.items()})
    known = read_json(kept / _KNOWN)
    cleanlab, votes = (None if known[name] is None else np.array(known[name]) for name in ("cleanlab", "votes"))
    return KnownAudit(source, Audit.load(kept), np.array(known["truth"], np.int64), cleanlab, votes)


def select_review_sets(names: Sequence[str] = ()) -> list[ReviewSet]:
    """Return the sets of these names, data sets or roles; by default all.

    Raises:
        SettingsError: A name is unknown.
    """
    known = {name for each in REVIEW_SETS for name in (each.name, each.data, each.role)}
    if unknown := [name for name in names if name not in known]:
        raise SettingsError(f"unknown set {unknown[0]!r}: choose from {', '.join(sorted(known))}")
    return [each for each in REVIEW_SETS if not names or {each.name, each.data, each.role} & set(names)]


def _trained(source: ReviewSet, sources: ReviewSources) -> KnownAudit:
    trust_sources = Sources(sources.cifar10, sources.weights, sources.questions, sources.encoder)
    prepared = _prepared(source.data, trust_sources)
    if source.errors in CONCENTRATED:
        clean = prepared.dataset
        given = concentrated_errors(
            prepared.features,
            clean.labels,
            len(clean.class_names),
            kind=source.errors,
            rate=source.rate,
            seed=0,
        )
        dataset = with_wrong_labels(clean, given)
    elif source.rate:
        dataset = with_errors(prepared, Cell(source.errors, source.rate, 0))
    else:
        labels = read_label_file(require(sources.human_labels, "human_labels"), source.errors)
        chosen = np.random.default_rng(0).permutation(_CIFAR10)[
            : len(prepared.dataset)
        ]  # as the trust benchmark chooses images
        if len(labels.given) != _CIFAR10 or (
            labels.clean is None or (labels.clean[chosen] != prepared.dataset.labels).any()
        ):
            raise SettingsError("`human_labels` are not those of the images in `cifar10`, in their order")
        dataset = prepared.dataset.with_labels(labels.given[chosen], true_labels=prepared.dataset.labels)
    assert dataset.true_labels is not None
    with tempfile.TemporaryDirectory() as folder:
        audit = audited(dataset, Path(folder) / "run", prepared.source, seed=0)
    cleanlab = None
    if prepared.source not in LARGER_SETS:
        cleanlab = np.asarray(cleanlab_detection(prepared.features, dataset.labels, seed=0).score, np.float64)
    return KnownAudit(source, audit, dataset.true_labels, cleanlab, _votes(prepared.source, dataset))


@cache
def _prepared(name: str, sources: Sources) -> PreparedSet:
    """Build a data set of the trust benchmark, or a larger one, once."""
    for source in LARGER_SETS:
        if source.name == name:
            dataset = source.build(sources)
            return PreparedSet(source, dataset, standardised(features_of(dataset)), accuracy=np.nan)
    return prepared_set(name, sources)


def _votes(source: TrustSet, dataset: LabeledDataset) -> NDArray[np.float64] | None:
    """Return the vote of the neighbours in the features of photos, which an audit of the photos keeps as latents."""
    if source.kind != "images":
        return None
    features = features_of(dataset)
    latents = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return vote(dataset.labels, nearest_neighbours(latents), len(dataset.class_names))[0]


def _composed(source: ReviewSet) -> KnownAudit:
    """Return the audit of composed digits, in which each (sample, class) has a label."""
    dataset = composed_digits()
    given = add_multilabel_noise(dataset.labels, missing=source.rate, extra=source.rate, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        train(dataset.with_labels(given, true_labels=dataset.labels), Path(folder) / "run", TrainingSettings())
        with TrajectoryStore.open(Path(folder) / "run") as store:
            audit = rank(store, RankingSettings(force=True))
    return KnownAudit(source, audit, dataset.labels.reshape(-1), None)
