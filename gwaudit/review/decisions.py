"""Read decisions of people about samples of an audit, from any files that hold them, and check them against the audit.

A sample has one decision: `keep` its label, `relabel` it, `drop` it, or `unsure`, which changes nothing. A row is read
as follows:

- Column `decision` holds one of these four words, column `label` (or `new_label`) the new class. A class without a
  decision relabels; the given class means `keep`; a row with neither decides nothing.
- `relabel` without a class takes the row's `suggested_name`.
- An edited `suggested_name` relabels to the class that it now holds. An unchanged one decides nothing: one that is the
  suggestion of the audit, and agrees with `suggested_label`.

In multi-label data a row is about one class of a sample, which its column `class_name` names, and classes are "absent"
and "present" above: `relabel` takes a given class away, or adds one that is missing. `drop` leaves out the sample.

A row that contradicts the audit, itself or another row is a `Problem`; the samples of problems have no decision. So is
a column of answers under another name. A file about other data than the audit's is refused.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError, did_you_mean
from gwaudit.core.safe_names import choice_names, tag_names
from gwaudit.core.spreadsheet_changes import TextIndex, may_become, whole_numbers
from gwaudit.core.spreadsheets import from_cell, write_csv
from gwaudit.data.url_copies import local_file
from gwaudit.review.decision_files import (
    DecisionFile,
    Problem,
    Statement,
    Suggestion,
    fingerprint_cell,
    read_decision_file,
)

ReviewDecision = Literal["keep", "relabel", "drop", "unsure"]
DECISIONS: tuple[ReviewDecision, ...] = get_args(ReviewDecision)

DECISION_COLUMNS = ("sample_id", "key", "given_name", "decision", "label", "data_fingerprint")
"""Columns of `decisions.csv`; `label` is the name of the new class, empty unless relabelled, and `data_fingerprint` the
fingerprint of the data that were decided about (`fingerprint_cell`). In multi-label data `class_name` follows `key`."""

# Names of columns that people give to answers.
_ANSWER_NAME = re.compile(r"decision|label|class|verdict|correct", re.IGNORECASE)


@dataclass(frozen=True, eq=False)
class Decisions:
    """Hold the decisions on samples, and the rows that decide nothing because of a problem.

    Attributes:
        frame: One row per sample in the order of the ids, with the columns `sample_id`, `key`, `given_label`,
            `decision`, `label` (index of the new class; the given one unless relabelled), `file` and `row` (of the
            first row that holds the decision). In multi-label data one row per sample and class, with the column
            `class_id` too; the labels are 0 (absent) and 1 (present).
        problems: Problems in the order of files and rows.
        notes: Remarks for the user that stop nothing: columns that were not read, files about another state of the
            data.
        unread: Names of the columns that were not read.
    """

    frame: pd.DataFrame
    problems: tuple[Problem, ...]
    notes: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    def counts(self) -> dict[str, int]:
        """Return the number of samples by decision."""
        counts = self.frame["decision"].value_counts()
        return {decision: int(counts.get(decision, 0)) for decision in DECISIONS}


class _RefusedError(Exception):
    """Signal that a statement is no decision; the message is the reason."""


class _OtherDataError(_RefusedError):
    """Signal that a statement is about a sample that the run does not have, or that differs in the run."""


def listed_files(files: Path | str | Sequence[Path | str]) -> list[Path | str]:
    """Return files as a list, of which one may be given by itself.

    Raises:
        SettingsError: These are no paths.
    """
    if isinstance(files, str | Path):
        return [files]
    if not isinstance(files, Iterable) or hasattr(files, "columns"):
        way_on = ": write it with `to_csv` first" if hasattr(files, "to_csv") else ""
        raise SettingsError(f"decisions are given by the paths of their files, not as {type(files).__name__}{way_on}")
    return list(files)


def read_decisions(files: Path | str | Sequence[Path | str], audit: Audit) -> Decisions:
    """Read decisions from one or several files, as of several people or several rounds.

    Args:
        files: `decisions.csv`, a relabelled `suspects.csv`, or Label Studio's JSON, JSON_MIN or CSV; also at URLs.
        audit: Audit that the decisions are about.

    Raises:
        DataError: a file cannot be read, is no table of decisions, or is about other data.
    """
    return _decide([read_decision_file(local_file(file)) for file in listed_files(files)], audit)


def write_decisions(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write decisions, the columns `DECISION_COLUMNS`, as a CSV file that `read_decisions` reads; return its path.

    The column `data_fingerprint` may be missing. In multi-label data there is a column `class_name` too.

    Raises:
        StoreError: the file cannot be written.
    """
    columns = [*DECISION_COLUMNS[:2], "class_name", *DECISION_COLUMNS[2:]]
    optional = [name for name in ("class_name", "data_fingerprint") if name not in frame]
    return write_csv(frame[[name for name in columns if name not in optional]], path)


