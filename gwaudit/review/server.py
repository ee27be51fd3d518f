"""The review page served to this machine alone: every decision is on the disk as soon as it is made.

The address holds a random token, without which the server answers nothing. Several tabs may decide at the same time:
each says what it changed and what it has seen, and gets what the others changed; the last word on a sample counts.
"""

import json
import re
import secrets
import threading
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, GwauditError, StoreBusyError, StoreDamagedError
from gwaudit.review.decisions import DECISIONS, ReviewDecision, read_decisions, require_one_label, write_decisions

_LARGEST_REQUEST = 50_000_000


class Choice(NamedTuple):
    """What a person decided on a sample; `label` is the new one where it is relabelled, else None."""

    decision: ReviewDecision
    label: int | None = None


class DecisionLog:
    """The decisions on a run's samples, in `decisions.csv` of its folder.

    Example:
        >>> import gwaudit
        >>> audit = gwaudit.rank(gwaudit.TrajectoryStore.open("runs/worse"))
        >>> with DecisionLog(audit) as log:
        ...     log.change({17: Choice("drop")})
    """

    def __init__(self, audit: Audit) -> None:
        """Open the log of a run, and go on with what it holds.

        Raises:
            DataError: samples have any number of classes.
            StoreBusyError: it is being reviewed already.
            StoreDamagedError: there is a `decisions.csv` that cannot be read.
        """
        require_one_label(audit)
        self.path = audit.run / "decisions.csv"
        self._audit = audit
        self._keys, self._given = audit.by_id("key"), audit.by_id("given_label")
        self._lock = FileLock(audit.run / "decisions.lock", timeout=0)
        try:
            self._lock.acquire()
        except Timeout:
            raise StoreBusyError(
                f"{audit.run} is being reviewed already: use the address that gwaudit review printed there, or stop it"
            ) from None
        try:
            self.made = self._read()
        except BaseException:
            self._lock.release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def change(self, changes: Mapping[int, Choice | None]) -> None:
        """Take decisions, None to take one back, and have them on the disk on return.

        Raises:
            StoreError: they cannot be written; nothing has changed then.
        """
        made = {**self.made, **changes}
        kept = {sample_id: choice for sample_id, choice in sorted(made.items()) if choice is not None}
        self._write(kept)
        self.made = kept

    def checked(self, changes: Sequence[Any]) -> dict[int, Choice | None]:
        """What a page sent, as decisions.

        Args:
            changes: pairs of a sample's id and either None or {"decision": ..., "label": ...}.

        Raises:
            ValueError: it is no such thing.
        """
        found: dict[int, Choice | None] = {}
        for sample_id, said in changes:
            if not isinstance(sample_id, int) or not 0 <= sample_id < len(self._keys):
                raise ValueError(f"there is no sample {sample_id!r}")
            if said is None:
                found[sample_id] = None
                continue
            decision, label = said["decision"], said["label"]
            if decision not in DECISIONS:
                raise ValueError(f"unknown decision {decision!r}")
            if decision == "relabel" and not (isinstance(label, int) and 0 <= label < len(self._audit.class_names)):
                raise ValueError(f"there is no class {label!r}")
            found[sample_id] = Choice(decision, label if decision == "relabel" else None)
        return found

    def _read(self) -> dict[int, Choice]:
        if not self.path.exists():
            return {}
        try:
            decisions = read_decisions([self.path], self._audit)
        except DataError as error:
            raise StoreDamagedError(f"{error}: mend it, or move it away") from error
        if decisions.problems:
            first = decisions.problems[0]
            raise StoreDamagedError(
                f"{self.path} holds {len(decisions.problems)} rows that are no decisions on this run (row {first.row}: "
                f"{first.reason}): mend it, or move it away"
            )
        frame = decisions.frame
        return {
            int(sample_id): Choice(verdict, int(label) if verdict == "relabel" else None)
            for sample_id, verdict, label in zip(frame["sample_id"], frame["decision"], frame["label"], strict=True)
        }

    def _write(self, made: Mapping[int, Choice]) -> None:
        ids = np.fromiter(made, np.int64, len(made))
        names = np.array(self._audit.class_names, object)
        columns = {
            "sample_id": ids,
            "key": self._keys[ids],
            "given_name": names[self._given[ids]],
            "decision": [choice.decision for choice in made.values()],
            "label": ["" if choice.label is None else names[choice.label] for choice in made.values()],
        }
        write_decisions(pd.DataFrame(columns), self.path)


class ReviewServer(ThreadingHTTPServer):
    """Serves the review page on loopback until it is shut down.

    Attributes:
        url: where, with the token.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, log: DecisionLog, page: bytes, port: int = 0) -> None:
        """Listen, not serve yet (`serve_forever`).

        Args:
            log: gets the decisions.
            page: what `render_page(contents, served=True)` gave.
            port: 0 for any that is free.

        Raises:
            GwauditError: the port is taken.
        """
        self.log, self.page = log, page
        self.token = secrets.token_urlsafe(24)
        self.changing = threading.Lock()
        self.revision = 1  # 0 is what a tab says that knows nothing yet
        self.changed_in: dict[int, int] = {}  # sample id -> the revision that changed it last
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise GwauditError(f"port {port} cannot be used ({error.strerror}): choose another one") from error
        self.url = f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Take a tab's changes, and tell it what has changed since it asked last.

        Raises:
            ValueError, KeyError, TypeError: it is no such request.
            StoreError: the changes cannot be written.
        """
        since, changes = int(request["since"]), self.log.checked(request["changes"])
        with self.changing:
            if changes:
                self.log.change(changes)
                self.revision += 1
                self.changed_in |= dict.fromkeys(changes, self.revision)
            if 0 < since <= self.revision:
                ids = [sample_id for sample_id, revision in self.changed_in.items() if revision > since]
            else:  # new here, or a tab of an earlier server
                ids = sorted({*self.log.made, *self.changed_in})
            news = [(sample_id, self._said(sample_id)) for sample_id in ids]
            return {"revision": self.revision, "changes": news}

    def _said(self, sample_id: int) -> dict[str, Any] | None:
        choice = self.log.made.get(sample_id)
        return None if choice is None else choice._asdict()


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer

    def do_GET(self) -> None:
        if self._is_for("/"):
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        if not self._is_for("/decisions"):
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > _LARGEST_REQUEST:
            return self._refuse(HTTPStatus.BAD_REQUEST, "a request must say its length, and be shorter")
        body = self.rfile.read(int(length))
        # A form on another site cannot send this type, and its page may not send another without asking first.
        if self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "decisions come as application/json")
        try:
            answer = self.server.answer(json.loads(body))
        except GwauditError as error:
            return self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except (ValueError, KeyError, TypeError) as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, f"these are no decisions on this run: {error}")
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the terminal says where the page is, and that stays in sight."""

    def _is_for(self, path: str) -> bool:
        """Whether the request has the token and was meant for this machine; answered already where not."""
        own = {f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}"}
        known = secrets.compare_digest(self.path.encode(), f"/{self.server.token}{path}".encode())
        if known and self.headers.get("Host") in own:  # another name for this address is another site's
            return True
        self._refuse(HTTPStatus.NOT_FOUND, "nothing here: use the whole address that gwaudit review printed")
        return False

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._send(status, reason.encode("utf-8", "replace"), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)
