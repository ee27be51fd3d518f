"""Serve the review page to this machine alone, over HTTP; every decision is on the disk when the answer is sent.

The address holds a random token; without it the server answers nothing. Several tabs may decide at the same time: each
sends what it changed and the revision that it has seen, and receives what the others changed since. Of several
decisions on one sample the last one counts.
"""

import os
import re
import secrets
import sys
import threading
import webbrowser
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from gwaudit.core.errors import GwauditError
from gwaudit.core.files import writing
from gwaudit.core.json import parse_json, to_json
from gwaudit.review.decision_log import DecisionLog
from gwaudit.review.learning import ReviewLearner

_LARGEST_REQUEST = 50_000_000


def serve_review(server: "ReviewServer", *, browser: bool) -> None:
    """Serve the page until the process is interrupted (Ctrl-C).

    Args:
        server: Listens already.
        browser: Open the page in the browser first.
    """
    redirect = server.log.path.with_name("review.html")
    try:
        if browser:
            _write_redirect(redirect, server.url)
            webbrowser.open(redirect.resolve().as_uri())
        with suppress(KeyboardInterrupt):
            server.serve_forever()
    finally:
        redirect.unlink(missing_ok=True)


def _write_redirect(path: Path, url: str) -> None:
    """Write a page that leads to an address, for this user alone.

    The command line of a browser can be read by every user of the machine: it names this file instead of the token.
    """
    page = (
        '<!doctype html><meta charset="utf-8"><meta name="referrer" content="no-referrer"><title>gwaudit review</title>'
        f'<meta http-equiv="refresh" content="0; url={url}"><a href="{url}">Open the review</a>\n'
    )
    with writing(path):
        path.unlink(missing_ok=True)  # of a review that was killed
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(page)


class ReviewServer(ThreadingHTTPServer):
    """Serve the review page on the loopback address until shut down.

    Attributes:
        url: Address of the page, with the token.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        log: DecisionLog,
        page: bytes,
        port: int = 0,
        picture: Callable[[int], bytes] | None = None,
        learner: ReviewLearner | None = None,
    ) -> None:
        """Listen on the port; `serve_review` then serves.

        Args:
            log: Log that the decisions go to.
            page: The page, from `render_page(..., served=True)`.
            port: Port to listen on; 0 for any free one.
            picture: Function of a sample id that returns its whole picture as WebP.
            learner: Calibrates the audit on the decisions, for the page to follow.

        Raises:
            GwauditError: the port is taken.
        """
        self.log, self.page, self.picture, self.learner = log, page, picture, learner
        self.token = secrets.token_urlsafe(24)
        self.lock = threading.Lock()
        self.revision = 1  # a tab that has seen nothing yet sends 0
        self.last_changed: dict[int, int] = {}  # by sample id, the revision of its last change
        try:
            super().__init__(("127.0.0.1", port), _Handler)
        except OSError as error:
            raise GwauditError(f"port {port} cannot be used ({error.strerror}): choose another one") from error
        self.url = f"http://127.0.0.1:{self.server_port}/{self.token}/"

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Log a tab's changes, and return the changes since the revision that it has seen.

        Args:
            request: {"since": the revision, "changes": pairs as `DecisionLog.parse_changes` takes them}; "learned" is
                the revision of the calibration that the tab has seen.

        Returns:
            {"revision": the new one, "changes": pairs of sample id and decision, None where it was taken back}; with
            "learned" where there is a new calibration, as `ReviewLearner.learned_since` returns it.

        Raises:
            ValueError, KeyError, TypeError: the request is something else.
            StoreError: the changes cannot be written.
        """
        since, changes = request["since"], self.log.parse_changes(request["changes"])
        if type(since) is not int:
            raise ValueError(f"the revision is a whole number, not {since!r}")
        with self.lock:
            edited = self.log.reload()  # by hand, in the file
            if changes:
                self.log.change(changes)
            if edited or changes:
                self.revision += 1
                self.last_changed |= dict.fromkeys((*edited, *changes), self.revision)
            if 0 < since <= self.revision:
                ids = [sample_id for sample_id, revision in self.last_changed.items() if revision > since]
            else:  # a new tab, or one of an earlier server
                ids = sorted({*self.log.decisions, *self.last_changed})
            answer = {"revision": self.revision, "changes": [(i, self._decision(i)) for i in ids]}
            if self.learner is not None:
                self.learner.follow(self.log.decisions)
                if learned := self.learner.learned_since(request.get("learned", 0)):
                    answer["learned"] = learned
            return answer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing of a connection that the browser has ended; print the traceback of any other error."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def _decision(self, sample_id: int) -> dict[str, Any] | None:
        logged = self.log.decisions.get(sample_id)
        return None if logged is None else logged._asdict()


class _Handler(BaseHTTPRequestHandler):
    server: ReviewServer
    timeout = 60  # seconds that a connection may be silent

    def do_GET(self) -> None:
        picture = re.search(r"/picture/([0-9]{1,12})$", self.path)
        if picture is not None:
            if self._admits(picture[0]):
                self._send_picture(int(picture[1]))
        elif self._admits("/"):
            self._send(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def _send_picture(self, sample_id: int) -> None:
        if self.server.picture is None:
            return self._refuse(HTTPStatus.NOT_FOUND, "the samples of this run have no pictures")
        try:
            content = self.server.picture(sample_id)
        except IndexError:
            return self._refuse(HTTPStatus.NOT_FOUND, f"the run has no sample {sample_id}")
        except (GwauditError, OSError) as error:
            return self._refuse(HTTPStatus.NOT_FOUND, str(error))
        self._send(HTTPStatus.OK, content, "image/webp")

    def do_POST(self) -> None:
        if not self._admits("/decisions"):
            return
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length) or int(length) > _LARGEST_REQUEST:
            return self._refuse(
                HTTPStatus.BAD_REQUEST, f"a request needs a Content-Length of at most {_LARGEST_REQUEST:,} bytes"
            )
        body = self.rfile.read(int(length))
        # A form on another site cannot send this type, and its page may not send another without asking first.
        if self.headers.get_content_type() != "application/json":
            return self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "decisions are accepted as application/json only")
        try:
            answer = self.server.answer(parse_json(body))
        except GwauditError as error:
            return self._refuse(HTTPStatus.INSUFFICIENT_STORAGE, str(error))
        except (ValueError, KeyError, TypeError) as error:
            return self._refuse(HTTPStatus.BAD_REQUEST, f"these are no decisions on this run: {error}")
        self._send(HTTPStatus.OK, to_json(answer, indent=None).encode(), "application/json")

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the address of the page is to stay in sight in the terminal."""

    def _admits(self, path: str) -> bool:
        """Return whether the request has the token and this machine's name; refuse it where not."""
        own = {f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}"}
        has_token = secrets.compare_digest(self.path.encode(), f"/{self.server.token}{path}".encode())
        if has_token and self.headers.get("Host") in own:  # any other name belongs to another site
            return True
        self._refuse(HTTPStatus.NOT_FOUND, "not found: use the whole address that gwaudit review printed")
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
