"""Read and write objects below a URL of an object store, through fsspec.

An object appears as a whole, when all of it has arrived; an upload that is cut off leaves nothing under its name. What
must not be overwritten is created on a condition (on S3 `If-None-Match: *`), which the store itself checks.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from gwaudit.core.downloads import download
from gwaudit.core.errors import SettingsError, StoreError
from gwaudit.core.urls import open_url, reaching, redacted, retrying

WRITABLE = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory")
"""The kinds of URLs at which a run can lie: object stores that create an object on the condition that it is new."""

_VERSION = (
    "ETag", "etag", "md5", "md5Hash", "Content-MD5", "Digest", "blob_id", "generation",
    "LastModified", "last_modified", "Last-Modified", "mtime", "updated", "created",
)  # fmt: skip
"""The fields by which file systems of fsspec say that a file has changed."""

Value = TypeVar("Value")


def require_plain(url: str, what: str) -> None:
    """Raise an error if the URL of what is to be written holds credentials, or is one of several parts.

    Args:
        url: The URL, of a kind in `WRITABLE`.
        what: What lies there, such as "a run".

    Raises:
        SettingsError: It does.
    """
    scheme, _, rest = url.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    is_container = scheme.lower() in ("az", "abfs", "abfss") and ":" not in user  # abfs://container@account/...
    if "?" in rest or (at and not is_container) or "::" in url or "#" in rest:
        raise SettingsError(
            f"the URL of {what}, {redacted(url)}, has a user, a query or several parts: leave them out, and give "
            "credentials by the service's own means, such as its environment variables"
        )


def version_of(info: Mapping[str, Any]) -> list[str] | None:
    """Return the size and the version of a file; None where its file system says nothing about the latter.

    Args:
        info: What fsspec says about the file.
    """
    fields = {name: str(info[name]) for name in _VERSION if info.get(name)}
    return [str(info.get("size")), *(f"{name}={value}" for name, value in fields.items())] if fields else None


@dataclass(frozen=True)
class ObjectFolder:
    """Read and write the objects below a URL; names are relative to it, with slashes.

    Every method raises StoreError where the store cannot be reached or refuses, after some attempts.

    Attributes:
        url: The URL, without a slash at its end.
    """

    url: str

    def find(self, below: str = "") -> dict[str, Mapping[str, Any]]:
        """Return what fsspec says about each object, by name.

        Args:
            below: The name of an object or folder, to which the search is confined; by default all are found.
        """
        file_system, root = open_url(self.url, error=StoreError)
        start = f"{root}/{below}".rstrip("/")
        with suppress(FileNotFoundError):
            found = self._call(below, "cannot be read", lambda: file_system.find(start, detail=True))
            names = {path[len(root) :].strip("/"): info for path, info in found.items() if path.startswith(f"{root}/")}
            return {name: info for name, info in names.items() if name and info["type"] == "file"}
        return {}

    def exists(self, name: str) -> bool:
        """Return whether there is an object of this name, which must be a small one: it is read."""
        try:  # fsspec's `exists` takes every failure for an absence
            self.read(name)
        except FileNotFoundError:
            return False
        return True

    def read(self, name: str) -> bytes:
        """Return the content of an object.

        Raises:
            FileNotFoundError: There is none.
        """
        file_system, root = open_url(self.url, error=StoreError)
        content: bytes = self._call(name, "cannot be read", lambda: file_system.cat_file(f"{root}/{name}"))
        return content

    def write(self, name: str, content: bytes) -> None:
        """Write an object, new or in place of an earlier one."""
        file_system, root = open_url(self.url, error=StoreError)
        self._write(name, lambda: file_system.pipe_file(f"{root}/{name}", content))

    def create(self, name: str, content: bytes) -> None:
        """Write an object that must be new.

        Args:
            name: Its name.
            content: Its content, which no other writer has: where an answer was lost, an object with this content is
                the one that was asked for.

        Raises:
            FileExistsError: There is another one; it is unchanged.
        """
        file_system, root = open_url(self.url, error=StoreError)
        path = f"{root}/{name}"
        try:
            self._write(name, lambda: file_system.pipe_file(path, content, mode="create"))
        except FileExistsError:
            if self.read(name) != content:
                raise

    def upload(self, path: Path, name: str) -> None:
        """Write a file as an object, new or in place of an earlier one, and compare their sizes."""
        file_system, root = open_url(self.url, error=StoreError)

        def put() -> None:
            file_system.put_file(str(path), f"{root}/{name}")
            size = file_system.info(f"{root}/{name}")["size"]
            if size != path.stat().st_size:
                raise ConnectionError(f"{path.stat().st_size} bytes were sent, and {size} arrived")

        self._write(name, put)

    def download(self, files: Mapping[str, Path], sizes: Mapping[str, int | None] | None = None) -> None:
        """Copy objects to files, which have their names when they are complete.

        Args:
            files: The path of each file, by the name of its object.
            sizes: The size of each object in bytes, by its name; by default the store is asked.

        Raises:
            FileNotFoundError: There is no such object.
        """
        file_system, root = open_url(self.url, error=StoreError)

        def size_of(name: str) -> int | None:
            size: int | None = retrying(lambda: file_system.info(f"{root}/{name}"))["size"]
            return size

        with reaching(self.url, "cannot be read", StoreError):
            known = {f"{root}/{name}": size_of(name) if sizes is None else sizes[name] for name in files}
            download(file_system, {f"{root}/{name}": path for name, path in files.items()}, known)

    def delete(self, names: Sequence[str]) -> None:
        """Delete objects, as far as they are there."""
        file_system, root = open_url(self.url, error=StoreError)
        if names:
            with suppress(FileNotFoundError):
                self._call("", "cannot be written", lambda: file_system.rm([f"{root}/{name}" for name in names]))

    def _call(self, name: str, what: str, call: Callable[[], Value]) -> Value:
        with reaching(f"{self.url}/{name}".rstrip("/"), what, StoreError):
            return retrying(call)

    def _write(self, name: str, call: Callable[[], object]) -> None:
        try:
            self._call(name, "cannot be written", call)
        except FileNotFoundError as error:
            bucket = "/".join(str(self).split("/")[:3])
            raise StoreError(f"{self}/{name} cannot be written: {error}. Check that {bucket} exists") from None

    def __str__(self) -> str:
        return redacted(self.url)
