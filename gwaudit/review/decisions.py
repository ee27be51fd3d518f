"""Read decisions of people about samples of an audit, from any files that hold them, and check them against the audit.

A sample has one decision: `keep` its label, `relabel` it, `drop` it, or `unsure`, which changes nothing. A row is read
as follows:

- Column `decision` holds one of these four words, column `label` (or `new_label`) the new class. A class without a
  decision relabels; the given class means `keep`; a row with neither decides nothing.
- `relabel` without a class takes the row's `suggested_name`.
- An edited `suggested_name` relabels to the class that it now holds. An unchanged one decides nothing: one that is the
  suggestion of the audit, and agrees with `suggested_label`.

A row that contradicts the audit, itself or another row is a `Problem`; the samples of problems have no decision.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, did_you_mean
from gwaudit.core.safe_names import choice_names
from gwaudit.core.spreadsheets import from_cell, write_csv
from gwaudit.review.decision_files import Problem, Statement, read_statements

ReviewDecision = Literal["keep", "relabel", "drop", "unsure"]
DECISIONS: tuple[ReviewDecision, ...] = get_args(ReviewDecision)

DECISION_COLUMNS = ("sample_id", "key", "given_name", "decision", "label")
"""Columns of `decisions.csv`; `label` is the name of the new class, empty unless relabelled."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """Hold the decisions on samples, and the rows that decide nothing because of a problem.

    Attributes:
        frame: One row per sample in the order of the ids, with the columns `sample_id`, `key`, `given_label`,
            `decision`, `label` (index of the new class; the given one unless relabelled), `file` and `row` (of the
            first row that holds the decision).
        problems: Problems in the order of files and rows.
    """

    frame: pd.DataFrame
    problems: tuple[Problem, ...]

    def counts(self) -> dict[str, int]:
        """Return the number of samples by decision."""
        counts = self.frame["decision"].value_counts()
        return {decision: int(counts.get(decision, 0)) for decision in DECISIONS}


_SYMBOLS = {0x2400 + code: chr(code) for code in range(32)} | {ord("＄"): "$"}


class _RefusedError(Exception):
    """Signal that a statement is no decision; the message is the reason."""


def read_decisions(files: Sequence[Path | str], audit: Audit) -> Decisions:
    """Read decisions from one or several files, as of several people or several rounds.

    Args:
        files: `decisions.csv`, a relabelled `suspects.csv`, or Label Studio's JSON, JSON_MIN or CSV.
        audit: Audit that the decisions are about.

    Raises:
        DataError: a file cannot be read, or is no table of decisions; or the audit is multi-label.
    """
    require_single_label(audit)
    statements: list[Statement] = []
    problems: list[Problem] = []
    for file in files:
        file_statements, file_problems = read_statements(Path(file))
        statements += file_statements
        problems += file_problems
    return _decide(statements, problems, audit)


def require_single_label(audit: Audit) -> None:
    """Raise DataError if the audit is multi-label: a decision is about the one label of a sample."""
    if audit.is_multi_label:
        raise DataError(
            f"a decision is about the one label of a sample, and {audit.run} is multi-label: choose with gwaudit rank "
            "which suspects to trust, and export the data under their suggested labels (format hf, `action='relabel'`)"
        )


def write_decisions(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write decisions, the columns `DECISION_COLUMNS`, as a CSV file that `read_decisions` reads; return its path.

    Raises:
        StoreError: the file cannot be written.
    """
    return write_csv(frame[list(DECISION_COLUMNS)], path)


