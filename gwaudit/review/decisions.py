"""What people decided about samples of an audit, from any files that say so, checked against the audit.

One decision a sample: `keep` its label, `relabel` it, `drop` it, or `unsure`, which changes nothing. What a row says:

- Column `decision` holds one of these four; column `label` (or `new_label`) the new class. A class alone relabels; the
  given class is `keep`; nothing at all decides nothing.
- `relabel` without a class accepts the row's `suggested_name`.
- An edited `suggested_name` relabels to what it now says. An untouched one decides nothing: what counts as untouched is
  what the audit suggests, with `suggested_label` for a witness.

Everything that does not add up is a `Problem`; samples that one is about have no decision.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

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
"""The columns of `decisions.csv`; `label` is the new class's name, empty unless relabelled."""


@dataclass(frozen=True, eq=False)
class Decisions:
    """What was decided, a row a sample in the order of ids, and what could not be understood or does not add up.

    Attributes:
        frame: columns `sample_id`, `key`, `given_label`, `decision`, `label` (the new class's index; the given one's
            unless relabelled), `file` and `row` (where it says so first).
        problems: in the order of files and rows.
    """

    frame: pd.DataFrame
    problems: tuple[Problem, ...]

    def counts(self) -> dict[str, int]:
        """How many samples each decision is of."""
        found = self.frame["decision"].value_counts()
        return {decision: int(found.get(decision, 0)) for decision in DECISIONS}


_SHOWN_AS = {0x2400 + code: chr(code) for code in range(32)} | {ord("＄"): "$"}


class _RefusedError(Exception):
    """Why a statement is no decision."""


def read_decisions(files: Sequence[Path | str], audit: Audit) -> Decisions:
    """Read decisions from one file or several: later rounds, several people.

    Args:
        files: `decisions.csv`, a relabelled `suspects.csv`, or Label Studio's JSON, JSON_MIN or CSV.
        audit: what they are about.

    Raises:
        DataError: a file cannot be read, or is no table of decisions; or samples have any number of classes.
    """
    require_one_label(audit)
    statements: list[Statement] = []
    problems: list[Problem] = []
    for file in files:
        said, misread = read_statements(Path(file))
        statements += said
        problems += misread
    return _decided(statements, problems, audit)


def require_one_label(audit: Audit) -> None:
    """Refuse to decide about samples with any number of classes: a decision is about the one label of a sample.

    Raises:
        DataError: the audit is of such samples.
    """
    if audit.is_multi_label:
        raise DataError(
            f"decisions are on samples with one label each, and those of {audit.run} have any number of classes: "
            "choose with gwaudit rank which suspects to trust, and write their suggestions with "
            "gwaudit export --to hf --action relabel"
        )


def write_decisions(frame: pd.DataFrame, path: Path | str) -> Path:
    """Write decisions, the columns `DECISION_COLUMNS`, as `read_decisions` reads them.

    Raises:
        StoreError: it cannot be written.
    """
    return write_csv(frame[list(DECISION_COLUMNS)], path)


def _decided(statements: Iterable[Statement], problems: list[Problem], audit: Audit) -> Decisions:
    reader = _Reader(audit)
    said: dict[int, list[tuple[Statement, ReviewDecision, int]]] = defaultdict(list)
    for statement in statements:
        sample: int | None = None
        try:
            sample = reader.sample(statement)
            reader.require_given(statement, sample)
            decided = reader.decision(statement, sample)
            if decided is not None:
                said[sample].append((statement, *decided))
        except _RefusedError as refused:
            problems.append(Problem(statement.file, statement.row, str(refused), sample))
    unclear = {problem.sample_id for problem in problems}
    rows = []
    for sample, votes in sorted(said.items()):
        # Who is unsure gives way to who is not.
        sure = [vote for vote in votes if vote[1] != "unsure"] or votes
        first, decision, label = sure[0]
        other = next((vote for vote in sure if vote[1:] != (decision, label)), None)
        if other is not None:
            problems.append(reader.conflict(sample, sure[0], other))
        elif sample not in unclear:
            rows.append((sample, reader.keys[sample], reader.given[sample], decision, label, first.file, first.row))
    columns = ["sample_id", "key", "given_label", "decision", "label", "file", "row"]
    order = {file: place for place, file in enumerate(dict.fromkeys(problem.file for problem in problems))}
    problems.sort(key=lambda problem: (order[problem.file], problem.row or 0))
    return Decisions(pd.DataFrame(rows, columns=columns), tuple(problems))