def _decide(files: Sequence[DecisionFile], audit: Audit) -> Decisions:
    parser = _DecisionParser(audit)
    votes: dict[int, list[_Vote]] = defaultdict(list)
    problems: list[Problem] = []
    notes: list[str] = []
    for file in files:
        problems += [*file.problems, *parser.unread_answers(file)]
        file_problems, contradictions = [], 0
        for statement in file.statements:
            sample: int | None = None
            try:
                sample = parser.sample(statement)
                row = parser.row(statement, sample)
                parser.require_audited(statement, row)
                decision = parser.decision(statement, row, as_written=file.as_written)
                if decision is not None:
                    votes[row].append(_Vote(statement, *decision))
            except _RefusedError as refused:
                file_problems.append(Problem(statement.file, statement.row, str(refused), sample))
                contradictions += isinstance(refused, _OtherDataError)
        other_state = parser.has_another_fingerprint(file)
        if contradictions and (other_state or 2 * contradictions > len(file.statements) > 1):
            raise _other_data(file, audit, contradictions, file_problems[0], by_fingerprint=other_state)
        if other_state:
            notes.append(
                f"{file.path.name} was made with another state of the data; the keys and given labels of its rows fit."
            )
        if file.unread:
            notes.append(f"{file.path.name}: read {', '.join(file.columns)}; not read: {', '.join(file.unread)}.")
        problems += file_problems
    unclear = {problem.sample_id for problem in problems}
    rows = []
    for row, all_votes in sorted(votes.items()):
        sample, class_id = divmod(row, parser.rows_per_sample)
        # An unsure person gives way to the others.
        sure = [vote for vote in all_votes if vote.decision != "unsure"] or all_votes
        first = sure[0]
        other = next((vote for vote in sure if (vote.decision, vote.label) != (first.decision, first.label)), None)
        if other is not None:
            problems.append(parser.conflict(row, first, other))
        elif sample not in unclear:
            source = first.statement
            key, given = parser.keys[sample], parser.given[row]
            rows.append((sample, key, given, first.decision, first.label, source.file, source.row, class_id))
    columns = ["sample_id", "key", "given_label", "decision", "label", "file", "row", "class_id"]
    order = {file: number for number, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    problems.sort(key=lambda problem: (order[problem.file], problem.row or 0))
    unread = tuple(name for file in files for name in file.unread)
    frame = pd.DataFrame(rows, columns=columns)
    if not audit.is_multi_label:
        frame = frame.drop(columns="class_id")
    return Decisions(frame, tuple(problems), tuple(notes), unread)


def _other_data(
    file: DecisionFile, audit: Audit, contradictions: int, first: Problem, *, by_fingerprint: bool
) -> DataError:
    evidence = f"{contradictions:,} of its {len(file.statements):,} rows name a key or a given label that the run does "
    return DataError(
        f"{file.path} is about other data than {audit.run}{' by its fingerprint' if by_fingerprint else ''}: {evidence}"
        f"not have at that sample (row {first.row}: {first.reason}). Use the file of this run, or correct these rows"
    )


class _Vote(NamedTuple):
    """Hold the decision of one row; `label` is the one that the sample then has."""

    statement: Statement
    decision: ReviewDecision
    label: int


class _DecisionParser:
    """Turn statements into decisions on the rows of an audit; raise _RefusedError where one is no decision.

    A row is a sample, or a sample and class where the audit is multi-label, as in the store.
    """

    def __init__(self, audit: Audit) -> None:
        self.names = audit.answers
        self.rows_per_sample = len(audit.class_names) if audit.is_multi_label else 1
        self.keys = [str(key) for key in audit.by_id("key")[:: self.rows_per_sample]]
        self.given = audit.by_id("given_label").astype(np.int64)
        self.suggested = audit.by_id("suggested_label").astype(np.int64)
        # Files of suspects that were written before the audit was calibrated hold these.
        before = "suggested_label" if audit.calibration is None else "unsupervised_label"
        self._unsupervised = audit.by_id(before).astype(np.int64)
        self._key_index, self._class_index = TextIndex(self.keys), TextIndex(self.names)
        self._classes_of_rows, self._row_index = audit.class_names, TextIndex(audit.class_names)
        self._choices: dict[str, set[int]] = defaultdict(set)  # as Label Studio and CVAT write the classes
        for names in (choice_names(self.names), tag_names(self.names)):
            for label, name in enumerate(names):
                self._choices[name].add(label)
        self._run, self._fingerprint = audit.run, fingerprint_cell(audit.fingerprint)

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
                hint = "" if by_key else self._key_hint(key)
                # A changed key does not show that the file is about other data.
                error = _RefusedError if by_key or hint else _OtherDataError
                raise error(f"column key: the run has {count} with the key {quoted_key}{hint}")
            return by_key[0]
        sample = self._sample_id(id_text, by_key)
        if sample >= len(self.keys):
            raise _OtherDataError(
                f"column sample_id: the run has no sample {sample}; its ids are 0 to {len(self.keys) - 1}"
            )
        if key.strip() and sample not in by_key:
            reason = f"column key: sample {sample} is {_quote(self.keys[sample])} in the run, not {quoted_key}"
            if may_become(self.keys[sample], key):
                raise _RefusedError(f"{reason}: {_CHANGED}, or leave out the column key")
            other = f", which is sample {by_key[0]}" if len(by_key) == 1 else ""
            raise _OtherDataError(f"{reason}{other}; use the file of this run")
        return sample

    def row(self, statement: Statement, sample: int) -> int:
        """Return the row that a statement is about: of its class, where the audit is multi-label."""
        if self.rows_per_sample == 1:
            return sample
        cell = statement.class_name
        if not cell.strip():
            raise _RefusedError(
                "column class_name: the run is multi-label, so that a decision is about one class of a sample: name it"
            )
        found = self._row_index.find(cell)
        if len(found) != 1:
            changed = self._row_index.changed(cell)
            hint = did_you_mean(from_cell(cell), self._classes_of_rows)
            if changed:
                examples = self._examples(self._classes_of_rows, changed)
                hint = f", and a spreadsheet program may have made it of {examples}: {_CHANGED}"
            raise _RefusedError(
                f"column class_name: {_quote(cell)} is none of the {self.rows_per_sample} classes{hint}"
            )
        return sample * self.rows_per_sample + found[0]

    def _shown(self, row: int) -> str:
        """Return a row as people read it."""
        sample, class_id = divmod(row, self.rows_per_sample)
        return f"sample {sample}" + (f", class {self._classes_of_rows[class_id]!r}," * (self.rows_per_sample > 1))

    def _sample_id(self, cell: str, by_key: Sequence[int]) -> int:
        """Return the id in a cell; where it may be several numbers, the one whose sample has the key."""
        if re.fullmatch(r"[0-9]{1,18}([.,]0+)?", cell) and not re.fullmatch(r"[0-9]+[.,]000", cell):
            return int(re.split("[.,]", cell)[0])
        numbers = {number for number in whole_numbers(cell) if number >= 0}
        if len(fitting := numbers & set(by_key)) == 1:
            return fitting.pop()
        if not numbers:
            raise _RefusedError(f"column sample_id: {_quote(cell)} is no whole number")
        candidates = " or ".join(str(number) for number in sorted(numbers))
        raise _RefusedError(
            f"column sample_id: {_quote(cell)} is no whole number as gwaudit writes it, and may be {candidates}: "
            f"{_CHANGED}, or add the column key"
        )

    def _key_hint(self, key: str) -> str:
        changed = self._key_index.changed(key)
        if not changed:
            return ""
        return f", which a spreadsheet program may have made of {self._examples(self.keys, changed)}: {_CHANGED}"

    def require_audited(self, statement: Statement, row: int) -> None:
        """Refuse a statement about another given label than that of the audit, or one that shows no given label."""
        given = int(self.given[row])
        name = _quote(self.names[given])
        if statement.given_name.strip() and given not in self._labels(statement.given_name, statement):
            reason = f"column given_name: {self._shown(row)} has the label {name} in the run, not "
            reason += _quote(statement.given_name)
            if may_become(self.names[given], statement.given_name):
                raise _RefusedError(f"{reason}: {_CHANGED}")
            raise _OtherDataError(
                f"{reason}: the data changed, or the cell was edited (write a new label into the column label)"
            )
        if statement.given_label.strip() and whole_numbers(statement.given_label) != {given}:
            raise _RefusedError(
                f"column given_label: {self._shown(row)} has the label {given} ({name}) in the run, not "
                f"{_quote(statement.given_label)}: if the cell was edited, restore it, and write the new class into a "
                "column label"
            )
        another = statement.data_fingerprint.strip() not in ("", self._fingerprint)
        if self._fingerprint and another and not (statement.key.strip() and statement.given_name.strip()):
            raise _OtherDataError(
                f"column data_fingerprint: names other data than the run's, {self._fingerprint}, and the row has no "
                "key and given_name to compare"
            )

    def has_another_fingerprint(self, file: DecisionFile) -> bool:
        """Return whether a file names the fingerprint of other data."""
        prints = {statement.data_fingerprint.strip() for statement in file.statements} - {""}
        return bool(self._fingerprint and prints - {self._fingerprint})

    def unread_answers(self, file: DecisionFile) -> Iterator[Problem]:
        """Return a problem for each column of answers under a name that is not read."""
        for name, cells in file.unread.items():
            answers = sum(self._is_answer(cell) for cell in cells)
            if _ANSWER_NAME.search(name) or 2 * answers >= len(cells):
                names = "decision, or label for new classes"
                if self.rows_per_sample > 1:
                    names = "class_name if the rows are about these classes, decision, or label for absent and present"
                reason = (
                    f"column {name!r} is not read, and holds {len(cells):,} cells, such as {_quote(cells[0])}: call it "
                    f"{names}, or delete it"
                )
                yield Problem(file.path.name, None, reason)

    def _is_answer(self, cell: str) -> bool:
        text = cell.strip().casefold()
        return text in DECISIONS or (not whole_numbers(text) and bool(self._class_index.find(cell)))

    def decision(self, statement: Statement, row: int, *, as_written: bool) -> tuple[ReviewDecision, int] | None:
        """Return the decision, and the label that the row then has; None where the statement decides nothing.

        Args:
            statement: the statement.
            row: its row of the audit.
            as_written: whether no spreadsheet program has changed the texts of the file.
        """
        decision, given = self._decision_word(statement.decision), int(self.given[row])
        label = None
        if statement.label.strip():
            label = self._class(statement.label, statement, "label", as_written=as_written)
        if decision is None:
            if label is None:
                label = self._edited_suggestion(statement, row, as_written=as_written)
            if label is None:
                return None
            return ("keep", given) if label == given else ("relabel", label)
        if decision == "relabel":
            if label is None:
                label = self._suggested_class(statement, row, as_written=as_written)
            return ("keep", given) if label == given else ("relabel", label)
        if decision != "unsure" and label not in (None, given) and not self._was_proposed(label, statement, row):
            raise _RefusedError(f"column decision: {decision} contradicts the column label, {_quote(statement.label)}")
        return decision, given

    def _was_proposed(self, label: int, statement: Statement, row: int) -> bool:
        """Return whether Label Studio may have chosen the label itself: with predictions it shows the proposed one."""
        if not statement.from_label_studio:
            return False
        if statement.suggestion is None:
            return bool(label == self.suggested[row])
        return label in self._labels(statement.suggestion.name, statement)

    def conflict(self, row: int, one: _Vote, other: _Vote) -> Problem:
        """Return the problem that two rows decide differently about a sample."""
        sample = row // self.rows_per_sample
        votes = " but ".join(
            f"{vote.decision}{f' to {_quote(self.names[vote.label])}' if vote.decision == 'relabel' else ''} "
            f"({vote.statement.file}, row {vote.statement.row})"
            for vote in (one, other)
        )
        reason = f"{self._shown(row)} ({_quote(self.keys[sample])}) is decided twice: {votes}"
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
        return labels or sorted(self._choices.get(cell, ()))

    def _class(self, cell: str, statement: Statement, column: str, *, as_written: bool) -> int:
        """Return the class that a cell names; refuse a cell that a spreadsheet may have made of another class too."""
        labels = self._labels(cell, statement)
        changed = [] if as_written and labels else self._class_index.changed(cell)
        if len(labels) > 1 or (labels and set(changed) - set(labels)):
            candidates = self._examples(self.names, sorted({*labels, *changed}))
            raise _RefusedError(
                f"column {column}: {_quote(cell)} may be {len({*labels, *changed})} classes, {candidates}, as programs "
                "change case, zeros and dates: import the column as text, or put the texts of the file in quotes"
            )
        if labels:
            return labels[0]
        hint = did_you_mean(from_cell(cell), self.names)
        if changed:
            hint = f", and a spreadsheet program may have made it of {self._examples(self.names, changed)}: {_CHANGED}"
        if self.rows_per_sample > 1:
            raise _RefusedError(
                f"column {column}: {_quote(cell)} is neither absent nor present (a row is about its class_name){hint}"
            )
        raise _RefusedError(f"column {column}: {_quote(cell)} is none of the {len(self.names)} classes{hint}")

    def _examples(self, texts: Sequence[str], indices: Sequence[int]) -> str:
        return " or ".join(_quote(texts[index]) for index in indices[:3]) + (" or others" if len(indices) > 3 else "")

    def _suggested_class(self, statement: Statement, row: int, *, as_written: bool) -> int:
        if self.rows_per_sample > 1:  # there is only one other label
            return 1 - int(self.given[row])
        if statement.suggestion is None or not statement.suggestion.name.strip():
            raise _RefusedError("column decision: relabel needs a class in the column label")
        return self._class_of_suggestion(statement.suggestion, statement, row, as_written=as_written)

    def _class_of_suggestion(self, suggestion: Suggestion, statement: Statement, row: int, *, as_written: bool) -> int:
        """Return the class of a suggestion; refuse one that a spreadsheet may have made of the class of its number."""
        label = self._class(suggestion.name, statement, "suggested_name", as_written=True)
        numbers = whole_numbers(suggestion.number or "")
        expected = numbers.pop() if len(numbers) == 1 else int(self.suggested[row])
        if label != expected and 0 <= expected < len(self.names) and may_become(self.names[expected], suggestion.name):
            raise _RefusedError(
                f"column suggested_name: {_quote(suggestion.name)} contradicts suggested_label, {expected} "
                f"({_quote(self.names[expected])}): {_CHANGED}"
            )
        return self._class(suggestion.name, statement, "suggested_name", as_written=as_written)

    def _edited_suggestion(self, statement: Statement, row: int, *, as_written: bool) -> int | None:
        """Return the class that the suggestion was edited to; None where it was left unchanged."""
        suggestion = statement.suggestion
        if suggestion is None:
            return None
        if suggestion.number is not None and _is_number(suggestion.number, int(self._unsupervised[row])):
            suggested = int(self._unsupervised[row])
        else:
            suggested = int(self.suggested[row])
        name = suggestion.name
        same_name = suggested in self._labels(name, statement) if name.strip() else suggested < 0
        same_number = suggestion.number is not None and _is_number(suggestion.number, suggested)
        if same_name and (same_number or suggestion.number is None):
            return None
        if same_number and not name.strip():
            raise _RefusedError(
                "column suggested_name: is empty now; write keep, drop or unsure into a column decision"
            )
        if same_number:
            return self._class_of_suggestion(suggestion, statement, row, as_written=as_written)
        ours = _quote(self.names[suggested]) if suggested >= 0 else "nothing"
        raise _RefusedError(
            f"column suggested_name: the run suggests {ours}, the file {_quote(name)}, and suggested_label does not "
            "show whether it was edited: write the new class into a column label"
        )


_CHANGED = "a spreadsheet program changed the text; import its column as text"


def _is_number(cell: str, number: int) -> bool:
    """Return whether a cell holds this number, which is -1 for no class."""
    return cell.strip() == str(number) or whole_numbers(cell) == {number}


def _quote(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
