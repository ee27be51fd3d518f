"""Read the rows of decision files, before they are checked against an audit.

| file | read as |
|---|---|
| `.csv`, `.tsv`, `.txt` | a table with a header: `decisions.csv`, a relabelled `suspects.csv`, Label Studio's CSV |
| `.json` | Label Studio's JSON (tasks with annotations) or JSON_MIN (one object per annotation) |
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gwaudit.core.errors import DataError
from gwaudit.core.json import parse_json
from gwaudit.core.spreadsheets import column_name, read_cells, texts_are_quoted
from gwaudit.export.suspects import MULTI_LABEL_SUSPECT_COLUMNS

LABEL_CONTROL, DECISION_CONTROL = "label", "decision"
"""Names of Label Studio's controls for the label and for the decision."""

_ID_COLUMNS = ("sample_id", "key")
_LABEL_COLUMNS = ("label", "new_label")
_NAME_COLUMNS = (*_LABEL_COLUMNS, "suggested_name")
_ANSWER_COLUMNS = ("decision", *_NAME_COLUMNS)
_COLUMNS = (
    *_ID_COLUMNS,
    "class_name",
    "given_name",
    "given_label",
    *_ANSWER_COLUMNS,
    "suggested_label",
    "data_fingerprint",
)
_TEXTS = ("sample_id", "key", "class_name", "given_name", "given_label", "decision", "data_fingerprint")
_LABEL_STUDIO_COLUMNS = ("annotation_id", "lead_time", "annotator", "completed_by")
# Columns that gwaudit and Label Studio write beside the decisions.
_OTHER_COLUMNS = {
    *MULTI_LABEL_SUSPECT_COLUMNS, *_LABEL_STUDIO_COLUMNS, "id", "text", "image", "about", "created_at", "updated_at",
    "annotations", "predictions", "data", "meta", "project", "file_upload", "inner_id",
}  # fmt: skip


@dataclass(frozen=True)
class Suggestion:
    """Hold what a row suggests: the name of the class, which people may edit, and its number, None without one."""

    name: str
    number: str | None


@dataclass(frozen=True)
class Statement:
    """Hold the cells of one row about one sample; a text is empty where the row has none.

    Attributes:
        file: Name of the file.
        row: Number of the row: in a table as a spreadsheet counts, the header is 1; in JSON of the task or object,
            from 1.
        sample_id: Id of the sample.
        key: Key of the sample.
        class_name: Name of the class that the row is about, in multi-label data.
        given_name: Name of the label that was audited.
        given_label: Index of that class.
        decision: The decision as written.
        label: Name of the new class.
        data_fingerprint: Fingerprint of the data that were decided about, as `fingerprint_cell` writes it.
        suggestion: Suggestion of a row of suspects.
        from_label_studio: Whether Label Studio wrote the row. It may have chosen the proposed label itself, and its
            texts are not escaped: a text that a spreadsheet would run as a formula has no apostrophe in front.
    """

    file: str
    row: int
    sample_id: str
    key: str
    class_name: str
    given_name: str
    given_label: str
    decision: str
    label: str
    data_fingerprint: str
    suggestion: Suggestion | None = None
    from_label_studio: bool = False


@dataclass(frozen=True)
class Problem:
    """Describe why a row decides nothing: file, row (None for the whole file), reason, and sample where it is known."""

    file: str
    row: int | None
    reason: str
    sample_id: int | None = None


@dataclass(frozen=True, eq=False)
class DecisionFile:
    """Hold the rows of one file.

    Attributes:
        path: The file.
        statements: The rows that can be understood.
        problems: The rows that cannot.
        columns: Names of the columns that were read.
        unread: Cells of each column that was not read and is none that gwaudit or Label Studio writes, without empty
            cells, by the name of the column.
        as_written: Whether the texts are as they were written: no spreadsheet program has changed them.
    """

    path: Path
    statements: tuple[Statement, ...]
    problems: tuple[Problem, ...]
    columns: tuple[str, ...]
    unread: Mapping[str, tuple[str, ...]]
    as_written: bool