def _decide(statements: Iterable[Statement], problems: list[Problem], audit: Audit) -> Decisions:
    parser = _DecisionParser(audit)
    votes: dict[int, list[_Vote]] = defaultdict(list)
    for statement in statements:
        sample: int | None = None
        try:
            sample = parser.sample(statement)
            parser.require_given_label(statement, sample)
            decision = parser.decision(statement, sample)
            if decision is not None:
                votes[sample].append(_Vote(statement, *decision))
        except _RefusedError as refused:
            problems.append(Problem(statement.file, statement.row, str(refused), sample))
    unclear = {problem.sample_id for problem in problems}
    rows = []
    for sample, all_votes in sorted(votes.items()):
        # An unsure person gives way to the others.
        sure = [vote for vote in all_votes if vote.decision != "unsure"] or all_votes
        first = sure[0]
        other = next((vote for vote in sure if (vote.decision, vote.label) != (first.decision, first.label)), None)
        if other is not None:
            problems.append(parser.conflict(sample, first, other))
        elif sample not in unclear:
            source = first.statement
            key, given = parser.keys[sample], parser.given[sample]
            rows.append((sample, key, given, first.decision, first.label, source.file, source.row))
    columns = ["sample_id", "key", "given_label", "decision", "label", "file", "row"]
    order = {file: number for number, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    problems.sort(key=lambda problem: (order[problem.file], problem.row or 0))
    return Decisions(pd.DataFrame(rows, columns=columns), tuple(problems))


class _Vote(NamedTuple):
    """Hold the decision of one row; `label` is the one that the sample then has."""

    statement: Statement
    decision: ReviewDecision
    label: int


class _TextIndex:
    """Find the text that a cell was made from, in spite of the changes that spreadsheets make."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._normalised: dict[str, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            self._exact[text].append(index)
            self._normalised[_normalise(text)].append(index)

    def find(self, cell: str, *, escaped: bool) -> list[int]:
        """Return the indices of the texts that are equal to the cell, or else of those that are equal normalised."""
        for text in (from_cell(cell), cell) if escaped else (cell,):
            if indices := self._exact.get(text):
                return indices
        return self._normalised.get(_normalise(from_cell(cell) if escaped else cell), [])


def _normalise(text: str) -> str:
    """Return a text without the differences that spreadsheets and labelling tools make.

    Spreadsheets change white space, case, zeros around a whole number, and the encoding of accents. Labelling tools
    return control characters as their symbols (␀), and `$` as `＄`.
    """
    plain = " ".join(unicodedata.normalize("NFC", text.translate(_SYMBOLS)).casefold().split())
    number = re.fullmatch(r"0*(\d+)(?:[.,]0+)?", plain)
    return number[1] if number else plain


class _DecisionParser:
    """Turn statements into decisions on the samples of an audit; raise _RefusedError where one is no decision."""

    def __init__(self, audit: Audit) -> None:
        self.names = audit.class_names
        self.keys = [str(key) for key in audit.by_id("key")]
        self.given = audit.by_id("given_label").astype(np.int64)
        self.suggested = audit.by_id("suggested_label").astype(np.int64)
        self._key_index, self._class_index = _TextIndex(self.keys), _TextIndex(self.names)
        self._choices = {choice: label for label, choice in enumerate(choice_names(self.names))}

    def sample(self, statement: Statement) -> int:
        """Return the id of the statement's sample."""
        id_text, key = statement.sample_id.strip(), statement.key
        if not id_text and not key.strip():
            raise _RefusedError("has neither a sample_id nor a key")
        by_key = self._key_index.find(key, escaped=not statement.from_label_studio) if key.strip() else []
        quoted_key = _quote(key if statement.from_label_studio else from_cell(key))
        if not id_text:
            if len(by_key) != 1:
                count = f"{len(by_key)} samples" if by_key else "no sample"
                raise _RefusedError(f"column key: the run has {count} with the key {quoted_key}")
            return by_key[0]
        number = re.fullmatch(r"(\d+)(?:[.,]0+)?", id_text)
        if number is None:
            raise _RefusedError(f"column sample_id: {_quote(id_text)} is no whole number")
        sample = int(number[1])
        if sample >= len(self.keys):
            raise _RefusedError(
                f"column sample_id: the run has no sample {sample}; its ids are 0 to {len(self.keys) - 1}"
            )
        if key.strip() and sample not in by_key:
            other = f", which is sample {by_key[0]}" if len(by_key) == 1 else ""
            raise _RefusedError(
                f"column key: sample {sample} is {_quote(self.keys[sample])} in the run, not {quoted_key}{other}; "
                "use the file of this run"
            )
        return sample

    def require_given_label(self, statement: Statement, sample: int) -> None:
        """Refuse a statement about another given label than that of the audit."""
        if not statement.given_name.strip():
            return
        if self.given[sample] not in self._class_index.find(
            statement.given_name, escaped=not statement.from_label_studio
        ):
            given = self.names[self.given[sample]]
            raise _RefusedError(
                f"column given_name: sample {sample} has the label {_quote(given)} in the run, not "
                f"{_quote(statement.given_name)}: the data changed, or the cell was edited (write a new label into the "
                "column label)"
            )

    def decision(self, statement: Statement, sample: int) -> tuple[ReviewDecision, int] | None:
        """Return the decision, and the label that the sample then has; None where the statement decides nothing."""
        decision, given = self._decision_word(statement.decision), int(self.given[sample])
        label = self._class(statement.label, statement, "label") if statement.label.strip() else None
        if decision is None:
            if label is None:
                label = self._edited_suggestion(statement, sample)
            if label is None:
                return None
            return ("keep", given) if label == given else ("relabel", label)
        if decision == "relabel":
            if label is None:
                label = self._suggested_class(statement)
            return ("keep", given) if label == given else ("relabel", label)
        if decision != "unsure" and label not in (None, given) and not self._was_proposed(label, statement, sample):
            raise _RefusedError(f"column decision: {decision} contradicts the column label, {_quote(statement.label)}")
        return decision, given

    def _was_proposed(self, label: int, statement: Statement, sample: int) -> bool:
        """Return whether Label Studio may have chosen the label itself: with predictions it shows the proposed one."""
        if not statement.from_label_studio:
            return False
        if statement.suggestion is None:
            return label == self.suggested[sample]
        return label in self._labels(statement.suggestion.name, statement)

    def conflict(self, sample: int, one: _Vote, other: _Vote) -> Problem:
        """Return the problem that two rows decide differently about a sample."""
        votes = " but ".join(
            f"{vote.decision}{f' to {_quote(self.names[vote.label])}' if vote.decision == 'relabel' else ''} "
            f"({vote.statement.file}, row {vote.statement.row})"
            for vote in (one, other)
        )
        reason = f"sample {sample} ({_quote(self.keys[sample])}) is decided twice: {votes}"
        return Problem(other.statement.file, other.statement.row, reason, sample)

    def _decision_word(self, cell: str) -> ReviewDecision | None:
        text = cell.strip().casefold()
        if not text:
            return None
        for decision in DECISIONS:
            if text == decision:
                return decision
        hint = did_you_mean(text, DECISIONS)
        if self._class_index.find(cell, escaped=True):
            hint = "; write a class into the column label"
        raise _RefusedError(f"column decision: {_quote(cell)} is none of {', '.join(DECISIONS)}{hint}")

    def _labels(self, cell: str, statement: Statement) -> list[int]:
        """Return the classes that a cell may name."""
        labels = self._class_index.find(cell, escaped=not statement.from_label_studio)
        return labels or ([self._choices[cell]] if cell in self._choices else [])

    def _class(self, cell: str, statement: Statement, column: str) -> int:
        labels = self._labels(cell, statement)
        if len(labels) > 1:
            raise _RefusedError(
                f"column {column}: {_quote(cell)} may be {len(labels)} classes that differ in case or white space"
            )
        if labels:
            return labels[0]
        hint = did_you_mean(from_cell(cell), self.names)
        raise _RefusedError(f"column {column}: {_quote(cell)} is none of the {len(self.names)} classes{hint}")

    def _suggested_class(self, statement: Statement) -> int:
        if statement.suggestion is None or not statement.suggestion.name.strip():
            raise _RefusedError("column decision: relabel needs a class in the column label")
        return self._class(statement.suggestion.name, statement, "suggested_name")

    def _edited_suggestion(self, statement: Statement, sample: int) -> int | None:
        """Return the class that the suggestion was edited to; None where it was left unchanged."""
        suggestion = statement.suggestion
        if suggestion is None:
            return None
        suggested = int(self.suggested[sample])
        name = suggestion.name
        same_name = (
            suggested in self._class_index.find(name, escaped=not statement.from_label_studio)
            if name.strip()
            else suggested < 0
        )
        same_number = suggestion.number is not None and _normalise(suggestion.number) == str(suggested)
        if same_name and (same_number or suggestion.number is None):
            return None
        if same_number and not name.strip():
            raise _RefusedError(
                "column suggested_name: is empty now; write keep, drop or unsure into a column decision"
            )
        if same_number:
            return self._class(name, statement, "suggested_name")
        ours = _quote(self.names[suggested]) if suggested >= 0 else "nothing"
        raise _RefusedError(
            f"column suggested_name: the run suggests {ours}, the file {_quote(name)}, and suggested_label does not "
            "show whether it was edited: write the new class into a column label"
        )


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
