"""Keep the trials that have ended in a file of JSON lines, so that a run that was cut short can go on."""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def checksum_of_sources() -> str:
    """Return a checksum of the program and of the torture: the trials of one file are of one version."""
    digest = hashlib.sha256()
    for folder in (ROOT / "gwaudit", ROOT / "tests" / "torture"):
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


class Rows:
    """Keep rows by their field `key`; the first line of the file states what all of them share.

    Args:
        path: Path of the file, or None to keep them in memory only.
        shared: What all rows share: the version, the seed.

    Raises:
        SystemExit: The rows of the file are of another version or seed.
    """

    def __init__(self, path: Path | None, shared: dict[str, Any]) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._file: int | None = None
        if path is None:
            return
        lines = read_lines(path) if path.exists() else []
        if lines and lines[0] != shared:
            raise SystemExit(f"{path} holds trials of {lines[0]}, not of {shared}: choose another file")
        self.rows = {row["key"]: row for row in lines[1:]}
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        os.ftruncate(self._file, _whole_bytes(path.read_bytes()))
        if not lines:
            self._append(shared)

    def __enter__(self) -> "Rows":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            os.close(self._file)

    def add(self, row: dict[str, Any]) -> None:
        self.rows[row["key"]] = row
        self._append(row)

    def _append(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            os.write(self._file, json.dumps(line).encode() + b"\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of JSON lines, without one at the end that was not written in full."""
    data = path.read_bytes()
    return [json.loads(line) for line in data[: _whole_bytes(data)].splitlines()]


def _whole_bytes(data: bytes) -> int:
    return data.rfind(b"\n") + 1