def fingerprint_cell(fingerprint: str) -> str:
    """Return the fingerprint of data as a cell that no spreadsheet takes for a number; empty where there is none."""
    return f"data-{fingerprint}" if fingerprint else ""


def require_no_answers(path: Path, shown: Path | str, advice: str = "") -> None:
    """Raise an error if the table that is to be written over holds answers in its columns `decision` or `label`.

    Args:
        path: The file, which need not exist, nor be a table of decisions.
        shown: The file as the user named it.
        advice: What to do besides writing to another file.

    Raises:
        DataError: It holds answers.
    """
    if not path.is_file():
        return
    try:
        header, *rows = read_cells(path, ("decision", "label"))
    except DataError:
        return  # no table of decisions
    columns = [i for i, cell in enumerate(header) if column_name(cell) in ("decision", "label")]
    if answered := sum(any(row[i].strip() for i in columns) for row in rows):
        raise DataError(
            f"{shown} holds {answered:,} answers, which would be lost: write to another file{advice and f', {advice}'}"
        )


def read_decision_file(path: Path) -> DecisionFile:
    """Read a file row by row.

    Raises:
        DataError: the file cannot be read, or is no table of decisions.
    """
    if not path.is_file():
        raise DataError(f"there is no file of decisions at {path}")
    unread: dict[str, list[str]] = defaultdict(list)
    if path.suffix.lower() == ".json":
        columns: tuple[str, ...] = (*_ID_COLUMNS, LABEL_CONTROL, DECISION_CONTROL)
        rows, as_written = list(_json_rows(path, unread)), True
    else:
        header, *cells = read_cells(path, _COLUMNS)
        names = [column_name(cell) for cell in header]
        _require_columns(path, names)
        columns = tuple(name for name in names if name in _COLUMNS)
        rows, as_written = list(_table_rows(path, names, cells)), texts_are_quoted(path, _NAME_COLUMNS)
        for column, name in enumerate(names):
            if name not in _COLUMNS and name not in _OTHER_COLUMNS:
                shown = header[column].strip() or f"{column + 1} (without a name)"
                unread[shown] += [row[column] for row in cells if row[column].strip()]
    return DecisionFile(
        path,
        tuple(row for row in rows if isinstance(row, Statement)),
        tuple(row for row in rows if isinstance(row, Problem)),
        columns,
        {name: tuple(values) for name, values in unread.items() if values},
        as_written,
    )


def _table_rows(path: Path, names: list[str], rows: list[list[str]]) -> Iterator[Statement | Problem]:
    columns = {name: names.index(name) for name in (*_COLUMNS, *_LABEL_STUDIO_COLUMNS) if name in names}
    # A column annotator or completed_by is what people who share a spreadsheet add, too.
    from_label_studio = any(name in columns for name in ("annotation_id", "lead_time"))
    for number, cells in enumerate(rows, start=2):
        if any(cell.strip() for cell in cells[len(names) :]):
            reason = f"has {len(cells)} cells, the header has {len(names)}: put texts with separators in quotes"
            yield Problem(path.name, number, reason)
        elif any(cell.strip() for cell in cells):
            values = {name: cells[column] for name, column in columns.items()}
            row = _table_row(path, number, values, from_label_studio=from_label_studio)
            # An export of Label Studio holds the tasks without an annotation too.
            if isinstance(row, Problem) or not from_label_studio or row.decision.strip() or row.label.strip():
                yield row


def _table_row(path: Path, number: int, values: dict[str, str], *, from_label_studio: bool) -> Statement | Problem:
    if from_label_studio:
        try:
            values |= {name: _single_choice(values[name]) for name in ("label", "decision") if name in values}
        except (KeyError, ValueError) as error:
            return Problem(path.name, number, f"column label or decision: {error}")
    labels = {values[name] for name in _LABEL_COLUMNS if values.get(name, "").strip()}
    if len(labels) > 1:
        return Problem(path.name, number, "columns label and new_label name different classes: empty one of them")
    suggestion = None
    if "suggested_name" in values:
        suggestion = Suggestion(values["suggested_name"], values.get("suggested_label"))
    return _statement(path, number, values, "".join(labels), suggestion, from_label_studio=from_label_studio)


