"""Apply decisions to labels: from an audit and decisions to the labels before and after, without reading files.

The data may have changed since the run, so decisions find their samples by key. Rows are those of the store: a sample,
or a sample and class in multi-label data, whose labels are 0 (absent) and 1 (present).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.analysis.guidelines import require_pairs_of_classes
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.spreadsheets import write_csv
from gwaudit.data.class_names import joined_names
from gwaudit.export.cleaned_data import CleanedData
from gwaudit.review.decision_files import Problem
from gwaudit.review.decisions import Decisions
from gwaudit.review.guideline_answers import Guideline, samples_of

if TYPE_CHECKING:  # for its type alone: the labels of a run can be corrected without torch
    from gwaudit.data.dataset import LabeledDataset

Undecided = Literal["keep", "drop", "relabel"]
"""What happens to suspects without a decision."""

DROPPED = -1
"""New label of a sample that is left out."""

_BY_RANKING = "by a decision that the ranking is calibrated on"
_OF_DROPPED = ("dropped", "undecided suspect, dropped")

CHANGE_COLUMNS = ("sample_id", "key", "old", "new", "reason")


@dataclass(frozen=True, eq=False)
class Corrections:
    """Hold the labels of a data set before and after.

    Attributes:
        keys: [n] keys of the samples that the data set holds now.
        old: [n] int64, labels before; [n, C] of 0 and 1 in multi-label data.
        new: Labels after, likewise; `DROPPED` for samples that are left out.
        true_labels: True labels, likewise; None where they are not known.
        class_names: C names.
        fingerprint: Fingerprint of the data under the old labels.
        changes: One row per change with the columns `CHANGE_COLUMNS`; `old` and `new` are names of classes, `new` is
            empty for a dropped sample. In multi-label data they are "absent" and "present", and the column
            `class_name` names the class.
        counts: Numbers of rows by decision (keep, relabel, drop, unsure); `by_ranking`, decisions that the ranking is
            calibrated on and that were not given, which were followed too; `by_guideline`, samples that guidelines
            decided, where there are any; `undecided`, suspects without a decision;
            `corrected`, decisions that the data already agree with.
        problems: Decisions that the data do not allow to apply.
        notes: Remarks for the user that stop nothing.
    """

    keys: NDArray[np.object_]
    old: NDArray[np.int64]
    new: NDArray[np.int64]
    true_labels: NDArray[np.int64] | None
    class_names: tuple[str, ...]
    fingerprint: str
    changes: pd.DataFrame
    counts: dict[str, int]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def is_left(self) -> NDArray[np.bool_]:
        """Return whether each sample stays, [n]."""
        return np.asarray((self.new != DROPPED).reshape(len(self.new), -1).all(1))

    @property
    def cleaned_data(self) -> CleanedData:
        """Return the samples that stay, under their new labels."""
        ids = np.flatnonzero(self.is_left)
        return CleanedData(
            ids, self.new[ids], pa.array(self.keys[ids], pa.large_string()), self.class_names, self.fingerprint
        )


def correct(
    audit: Audit,
    decisions: Decisions,
    *,
    guidelines: Sequence[Guideline] = (),
    undecided: Undecided = "keep",
    dataset: "LabeledDataset | None" = None,
) -> Corrections:
    """Return the labels after all decisions are applied, and what could not be applied.

    Decisions that the audit is calibrated on are followed too, where none is given about the same sample.

    Args:
        audit: Audit that the decisions are about.
        decisions: Decisions from `read_decisions`. Samples with problems keep their labels.
        guidelines: Decisions about all samples of a pair of classes that have no decision of their own.
        undecided: What happens to the other suspects: "keep", "drop", or "relabel" as the audit suggests.
        dataset: The data as they are now; by default as the run recorded them.

    Raises:
        SettingsError: `undecided` has another value.
        VerdictError: `undecided` is not "keep", and the verdict on the run does not allow it.
        DataError: the classes of the data are not those of the run, too few samples or classes would be left, or
            guidelines, which are about pairs of classes, are for multi-label data.
    """
    if undecided not in get_args(Undecided):
        raise SettingsError(f"undecided is {' or '.join(get_args(Undecided))}, not {undecided!r}")
    if undecided != "keep":
        audit.require_cleanable()
    if guidelines:
        require_pairs_of_classes(audit)
    current = _CurrentLabels(audit, dataset)
    per_sample = current.rows_per_sample
    of_ranking = _decisions_of_ranking(audit, decisions)
    new, counts = current.labels.copy(), Counter[str](decisions.counts())
    counts["by_ranking"] = len(of_ranking)
    given = audit.by_id("given_label").astype(np.int64)
    problems: list[Problem] = []
    reasons: dict[int, str] = {}
    decided: set[int] = set()
    for decision in (*decisions.frame.to_dict("records"), *of_ranking.to_dict("records")):
        label = DROPPED if decision["decision"] == "drop" else int(decision["label"])
        row = int(decision["sample_id"]) * per_sample + int(decision.get("class_id", 0))
        decided.add(row)
        if current.agree(row, label):
            counts["corrected"] += 1
        elif current.positions[row] is None and label == given[row]:
            continue  # kept, and gone
        elif reason := current.objection(row):
            file, number = decision.get("file", "the ranking"), decision.get("row")
            problems.append(Problem(file, number, reason, row // per_sample))
        elif label != given[row]:
            position = current.positions[row]
            assert position is not None  # a missing sample is an objection
            new[position] = label
            action = "dropped" if label == DROPPED else "relabelled"
            place = f"in {decision['file']}, row {decision['row']}" if "file" in decision else _BY_RANKING
            reasons[position] = f"{action} {place}"
    unclear = {problem.sample_id for problem in decisions.problems if problem.sample_id is not None}
    decided |= {sample * per_sample + class_id for sample in unclear for class_id in range(per_sample)}
    if guidelines:
        settled = _settle_pairs(audit, guidelines, decided, current, new, reasons)
        counts["by_guideline"] = len(settled)
        decided |= settled
    counts["undecided"] = _settle_undecided(audit, decided, undecided, current, new, reasons)
    by_sample = new.reshape(-1, per_sample)
    by_sample[(by_sample == DROPPED).any(1)] = DROPPED  # one class of it decides about the sample
    reasons = {row: why for row, why in reasons.items() if new[row] != DROPPED or why.startswith(_OF_DROPPED)}
    if audit.is_multi_label and (new == DROPPED).all():
        raise DataError("no sample would be left")
    if not audit.is_multi_label and len(np.unique(new[new != DROPPED])) < 2:
        raise DataError("fewer than two classes would be left: an audit, and a training, need two")
    changes = _changes_table(current, new, reasons, audit)
    shape = (-1, per_sample) if audit.is_multi_label else (-1,)
    return Corrections(
        current.keys, current.labels.reshape(shape), new.reshape(shape), current.true_labels, audit.class_names,
        current.fingerprint, changes, dict(counts), tuple(problems), current.notes,
    )  # fmt: skip


def write_label_file(corrections: Corrections, path: Path | str) -> Path:
    """Write the labels by key, as the setting `labels` of an audit reads them.

    Those of dropped samples are empty. In multi-label data, where an empty label is the empty set, they have no row.

    Raises:
        StoreError: the file cannot be written.
    """
    if corrections.new.ndim == 2:
        left, class_names = corrections.is_left, corrections.class_names
        sets = {"label": corrections.new, "clean_label": corrections.true_labels}
        cells = {name: joined_names(labels[left], class_names) for name, labels in sets.items() if labels is not None}
        return write_csv(pd.DataFrame({"key": corrections.keys[left], **cells}), path)
    names = np.array([*corrections.class_names, ""], object)  # the last is the name of DROPPED, which is -1
    columns: dict[str, Any] = {"key": corrections.keys, "label": names[corrections.new]}
    if corrections.true_labels is not None:
        columns["clean_label"] = names[corrections.true_labels]
    return write_csv(pd.DataFrame(columns), path)


def _decisions_of_ranking(audit: Audit, decisions: Decisions) -> pd.DataFrame:
    """Return the decisions that an audit is calibrated on, about samples that the given ones say nothing of."""
    if audit.calibration is None:
        return pd.DataFrame(columns=["sample_id", "decision", "label"])
    unclear = [problem.sample_id for problem in decisions.problems if problem.sample_id is not None]
    decided = audit.table.select(audit.column("decision") != "")
    is_said = np.isin(rows_of(decided, audit.class_names), rows_of(decisions.frame, audit.class_names))
    decided = decided[~is_said & ~decided["sample_id"].isin(unclear).to_numpy()]
    label = decided["suggested_label"].where(decided["decision"] == "relabel", decided["given_label"])
    return decided[[name for name in ("sample_id", "class_id", "decision") if name in decided]].assign(label=label)


def _settle_pairs(
    audit: Audit,
    guidelines: Sequence[Guideline],
    decided: set[int],
    current: "_CurrentLabels",
    new: NDArray[np.int64],
    reasons: dict[int, str],
) -> set[int]:
    """Change `new` and `reasons` by guidelines, and return the samples that they decide."""
    settled: set[int] = set()
    for guideline in guidelines:
        for sample in set(samples_of(guideline, audit).tolist()) - decided:
            position = current.positions[sample]
            if position is None or current.labels[position] != guideline.given:
                continue
            settled.add(sample)
            if guideline.answer != "keep":
                new[position] = DROPPED if guideline.answer == "drop" else guideline.other
                action = "dropped" if guideline.answer == "drop" else "relabelled"
                reasons[position] = f"{action} by the guideline in {guideline.file}, row {guideline.row}"
    return settled


def _settle_undecided(
    audit: Audit,
    decided: set[int],
    undecided: Undecided,
    current: "_CurrentLabels",
    new: NDArray[np.int64],
    reasons: dict[int, str],
) -> int:
    """Change `new` and `reasons` for suspects without a decision, and return the number of these suspects."""
    rows = audit.rows[audit.column("suspect").astype(bool)]
    suspects = audit.suspects[["given_label", "suggested_label"]].set_axis(rows, axis=0)
    remaining = suspects[~suspects.index.isin(list(decided))]
    for row, given, suggested in remaining.reset_index().to_numpy(np.int64).tolist() if undecided != "keep" else ():
        position = current.positions[row]
        if position is None or current.labels[position] != given or (undecided == "relabel" and suggested < 0):
            continue
        new[position] = DROPPED if undecided == "drop" else suggested
        reasons[position] = f"undecided suspect, {'dropped' if undecided == 'drop' else 'relabelled as suggested'}"
    return len(remaining)


def _changes_table(
    current: "_CurrentLabels", new: NDArray[np.int64], reasons: dict[int, str], audit: Audit
) -> pd.DataFrame:
    positions = np.array(sorted(reasons), np.int64)
    samples, classes = np.divmod(positions, current.rows_per_sample)
    names = np.array([*audit.answers, ""], object)  # the last is the name of DROPPED, which is -1
    table = pd.DataFrame(
        {
            "sample_id": samples,
            "key": current.keys[samples],
            "old": names[current.labels[positions]],
            "new": names[new[positions]],
            "reason": [reasons[position] for position in positions.tolist()],
        },
        columns=list(CHANGE_COLUMNS),
    )
    if audit.is_multi_label:
        table.insert(2, "class_name", np.array(audit.class_names, object)[classes])
    return table


class _CurrentLabels:
    """Hold the data as they are now; `positions[i]` is where row i of the run is in them, None where it is gone."""

    def __init__(self, audit: Audit, dataset: "LabeledDataset | None") -> None:
        """Find the samples of a run in a data set, by default in the run's own record."""
        self._answers = audit.answers
        self.rows_per_sample = per_sample = len(audit.class_names) if audit.is_multi_label else 1
        self._run_keys, self._given = audit.by_id("key")[::per_sample], audit.by_id("given_label").astype(np.int64)
        n = len(self._run_keys)
        self.positions: list[int | None] = list(range(len(self._given)))
        self.notes: tuple[str, ...] = ()
        self.true_labels: NDArray[np.int64] | None = None
        self.keys, self.labels, self.fingerprint = self._run_keys, self._given, audit.fingerprint
        if dataset is None:
            return
        if dataset.class_names != audit.class_names:
            raise DataError(
                f"{dataset.name} has the classes {', '.join(dataset.class_names)[:200]}, the run had "
                f"{', '.join(audit.class_names)[:200]}: set `classes` to the same names for both, and audit again"
            )
        self.keys, self.labels = np.array(list(dataset.keys), object), dataset.labels.reshape(-1)
        self.true_labels, self.fingerprint = dataset.true_labels, dataset.fingerprint
        if len(self.keys) != n or not (self.keys == self._run_keys).all():
            position_of = {key: position for position, key in enumerate(self.keys.tolist())}
            found = [position_of.get(key) for key in self._run_keys.tolist()]
            self.positions = [None if i is None else i * per_sample + k for i in found for k in range(per_sample)]
        if self.fingerprint != audit.fingerprint and (note := self._note_of_changes(dataset.modality)):
            self.notes = (note,)

    def agree(self, row: int, label: int) -> bool:
        """Return whether the data already have the label, other than the run, that was decided for a row."""
        position = self.positions[row]
        if position is None:
            return label == DROPPED
        return bool(self.labels[position] == label != self._given[row])

    def objection(self, row: int) -> str:
        """Return why no decision on a row of the run can be applied; empty where one can."""
        position, given, sample = self.positions[row], self._given[row], row // self.rows_per_sample
        if position is None:
            return f"sample {sample} ({str(self._run_keys[sample])[:80]!r}) is no longer in the data"
        if self.labels[position] == given:
            return ""
        before, now = (repr(self._answers[label][:80]) for label in (given, self.labels[position]))
        return f"the label of sample {sample} changed since the run: it was {before} and is {now}"

    def _note_of_changes(self, modality: str) -> str:
        found = [(row, position) for row, position in enumerate(self.positions) if position is not None]
        changed = sum(int(self._given[row] != self.labels[position]) for row, position in found)
        n_found = len(found) // self.rows_per_sample
        gone, added = len(self._run_keys) - n_found, len(self.keys) - n_found
        if not changed + gone + added:
            # The fingerprint of texts is that of their embedding, which is not computed to correct labels.
            return "" if modality == "texts" else "The data changed since the run: inputs."
        return f"The data changed since the run: {changed:,} labels, {gone:,} samples gone, {added:,} added."
