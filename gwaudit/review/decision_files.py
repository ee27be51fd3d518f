"""What files say of samples, before anything is made of it: tables that people filled in, and Label Studio's exports.

| file | read as |
|---|---|
| `.csv`, `.tsv`, `.txt` | a table with a header: `decisions.csv`, a relabelled `suspects.csv`, Label Studio's CSV |
| `.json` | Label Studio's JSON (tasks with annotations) or JSON_MIN (an object an annotation) |
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheets import column_name, read_cells

LABEL_CONTROL, DECISION_CONTROL = "label", "decision"
"""The names of Label Studio's controls that hold them."""

_IDS = ("sample_id", "key")
_LABELS = ("label", "new_label")
_SAYING = ("decision", *_LABELS, "suggested_name")
_KNOWN = (*_IDS, "given_name", *_SAYING, "suggested_label")
_LABEL_STUDIO = ("annotation_id", "lead_time", "annotator", "completed_by")


@dataclass(frozen=True)
class Suggestion:
    """What a row of suspects suggests: the class's name, which people may edit, and its number, None without one."""

    name: str
    number: str | None


@dataclass(frozen=True)
class Statement:
    """What one row of a file says of one sample; empty where it says nothing.

    Attributes:
        file: its name.
        row: its number: of a table as a spreadsheet counts, the header being 1; of JSON the task's or object's, from 1.
        sample_id, key: which sample.
        given_name: the class that was audited.
        decision: as it stands there.
        label: the new class's name.
        suggestion: of a row of suspects.
        escaped: whether its texts have an apostrophe in front where a spreadsheet would run them as a formula.
    """

    file: str
    row: int
    sample_id: str
    key: str
    given_name: str
    decision: str
    label: str
    suggestion: Suggestion | None = None
    escaped: bool = True


@dataclass(frozen=True)
class Problem:
    """Why a row decides nothing: the file, the row (None for the whole), the reason, and the sample where known."""

    file: str
    row: int | None
    reason: str
    sample_id: int | None = None


def read_statements(path: Path) -> tuple[list[Statement], list[Problem]]:
    """What a file says, row by row, and what cannot be understood.

    Raises:
        DataError: it cannot be read, or is no table of decisions.
    """
    if not path.is_file():
        raise DataError(f"no decisions at {path}")
    rows = _json_rows(path) if path.suffix.lower() == ".json" else _table_rows(path)
    statements: list[Statement] = []
    problems: list[Problem] = []
    for row in rows:
        (statements if isinstance(row, Statement) else problems).append(row)  # type: ignore[arg-type]  # by its type
    return statements, problems


def _table_rows(path: Path) -> Iterator[Statement | Problem]:
    header, *rows = read_cells(path, _KNOWN)
    names = [column_name(cell) for cell in header]
    _require_columns(path, names)
    places = {name: names.index(name) for name in (*_KNOWN, *_LABEL_STUDIO) if name in names}
    annotated = any(name in places for name in _LABEL_STUDIO)
    for number, cells in enumerate(rows, start=2):
        if any(cell.strip() for cell in cells[len(header) :]):
            reason = f"has {len(cells)} cells where the header has {len(header)}: is a separator not in quotes?"
            yield Problem(path.name, number, reason)
            continue
        if not any(cell.strip() for cell in cells):
            continue
        values = {name: cells[place] for name, place in places.items()}
        if annotated:
            try:
                values |= {name: _one_choice(values[name]) for name in ("label", "decision") if name in values}
            except (KeyError, ValueError) as error:
                yield Problem(path.name, number, f"column label or decision: {error}")
                continue
        labels = {values.get(name, "") for name in _LABELS} - {""}
        if len(labels) > 1:
            yield Problem(path.name, number, "columns label and new_label say different things: empty one of them")
            continue
        suggestion = None
        if "suggested_name" in values:
            suggestion = Suggestion(values["suggested_name"], values.get("suggested_label"))
        statement = _statement(path, number, values, "".join(labels), suggestion, escaped=not annotated)
        # An export holds the tasks that nobody answered too.
        if not annotated or statement.decision.strip() or statement.label.strip():
            yield statement


def _require_columns(path: Path, names: list[str]) -> None:
    twice = [name for name in _KNOWN if names.count(name) > 1]
    if twice:
        raise DataError(f"{path}, row 1: column {twice[0]!r} is there {names.count(twice[0])} times; keep one")
    for wanted in (_IDS, _SAYING):
        if not any(name in names for name in wanted):
            raise DataError(f"{path}, row 1: there is no column {' or '.join(wanted)}; there are {', '.join(names)}")


def _statement(
    path: Path,
    row: int,
    values: Mapping[str, Any],
    label: str,
    suggestion: Suggestion | None,
    *,
    escaped: bool,
    decision: str | None = None,
) -> Statement:
    texts = {name: _text(values.get(name)) for name in ("sample_id", "key", "given_name", "decision")}
    if decision is not None:
        texts["decision"] = decision
    return Statement(path.name, row, **texts, label=label, suggestion=suggestion, escaped=escaped)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _json_rows(path: Path) -> Iterator[Statement | Problem]:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as JSON ({str(error).splitlines()[0]}): export it again") from error
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise DataError(f"{path} is no export of Label Studio: JSON or JSON_MIN, a list of objects, is expected")
    for number, item in enumerate(content, start=1):
        try:
            yield from _task(path, number, item) if "annotations" in item else _flat(path, number, item)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            yield Problem(path.name, number, f"is not as Label Studio writes it ({type(error).__name__}: {error})")


def _task(path: Path, number: int, task: dict[str, Any]) -> Iterator[Statement | Problem]:
    data = task["data"]
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        chosen: dict[str, list[str]] = {}
        for result in annotation["result"]:
            if result["type"] == "choices":
                chosen.setdefault(result["from_name"], []).extend(map(str, result["value"]["choices"]))
        if chosen and not chosen.keys() & {LABEL_CONTROL, DECISION_CONTROL}:
            there = ", ".join(chosen)
            yield Problem(path.name, number, f"has choices of {there}; the controls are to be named label or decision")
        elif several := next((name for name in (LABEL_CONTROL, DECISION_CONTROL) if len(chosen.get(name, ())) > 1), ""):
            yield Problem(path.name, number, f"has several choices of {several}: {', '.join(chosen[several])}")
        elif chosen:
            label, decision = ("".join(chosen.get(name, ())) for name in (LABEL_CONTROL, DECISION_CONTROL))
            suggestion = _suggestion(data)
            yield _statement(path, number, data, label, suggestion, escaped=False, decision=decision)


def _flat(path: Path, number: int, item: dict[str, Any]) -> Iterator[Statement | Problem]:
    label, decision = (_one_choice(item.get(name)) for name in (LABEL_CONTROL, DECISION_CONTROL))
    if label or decision:
        yield _statement(path, number, item, label, _suggestion(item), escaped=False, decision=decision)


def _suggestion(data: Mapping[str, Any]) -> Suggestion | None:
    if "suggested_name" not in data:
        return None
    return Suggestion(_text(data["suggested_name"]), _text(data.get("suggested_label")))


def _one_choice(value: Any) -> str:
    """A choice as Label Studio flattens it: the text alone, a list, or an object of choices, which CSV has as JSON."""
    if isinstance(value, str) and value.startswith('{"choices"'):
        value = json.loads(value)
    if isinstance(value, dict):
        value = value["choices"]
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"several choices: {', '.join(map(str, value))}")
        return _text(value[0] if value else None)
    return _text(value)