def _require_columns(path: Path, names: list[str]) -> None:
    repeated = [name for name in _COLUMNS if names.count(name) > 1]
    if repeated:
        raise DataError(f"{path}, row 1: there are {names.count(repeated[0])} columns {repeated[0]!r}: keep one")
    for required in (_ID_COLUMNS, _ANSWER_COLUMNS):
        if not any(name in names for name in required):
            way_on = ": call the column with the keys of the samples key" if required == _ID_COLUMNS else ""
            raise DataError(
                f"{path}, row 1: there is no column {' or '.join(required)}; there are {', '.join(names)}{way_on}"
            )


def _statement(
    path: Path,
    row: int,
    values: Mapping[str, Any],
    label: str,
    suggestion: Suggestion | None,
    *,
    from_label_studio: bool,
    decision: str | None = None,
) -> Statement:
    texts = {name: _text(values.get(name)) for name in _TEXTS}
    if decision is not None:
        texts["decision"] = decision
    return Statement(path.name, row, **texts, label=label, suggestion=suggestion, from_label_studio=from_label_studio)


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _json_rows(path: Path, unread: dict[str, list[str]]) -> Iterator[Statement | Problem]:
    try:
        content = parse_json(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON ({str(error).splitlines()[0]}): export it again") from error
    if not isinstance(content, list) or not all(isinstance(item, dict) for item in content):
        raise DataError(f"{path} is no export of Label Studio: JSON or JSON_MIN, a list of objects, is expected")
    for number, item in enumerate(content, start=1):
        try:
            read = _task if "annotations" in item else _flat_annotation
            yield from read(path, number, item, unread)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"is not in the form that Label Studio writes ({type(error).__name__}: {error})"
            yield Problem(path.name, number, reason)


def _task(path: Path, number: int, task: dict[str, Any], unread: dict[str, list[str]]) -> Iterator[Statement | Problem]:
    data = task["data"]
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        choices: dict[str, list[str]] = {}
        for result in annotation["result"]:
            if result["type"] == "choices":
                choices.setdefault(result["from_name"], []).extend(map(str, result["value"]["choices"]))
        controls = (LABEL_CONTROL, DECISION_CONTROL)
        repeated = next((name for name in controls if len(choices.get(name, ())) > 1), None)
        if choices and not choices.keys() & set(controls):
            reason = f"has choices of {', '.join(choices)}: name the controls label and decision"
            yield Problem(path.name, number, reason)
        elif repeated is not None:
            yield Problem(path.name, number, f"has several choices of {repeated}: {', '.join(choices[repeated])}")
        elif choices:
            for name in choices.keys() - set(controls):
                unread[name] += choices[name]
            label, decision = ("".join(choices.get(name, ())) for name in controls)
            yield _statement(path, number, data, label, _suggestion(data), from_label_studio=True, decision=decision)


def _flat_annotation(
    path: Path, number: int, item: dict[str, Any], unread: dict[str, list[str]]
) -> Iterator[Statement | Problem]:
    for name, value in item.items():
        if name not in _COLUMNS and name not in _OTHER_COLUMNS and isinstance(value, str | list) and value:
            unread[name] += map(str, value if isinstance(value, list) else [value])
    label, decision = (_single_choice(item.get(name)) for name in (LABEL_CONTROL, DECISION_CONTROL))
    if label or decision:
        yield _statement(path, number, item, label, _suggestion(item), from_label_studio=True, decision=decision)


def _suggestion(data: Mapping[str, Any]) -> Suggestion | None:
    if "suggested_name" not in data:
        return None
    return Suggestion(_text(data["suggested_name"]), _text(data.get("suggested_label")))


def _single_choice(value: Any) -> str:
    """Return a choice in one of Label Studio's flat forms: text, list, object of choices, or this object as JSON."""
    if isinstance(value, str) and value.startswith('{"choices"'):
        value = parse_json(value)
    if isinstance(value, dict):
        value = value["choices"]
    if isinstance(value, list):
        if len(value) > 1:
            raise ValueError(f"several choices: {', '.join(map(str, value))}")
        return _text(value[0] if value else None)
    return _text(value)