class _TextIndex:
    """Texts, and which of them a cell was made of."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._alike: dict[str, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            self._exact[text].append(index)
            self._alike[_alike(text)].append(index)

    def find(self, cell: str, *, escaped: bool) -> list[int]:
        """The texts that the cell stands for: exactly, or but for what spreadsheets change."""
        for text in (from_cell(cell), cell) if escaped else (cell,):
            if found := self._exact.get(text):
                return found
        return self._alike.get(_alike(from_cell(cell) if escaped else cell), [])


def _alike(text: str) -> str:
    """A text without what spreadsheets change: white space, case, zeros around a whole number, how accents are kept.

    And without what a labelling tool cannot hold: control characters, which come back as their pictures, and `$`.
    """
    plain = " ".join(unicodedata.normalize("NFC", text.translate(_SHOWN_AS)).casefold().split())
    number = re.fullmatch(r"0*(\d+)(?:[.,]0+)?", plain)
    return number[1] if number else plain


class _Reader:
    """Makes of statements what they decide about an audit's samples."""

    def __init__(self, audit: Audit) -> None:
        self.names = audit.class_names
        self.keys = [str(key) for key in audit.by_id("key")]
        self.given = audit.by_id("given_label").astype(np.int64)
        self.suggested = audit.by_id("suggested_label").astype(np.int64)
        self._known_keys, self._classes = _TextIndex(self.keys), _TextIndex(self.names)
        self._choices = {choice: label for label, choice in enumerate(choice_names(self.names))}

    def sample(self, statement: Statement) -> int:
        id_text, key = statement.sample_id.strip(), statement.key
        if not id_text and not key.strip():
            raise _RefusedError("says neither by sample_id nor by key which sample it is about")
        by_key = self._known_keys.find(key, escaped=statement.escaped) if key.strip() else []
        shown = _shown(from_cell(key) if statement.escaped else key)
        if not id_text:
            if len(by_key) != 1:
                many = f"{len(by_key)} samples" if by_key else "no sample"
                raise _RefusedError(f"column key: the run has {many} with the key {shown}")
            return by_key[0]
        number = re.fullmatch(r"(\d+)(?:[.,]0+)?", id_text)
        if number is None:
            raise _RefusedError(f"column sample_id: {_shown(id_text)} is no whole number")
        sample = int(number[1])
        if sample >= len(self.keys):
            raise _RefusedError(
                f"column sample_id: the run has no sample {sample}; its ids are 0 to {len(self.keys) - 1}"
            )
        if key.strip() and sample not in by_key:
            other = f", which is sample {by_key[0]}" if len(by_key) == 1 else ""
            raise _RefusedError(
                f"column key: sample {sample} is {_shown(self.keys[sample])} in the run, not {shown}{other}; "
                "is the file of another run?"
            )
        return sample

    def require_given(self, statement: Statement, sample: int) -> None:
        if not statement.given_name.strip():
            return
        if self.given[sample] not in self._classes.find(statement.given_name, escaped=statement.escaped):
            ours = self.names[self.given[sample]]
            raise _RefusedError(
                f"column given_name: sample {sample} has the label {_shown(ours)} in the run, "
                f"not {_shown(statement.given_name)}: it changed since, or was edited (a new label belongs into label)"
            )

    def decision(self, statement: Statement, sample: int) -> tuple[ReviewDecision, int] | None:
        """What is decided, and the label that the sample then has; None where nothing is."""
        decision, given = self._word(statement.decision), int(self.given[sample])
        label = self._class(statement.label, statement, "label") if statement.label.strip() else None
        if decision is None:
            if label is None:
                label = self._edited(statement, sample)
            if label is None:
                return None
            return ("keep", given) if label == given else ("relabel", label)
        if decision == "relabel":
            if label is None:
                label = self._accepted(statement)
            return ("keep", given) if label == given else ("relabel", label)
        if label not in (None, given) and decision != "unsure":
            raise _RefusedError(f"column decision: says {decision}, but the column label {_shown(statement.label)}")
        return decision, given

    def conflict(
        self, sample: int, one: tuple[Statement, ReviewDecision, int], other: tuple[Statement, ReviewDecision, int]
    ) -> Problem:
        told = " but ".join(
            f"{decision}{f' to {_shown(self.names[label])}' if decision == 'relabel' else ''} "
            f"({statement.file}, row {statement.row})"
            for statement, decision, label in (one, other)
        )
        reason = f"sample {sample} ({_shown(self.keys[sample])}) is decided twice: {told}"
        return Problem(other[0].file, other[0].row, reason, sample)

    def _word(self, cell: str) -> ReviewDecision | None:
        text = cell.strip().casefold()
        if not text:
            return None
        for decision in DECISIONS:
            if text == decision:
                return decision
        hint = did_you_mean(text, DECISIONS)
        if self._classes.find(cell, escaped=True):
            hint = "; a class belongs into the column label"
        raise _RefusedError(f"column decision: {_shown(cell)} is none of {', '.join(DECISIONS)}{hint}")

    def _class(self, cell: str, statement: Statement, column: str) -> int:
        found = self._classes.find(cell, escaped=statement.escaped)
        if len(found) > 1:
            raise _RefusedError(
                f"column {column}: {_shown(cell)} may be {len(found)} classes that differ in case or space"
            )
        if not found and cell in self._choices:
            return self._choices[cell]
        if not found:
            hint = did_you_mean(from_cell(cell), self.names)
            raise _RefusedError(f"column {column}: {_shown(cell)} is none of the {len(self.names)} classes{hint}")
        return found[0]

    def _accepted(self, statement: Statement) -> int:
        if statement.suggestion is None or not statement.suggestion.name.strip():
            raise _RefusedError("column decision: says relabel, but no column says to which class")
        return self._class(statement.suggestion.name, statement, "suggested_name")

    def _edited(self, statement: Statement, sample: int) -> int | None:
        """The class that a suggestion was edited to; None where it was left as it is."""
        suggestion = statement.suggestion
        if suggestion is None:
            return None
        ours = int(self.suggested[sample])
        name = suggestion.name
        same_name = ours in self._classes.find(name, escaped=statement.escaped) if name.strip() else ours < 0
        same_number = suggestion.number is not None and _alike(suggestion.number) == str(ours)
        if same_name and (same_number or suggestion.number is None):
            return None
        if same_number and not name.strip():
            raise _RefusedError("column suggested_name: was emptied; write keep, drop or unsure into a column decision")
        if same_number:
            return self._class(name, statement, "suggested_name")
        raise _RefusedError(
            f"column suggested_name: the run suggests {_shown(self.names[ours]) if ours >= 0 else 'nothing'}, the file "
            f"{_shown(name)}, and suggested_label does not show whether that was edited: write the new class into a "
            "column label"
        )


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")
