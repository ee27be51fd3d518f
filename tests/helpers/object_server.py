"""An S3-compatible server of this process (moto's), in which requests can be made to fail."""

import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

KEY, SECRET = "AKIATESTTESTTEST", "a-secret-that-nobody-may-see"
Fault = Callable[[dict[str, Any], Any, Callable[[], Any]], Any]
"""Receives the environment of a request, `start_response` and a function that answers as usual; returns the body."""


class ObjectServer:
    """A server with the bucket `bucket`; `faults` are used up one by one, by the requests that they match."""

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app
        from werkzeug.serving import make_server

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # which else prints each request
        self.faults: list[tuple[str, str, Fault]] = []
        self.refuses_after: int | None = None  # number of requests that write, before all are refused
        self.hidden = ""  # text in keys that listings do not show yet
        self.requests: list[tuple[str, str]] = []
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def close(self) -> None:
        self._server.shutdown()

    @contextmanager
    def failing(self, method: str, part: str, *faults: Fault) -> Iterator[None]:
        """Let the next requests of a method whose path holds a text meet these faults, one each."""
        self.faults = [(method, part, fault) for fault in faults]
        yield
        left, self.faults = self.faults, []
        assert not left, f"{len(left)} faults met no request"

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Any:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        self.requests.append((method, path))
        if self.hidden and method == "GET" and "list-type=2" in environ["QUERY_STRING"]:
            return self._stale_listing(environ, start_response)
        if self.refuses_after is not None and method in ("PUT", "POST", "DELETE"):
            self.refuses_after -= "/leases/" not in path
            if self.refuses_after < 0:
                return forbidden(environ, start_response, lambda: None)
        for index, (of_method, part, fault) in enumerate(self.faults):
            if method == of_method and part in path:
                del self.faults[index]
                return fault(environ, start_response, lambda: self._moto(environ, start_response))
        return self._moto(environ, start_response)

    def _stale_listing(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Answer a listing without what is hidden, as stores do that list objects later than they have them."""
        body = b"".join(self._moto(environ, lambda status, headers, *rest: None)).decode()
        for entry in re.findall(r"<Contents>.*?</Contents>", body, re.DOTALL):
            if self.hidden in entry:
                body = body.replace(entry, "")
        start_response("200 OK", [("Content-Type", "application/xml")])
        return [body.encode()]


def as_usual(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Answer, where a later request is to meet a fault."""
    return answer()


def slow_down(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Answer 503, as a service that throttles."""
    _read_body(environ)
    start_response("503 Slow Down", [("Content-Type", "application/xml")])
    return [b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"]


def internal_error(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    _read_body(environ)
    start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
    return [b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"]


def forbidden(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    _read_body(environ)
    start_response("403 Forbidden", [("Content-Type", "application/xml")])
    return [b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"]


def cut_request(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Close the connection in the middle of what is sent; nothing of it is stored."""
    environ["wsgi.input"].read(max(1, int(environ.get("CONTENT_LENGTH") or 0) // 2))
    _cut(environ)
    return []


def cut_response(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Close the connection in the middle of what is received."""
    body = b"".join(answer())
    yield body[: max(1, len(body) // 2)]
    _cut(environ)


def lose_answer(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Do what is asked for, and close the connection before the answer."""
    b"".join(answer())
    _cut(environ)
    return []


def ignore_condition(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
    """Overwrite what was to be created on a condition, as a store that does not know `If-None-Match`."""
    del environ["HTTP_IF_NONE_MATCH"]
    return answer()


def delay(seconds: float) -> Fault:
    """Answer late."""

    def fault(environ: dict[str, Any], start_response: Any, answer: Callable[[], Any]) -> Any:
        time.sleep(seconds)
        return answer()

    return fault


def _read_body(environ: dict[str, Any]) -> None:
    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))


def _cut(environ: dict[str, Any]) -> None:
    import socket

    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@contextmanager
def serving_objects() -> Iterator[ObjectServer]:
    """Start a server, and let fsspec and the processes that tests start use it."""
    server = ObjectServer()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem().mkdir("bucket")
        yield server
    server.close()


def remove_all() -> None:
    """Empty the bucket."""
    import s3fs

    file_system = s3fs.S3FileSystem(use_listings_cache=False)
    if found := file_system.find("bucket"):
        file_system.rm(found)


os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
