"""Write questions for the labelling guideline as a table, and read the answers: one for all samples of a pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.guidelines import GuidelineQuestion, apparent_labels
from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheet_changes import TextIndex
from gwaudit.core.spreadsheets import column_name, read_cells, write_csv
from gwaudit.data.url_copies import local_file

GuidelineAnswer = Literal["keep", "relabel", "drop"]

QUESTION_COLUMNS = (
    "given_name",
    "other_name",
    "samples",
    "share",
    "usual",
    "examples",
    "examples_of_other",
    "decision",
)
"""Columns of a table of questions; `decision` is empty until somebody fills it in."""

_READ = ("given_name", "other_name", "decision")


@dataclass(frozen=True)
class Guideline:
    """Hold one decision about all undecided samples of a class that look like another one.

    Attributes:
        given, other: Indices of the two classes.
        answer: "keep" the given class, "relabel" as the other one, or "drop" the samples.
        file, row: Name of the file, and row as a spreadsheet counts.
    """

    given: int
    other: int
    answer: GuidelineAnswer
    file: str
    row: int


def write_questions(questions: Sequence[GuidelineQuestion], path: Path | str) -> Path:
    """Write questions as a CSV file to fill in, and return its path.

    Raises:
        StoreError: The file cannot be written.
    """
    rows = [
        (
            q.given,
            q.other,
            q.samples,
            round(q.share, 4),
            round(q.usual, 4),
            *map("; ".join, (q.examples, q.examples_of_other)),
            "",
        )
        for q in questions
    ]
    return write_csv(pd.DataFrame(rows, columns=list(QUESTION_COLUMNS)), path)


def read_guidelines(path: Path | str, audit: Audit) -> tuple[Guideline, ...]:
    """Read the answers to questions; rows without a decision are passed over.

    Args:
        path: CSV file, or its URL, with the columns `given_name`, `other_name` and `decision` (keep, relabel or drop).
        audit: Audit that the questions are about.

    Raises:
        DataError: The file cannot be read, lacks a column, or has no answer, or a row names an unknown class or
            decision, or answers a pair twice.
    """
    path = local_file(path)
    if not path.is_file():
        raise DataError(f"there is no file of guidelines at {path}")
    header, *rows = read_cells(path, _READ)
    names = [column_name(cell) for cell in header]
    if missing := [name for name in _READ if name not in names]:
        raise DataError(f"{path}, row 1: there is no column {missing[0]}: it needs {', '.join(_READ)}")
    classes, found = TextIndex(audit.class_names), dict[tuple[int, int], Guideline]()
    for number, row in enumerate(rows, start=2):
        given_name, other_name, word = (row[names.index(name)] for name in _READ)
        answer = word.strip().casefold()
        if not answer:
            continue
        if answer not in get_args(GuidelineAnswer):
            choices = ", ".join(get_args(GuidelineAnswer))
            raise DataError(f"{path}, row {number}: column decision: {word!r} is none of {choices}")
        given, other = (_class(classes, name, path, number) for name in (given_name, other_name))
        guideline = Guideline(given, other, cast(GuidelineAnswer, answer), path.name, number)
        if guideline.given == guideline.other:
            raise DataError(f"{path}, row {number}: given_name and other_name are the same class")
        before = found.setdefault((guideline.given, guideline.other), guideline)
        if before.answer != answer:
            raise DataError(f"{path}, row {number}: this pair is answered in row {before.row} already, otherwise")
    if not found:
        choices = ", ".join(get_args(GuidelineAnswer))
        raise DataError(f"{path}: no question has an answer: write one of {choices} into the column decision")
    return tuple(found.values())


def samples_of(guideline: Guideline, audit: Audit) -> NDArray[np.int64]:
    """Return the ids of the samples that a guideline decides, ascending: undecided, looking like the other class."""
    frame = audit.frame
    members = (frame["given_label"].to_numpy() == guideline.given) & (apparent_labels(audit) == guideline.other)
    return np.sort(frame["sample_id"].to_numpy(np.int64)[members])


def _class(classes: TextIndex, name: str, path: Path, row: int) -> int:
    labels = classes.find(name)
    if len(labels) != 1:
        raise DataError(f"{path}, row {row}: {name!r} is {'no' if not labels else 'more than one'} class of the run")
    return labels[0]
