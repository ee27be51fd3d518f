"""Find URLs, open their file systems through fsspec, and keep passwords and tokens out of what is shown.

Credentials come from the usual providers of each service: environment variables, profiles, roles of the machine. fsspec
and the libraries of the services are imported where a URL is used, and only there.
"""

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import sleep
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from gwaudit.core.errors import GwauditError, MissingExtraError, SettingsError

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://", re.IGNORECASE)
_IN_TEXT = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_HIDDEN = "***"
_EXTRAS = {"s3": "s3", "s3a": "s3"}
_OF_PATHS = ("file", "local")  # kinds of URLs that name no host or bucket before the path
_ATTEMPTS = 4
_NOT_FOUND = (404, 410)  # answers of http
_BUSY = (408, 425, 429)
_FIRST_PAUSE = 0.2  # seconds; each further pause is three times as long

Value = TypeVar("Value")


def is_url(place: object) -> bool:
    """Return whether a place is given as a URL.

    Example:
        >>> is_url("s3://bucket/photos"), is_url("photos"), is_url("hf:photos")
        (True, False, False)
    """
    return isinstance(place, str) and _URL.match(place) is not None


def path_of_file_url(url: str) -> Path | None:
    """Return the path on this machine that a `file://` URL names; None for other URLs.

    Raises:
        SettingsError: The URL names another machine, as where a slash is missing.

    Example:
        >>> path_of_file_url("file:///data/my%20photos").name
        'my photos'
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        raise SettingsError(f"{url} names a file of the machine {parts.netloc!r}: write file:/// before a whole path")
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def require_local(place: Path | str) -> None:
    """Raise an error where a place is a URL, though only a file or folder of this machine can be used.

    Raises:
        SettingsError: It is one, or a `Path` that was made of one.
    """
    if is_url(url := restored_url(place)):
        raise SettingsError(
            f"{redacted(url)} is a URL, where a file or folder of this machine is needed: give a local path, and copy "
            "the file from or to the URL"
        )


def restored_url(place: Path | str) -> str:
    """Return the text of a place, with the two slashes of a URL that was made a `Path`, which keeps only one.

    Raises:
        SettingsError: It is neither a text nor a path.

    Example:
        >>> restored_url(Path("s3://bucket/photos")), restored_url(Path("run:1/photos"))
        ('s3://bucket/photos', 'run:1/photos')
        >>> restored_url(Path("file:///data/photos"))
        'file:///data/photos'
    """
    if not isinstance(place, str | os.PathLike):
        raise SettingsError(f"a file or folder is given by its path or URL, not as {type(place).__name__}")
    text = os.fspath(place)
    found = re.match(r"([a-z][a-z0-9+.-]*):/(?!/)", text, re.IGNORECASE)
    if isinstance(place, Path) and found and len(found[1]) > 1:
        from fsspec import available_protocols

        if found[1].lower() in available_protocols():
            root = "/" if found[1].lower() in _OF_PATHS else ""
            return f"{found[1]}://{root}{text[found.end() :]}"
    return text


def redacted(text: str) -> str:
    """Return a text in which no URL has a user, a password, or the values of a query.

    Example:
        >>> redacted("https://me:secret@host/a.csv?token=abc cannot be read")
        'https://***@host/a.csv?*** cannot be read'
    """
    return _IN_TEXT.sub(lambda found: _redacted_url(found[0]), text)


def is_redacted(url: str) -> bool:
    """Return whether parts of a URL were left out by `redacted`, so that it cannot be opened."""
    return _HIDDEN in url


def _redacted_url(url: str) -> str:
    scheme, _, rest = url.partition("://")
    rest, question, _ = rest.partition("?")
    place, slash, path = rest.partition("/")
    _, at, host = place.rpartition("@")
    return f"{scheme}://{_HIDDEN + at if at else ''}{host}{slash}{path}{question + _HIDDEN if question else ''}"


def open_url(url: str, *, error: type[GwauditError]) -> tuple[Any, str]:
    """Return the fsspec file system of a URL, which keeps no listings, and the path in it.

    Args:
        url: The URL.
        error: The class of errors.

    Raises:
        MissingExtraError: The library of this kind of URL is not installed.
        GwauditError: The URL cannot be used, of the class `error`.
    """
    import fsspec

    scheme = url.partition("://")[0].lower()
    try:
        # A listing that was kept would hide what other writers have added since.
        file_system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as reason:
        if scheme in _EXTRAS:
            raise MissingExtraError(f"a URL {scheme}://", _EXTRAS[scheme]) from reason
        raise error(f"{redacted(url)} cannot be opened: {str(reason).splitlines()[0]}") from reason
    except ValueError as reason:
        raise error(f"{redacted(url)} cannot be opened: {redacted(str(reason)).splitlines()[0]}") from reason
    return file_system, path


@contextmanager
def reaching(url: str, what: str, error: type[GwauditError]) -> Iterator[None]:
    """Raise every exception of a service inside the block as an error of a class, without credentials.

    Args:
        url: The URL that the block uses.
        what: What failed, such as "cannot be read".
        error: The class of errors.

    Raises:
        FileNotFoundError, FileExistsError: As the block raises them.
        GwauditError: The block failed in another way.
    """
    try:
        yield
    except (GwauditError, FileExistsError):
        raise
    except Exception as raised:  # of botocore, aiohttp, google, azure, ...
        reason = _cause(raised)
        if isinstance(reason, FileNotFoundError):
            raise
        raise error(f"{redacted(url)} {what}: {_reason(reason)}. {_advice(reason)}") from None


def _cause(error: Exception) -> Exception:
    """Return the cause of an error of fsspec's http, which takes every failure for a file that is not there."""
    cause = error.__cause__
    if isinstance(error, FileNotFoundError) and isinstance(cause, Exception) and _library(cause) == "aiohttp":
        return error if getattr(cause, "status", None) in _NOT_FOUND else cause
    return error


