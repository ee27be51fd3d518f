"""Keep the decisions of a review in `decisions.csv` of the run, under a lock that admits one review at a time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit, rows_of
from gwaudit.core.errors import DataError, StoreDamagedError
from gwaudit.core.locks import acquire_lock
from gwaudit.review.decision_files import fingerprint_cell
from gwaudit.review.decisions import DECISIONS, ReviewDecision, read_decisions, write_decisions


class LoggedDecision(NamedTuple):
    """Hold the decision on one label; `label` is the new one where it is relabelled, else None."""

    decision: ReviewDecision
    label: int | None = None


class DecisionLog:
    """Keep the decisions on a run's labels on the disk while people make them.

    The id of a label is its row in the store: that of the sample, or `sample * C + class` in multi-label data.

    The file may be changed by hand meanwhile: its decisions then replace those of the log before the next ones are
    added. A file that cannot be read is never overwritten.

    Attributes:
        path: The file, `decisions.csv` of the run's folder.
        decisions: The decisions so far, by the id of the label, ascending.

    Example:
        >>> import gwaudit
        >>> audit = gwaudit.rank(gwaudit.TrajectoryStore.open("runs/worse"))
        >>> with DecisionLog(audit) as log:
        ...     log.change({17: LoggedDecision("drop")})
    """

    def __init__(self, audit: Audit) -> None:
        """Open the log of a run, with the decisions that it holds already.

        Raises:
            StoreBusyError: another review of the run is open.
            StoreDamagedError: there is a `decisions.csv` that cannot be read.
        """
        self.path = audit.run / "decisions.csv"
        self._audit = audit
        self._keys, self._given = audit.by_id("key"), audit.by_id("given_label")
        busy = f"{audit.run} is being reviewed already: use the address that gwaudit review printed there, or stop it"
        self._lock = acquire_lock(audit.run / "decisions.lock", busy)
        self.decisions: dict[int, LoggedDecision] = {}
        self._content, self._signature = b"", (0, 0, 0)  # of the file, when it was last read or written
        try:
            self.reload()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def reload(self) -> set[int]:
        """Read the file again if it was changed by hand, and return the labels that it decides otherwise.

        Where the file was deleted, the log keeps its decisions, and the next change writes it anew.

        Raises:
            StoreDamagedError: the file was changed and cannot be read.
        """
        try:
            status = self.path.stat()
            signature = (status.st_mtime_ns, status.st_size, status.st_ino)
            content = self._content if signature == self._signature else self.path.read_bytes()
        except FileNotFoundError:
            return set()
        except OSError as error:
            raise StoreDamagedError(f"{self.path} cannot be read: {error.strerror}") from error
        if content == self._content:
            self._signature = signature
            return set()
        before, self.decisions = self.decisions, self._read()
        self._content, self._signature = content, signature
        return {i for i in before.keys() | self.decisions.keys() if before.get(i) != self.decisions.get(i)}

    def change(self, changes: Mapping[int, LoggedDecision | None]) -> None:
        """Add decisions to those of the file, None to take one back; they are on the disk on return.

        Raises:
            StoreDamagedError: the file was changed by hand and cannot be read; it is left as it is.
            StoreError: the decisions cannot be written; the log is then what it was before.
        """
        self.reload()
        merged = {**self.decisions, **changes}
        kept = {row: decision for row, decision in sorted(merged.items()) if decision is not None}
        self._write(kept)
        self.decisions, self._content = kept, self.path.read_bytes()

    def counts(self) -> dict[ReviewDecision, int]:
        """Return how many labels each decision was made on, the most frequent first, without zeros."""
        return dict(Counter(logged.decision for logged in self.decisions.values()).most_common())

    def parse_changes(self, changes: Sequence[Any]) -> dict[int, LoggedDecision | None]:
        """Return the changes that a page sent, checked against the run.

        Args:
            changes: Pairs of a label's id and either None or {"decision": ..., "label": ...}.

        Raises:
            ValueError, KeyError, TypeError: they are something else.
        """
        parsed: dict[int, LoggedDecision | None] = {}
        for row, value in changes:
            if type(row) is not int or not 0 <= row < len(self._keys):
                raise ValueError(f"there is no sample {row!r}")
            if value is None:
                parsed[row] = None
                continue
            decision, label = value["decision"], value["label"]
            if decision not in DECISIONS:
                raise ValueError(f"unknown decision {decision!r}")
            # `True` is an int, but no class.
            if decision == "relabel" and not (type(label) is int and 0 <= label < len(self._audit.answers)):
                raise ValueError(f"there is no class {label!r}")
            parsed[row] = LoggedDecision(decision, label if decision == "relabel" else None)
        return parsed

    def _read(self) -> dict[int, LoggedDecision]:
        try:
            decisions = read_decisions([self.path], self._audit)
        except DataError as error:
            raise StoreDamagedError(f"{error}: correct the file, or move it away") from error
        if decisions.problems:
            first = decisions.problems[0]
            raise StoreDamagedError(
                f"{self.path} holds {len(decisions.problems)} rows that are no decisions on this run (row {first.row}: "
                f"{first.reason}): correct them, or move the file away"
            )
        if decisions.unread:
            raise StoreDamagedError(
                f"{self.path} has columns that a review does not keep ({', '.join(decisions.unread)}): delete them, or "
                "move the file away and apply it by itself"
            )
        frame = decisions.frame
        rows = rows_of(frame, self._audit.class_names).tolist()
        return {
            row: LoggedDecision(decision, int(label) if decision == "relabel" else None)
            for row, decision, label in zip(rows, frame["decision"], frame["label"], strict=True)
        }

    def _write(self, decisions: Mapping[int, LoggedDecision]) -> None:
        rows = np.fromiter(decisions, np.int64, len(decisions))
        names, about = np.array(self._audit.answers, object), self._audit.names_of(rows)
        columns = {
            "sample_id": about["sample_id"],
            "key": self._keys[rows],
            "given_name": names[self._given[rows]],
            "decision": [logged.decision for logged in decisions.values()],
            "label": ["" if logged.label is None else names[logged.label] for logged in decisions.values()],
            "data_fingerprint": fingerprint_cell(self._audit.fingerprint),
        }
        if "class_id" in about:
            columns["class_name"] = np.array(self._audit.class_names, object)[about["class_id"]]
        write_decisions(pd.DataFrame(columns), self.path)
