"""Measure one cell of the trust benchmark: gwaudit with all defaults, cleanlab and AUM on the same labels."""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import Detection
from gwaudit.analysis.evaluation import quality
from gwaudit.analysis.signals import Signals
from gwaudit.benchmarks.trust.data_sets import TrustSet, features_of, with_wrong_labels
from gwaudit.benchmarks.trust.label_errors import ErrorKind, standardised, wrong_labels
from gwaudit.benchmarks.trust.peers import aum_detection, cleanlab_detection, reference_accuracy
from gwaudit.benchmarks.trust.rows import REFUSED, Cell, Found, TrustRow
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import GwauditError
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.training.refinement import rank_run
from gwaudit.training.rounds import rounds_of
from gwaudit.training.trainer import train


@dataclass(frozen=True, eq=False)
class PreparedSet:
    """Hold a data set that is built, with what its cells share.

    Attributes:
        source: The data set in the registry.
        dataset: Its samples with their clean labels.
        features: [n, D] standardised features.
        accuracy: Accuracy of a simple model on the clean labels.
    """

    source: TrustSet
    dataset: LabeledDataset
    features: NDArray[np.float64]
    accuracy: float


def prepare(source: TrustSet, sources: Sources) -> PreparedSet:
    """Build a data set.

    Raises:
        GwauditError: Its file or package is missing, or gwaudit cannot read it.
    """
    dataset = source.build(sources)
    features = standardised(features_of(dataset))
    return PreparedSet(source, dataset, features, reference_accuracy(features, dataset.labels))


def with_errors(prepared: PreparedSet, cell: Cell) -> LabeledDataset:
    """Return the data set with the wrong labels of a cell; the clean ones are its true labels."""
    dataset = prepared.dataset
    if cell.errors == "clean":
        return with_wrong_labels(dataset, dataset.labels)
    given = wrong_labels(
        prepared.features,
        dataset.labels,
        len(dataset.class_names),
        kind=cast(ErrorKind, cell.errors),
        rate=cell.rate,
        seed=cell.seed,
    )
    return with_wrong_labels(dataset, given)


def measure(prepared: PreparedSet, cell: Cell) -> TrustRow:
    """Return the row of a cell.

    Raises:
        MissingExtraError: cleanlab is not installed.
    """
    source, dataset = prepared.source, with_errors(prepared, cell)
    assert dataset.true_labels is not None
    wrong = dataset.labels != dataset.true_labels
    row = TrustRow(
        name=source.name,
        role=source.role,
        kind=source.kind,
        n=len(dataset),
        n_features=prepared.features.shape[1],
        n_classes=len(dataset.class_names),
        accuracy=round(prepared.accuracy, 4),
        errors=cell.errors,
        rate=cell.rate,
        seed=cell.seed,
        n_wrong=int(wrong.sum()),
    )
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            audit = audited(dataset, Path(folder) / "run", source, seed=cell.seed)
        except GwauditError as error:
            row = replace(row, level=REFUSED, note=str(error))
        else:
            row = replace(_with_audit(row, audit, wrong), seconds=_seconds_since(started))
    row = replace(row, aum=found(aum_detection(prepared.features, dataset.labels, seed=cell.seed), wrong))
    started = time.monotonic()
    try:
        detection = cleanlab_detection(prepared.features, dataset.labels, seed=cell.seed)
    except ValueError as error:
        return replace(row, note="; ".join(filter(None, (row.note, f"cleanlab: {error}"))))
    return replace(row, cleanlab=found(detection, wrong), cleanlab_seconds=_seconds_since(started))


def audited(dataset: LabeledDataset, run: Path, source: TrustSet, *, seed: int) -> Audit:
    """Train and rank as `audit` does with all defaults but the seed; the fitted cut is kept at every verdict.

    Args:
        dataset: Data set with given labels.
        run: New folder for the run.
        source: The data set in the registry, for settings that are part of the case.
        seed: Seed of the training.

    Raises:
        GwauditError: gwaudit refuses the data.
    """
    train(dataset, run, TrainingSettings(**{**source.training, "seed": seed}))
    return rank_run(rounds_of(run), RankingSettings(force=True))


def found(detection: Detection, wrong: NDArray[np.bool_]) -> Found:
    """Return the quality of a detector.

    Args:
        detection: Its scores, and the samples that it flags if it has a cut.
        wrong: [n] whether the label is wrong.
    """
    result = quality(detection.score, wrong, detection.flagged)
    has_cut, has_wrong = detection.flagged is not None, bool(wrong.any())
    return Found(
        average_precision=round(result.average_precision, 5) if has_wrong else None,
        best_f1=round(result.best_f1, 5) if has_wrong else None,
        f1=round(result.f1, 5) if has_wrong and has_cut else None,
        n_flagged=result.n_suspects if has_cut else None,
    )


def _with_audit(row: TrustRow, audit: Audit, wrong: NDArray[np.bool_]) -> TrustRow:
    detection = Detection(-audit.by_id("rank").astype(np.float64), audit.by_id("suspect"))
    return replace(
        row,
        gwaudit=found(detection, wrong),
        expected_wrong=round(float(audit.expected_wrong()[-1]), 2),
        level=audit.verdict.level,
        findings=tuple(finding.signal for finding in audit.verdict.findings),
        signals=_rounded(audit.verdict.signals),
    )


def _rounded(signals: Signals | None) -> dict[str, Any]:
    """Return the signals that were measured, with four decimals."""
    facts = {} if signals is None else signals.to_dict()
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in facts.items()}
    return {name: value for name, value in rounded.items() if value is not None}


def _seconds_since(started: float) -> float:
    return round(time.monotonic() - started, 2)