def _library(error: Exception) -> str:
    return type(error).__module__.partition(".")[0]


def _reason(error: Exception) -> str:
    text = redacted(str(error).strip() or type(error).__name__).splitlines()[0]
    return text if isinstance(error, OSError) and error.args else f"{text} ({type(error).__name__})"


def _advice(error: Exception) -> str:
    name = type(error).__name__
    if "Credential" in name or "Token" in name or "Auth" in name:
        return "Give credentials by the service's own means, such as its environment variables or profiles"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "Free disk space, or name a folder on another disk by the environment variable GWAUDIT_CACHE"
    if isinstance(error, PermissionError):
        return "Check the credentials and what they permit"
    return "Check the URL and the network, and try again"


def retrying(call: Callable[[], Value]) -> Value:
    """Return the value of a call, which is repeated a few times where it fails for a reason that may pass.

    The libraries of some services retry by themselves; that of http does not, and none does where a connection ends in
    the middle of a file.
    """
    for attempt in range(_ATTEMPTS):
        try:
            return call()
        except Exception as error:
            if attempt == _ATTEMPTS - 1 or not _may_pass(error):
                raise
            sleep(_FIRST_PAUSE * 3**attempt)
    raise AssertionError  # the last attempt returns or raises


def _may_pass(error: Exception) -> bool:
    """Return whether an error may be gone at the next attempt: one of the network, not an answer of the service."""
    error = _cause(error)
    if isinstance(
        error, FileNotFoundError | FileExistsError | PermissionError | IsADirectoryError | NotADirectoryError
    ):
        return False
    if isinstance(error, OSError):
        return error.errno not in (errno.EINVAL, errno.ENOSPC, errno.ENOSYS, errno.EACCES, errno.ENAMETOOLONG)
    if (status := getattr(error, "status", None)) is not None:
        return status in _BUSY or status >= 500
    return _library(error) in ("aiohttp", "botocore", "aiobotocore", "urllib3", "requests")
