"""Write what a user wants at a URL: on this machine first, then to the object store, when all of it is there.

A file is one object, which appears as a whole. The objects of a folder arrive one by one. Meanwhile the folder holds
the object `INCOMPLETE` too, which was created on the condition that there was none, and is deleted last.
"""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import SettingsError, StoreError, StoreExistsError
from gwaudit.core.files import writing
from gwaudit.core.object_store import WRITABLE, ObjectFolder, require_plain
from gwaudit.core.outputs import MANIFEST, require_file, require_new, require_not_of_run
from gwaudit.core.partial_files import partial_beside
from gwaudit.core.urls import is_url, path_of_file_url, redacted, restored_url

INCOMPLETE = ".incomplete"
"""Name of the object that a folder holds while the others arrive, and after its writer was killed."""


@contextmanager
def written_output(output: Path | str, *, is_file: bool, with_earlier: bool = False) -> Iterator[Path]:
    """Check an output, yield the path to write it to, and write it to its URL at the end of the block, if it has one.

    Args:
        output: A path, or a URL of an object store, also as a `Path` was made of it.
        is_file: Whether it is a file, new or in place of an earlier one, rather than a new folder.
        with_earlier: Whether an earlier file lies at the path first, for the block to look at, also where it is fetched
            from its URL.

    Yields:
        The path of the file or of the new folder, for the block to write. Of a URL it is a temporary one in the cache,
        with the same name.

    Raises:
        SettingsError: Nothing can be written at this kind of URL.
        StoreExistsError: The folder exists.
        StoreError: The output cannot be written.
    """
    if (local := local_output(output)) is not None:
        if not is_file:
            require_new(local)
        yield require_file(local) if is_file else local
        return
    url = restored_url(output)
    above, name = _place_of(url)
    _require_free(above, name, is_file=is_file)
    waiting = cache_folder("outputs") / hashlib.sha256(url.encode()).hexdigest()[:12]
    with ExitStack() as stack:
        with writing(waiting):  # not the block, whose errors have their own words
            waiting.parent.mkdir(parents=True, exist_ok=True)
            temporary = stack.enter_context(partial_beside(waiting, folder=True))
        if with_earlier:
            with suppress(FileNotFoundError):
                above.download({name: temporary / name})
        yield temporary / name
        if is_file:
            above.upload(temporary / name, name)
        else:
            _upload_folder(temporary / name, ObjectFolder(f"{above}/{name}"))


@contextmanager
def written_file(output: Path | str | None, *, with_earlier: bool = False) -> Iterator[Path | None]:
    """Check a file that a command may write, and yield the path to write it to, as `written_output` does.

    Args:
        output: A path, or a URL of an object store; None where nothing is to be written.
        with_earlier: As for `written_output`.

    Yields:
        The path, or None.

    Raises:
        SettingsError, StoreError: As `written_output`.
    """
    if output is None:
        yield None
        return
    with written_output(output, is_file=True, with_earlier=with_earlier) as path:
        yield path


def shown_output(output: Path | str) -> Path | str:
    """Return an output as a user named it: a path, or the text of a URL.

    Example:
        >>> shown_output(Path("s3://bucket/review")), shown_output("s3://bucket/review")
        ('s3://bucket/review', 's3://bucket/review')
    """
    url = restored_url(output)
    return url.rstrip("/") if is_url(url) else Path(output)


def shown_inside(output: Path | str, path: Path) -> Path | str:
    """Return a file or folder inside an output, as a user would name it: its path, or the text of its URL.

    Args:
        output: The output, a folder.
        path: Where the file or folder was written before it was uploaded, directly inside that folder.
    """
    return f"{shown_output(output)}/{path.name}" if is_at_url(output) else path


def is_at_url(output: Path | str) -> bool:
    """Return whether an output is to be written to an object store."""
    return local_output(output) is None


def local_output(output: Path | str) -> Path | None:
    """Return the path of an output on this machine; None where it is to be written to an object store."""
    url = restored_url(output)
    return path_of_file_url(url) if is_url(url) else Path(output)


def _place_of(url: str) -> tuple[ObjectFolder, str]:
    """Return the folder above the output at a URL, and its name.

    Raises:
        SettingsError: Nothing can be written there.
    """
    scheme, _, rest = url.partition("://")
    parts = [part for part in rest.split("/") if part]
    if scheme.lower() not in WRITABLE:
        raise SettingsError(
            f"nothing can be written to {redacted(url)}: URLs of outputs begin with "
            f"{', '.join(f'{s}://' for s in WRITABLE)}. Give a local path, and copy it there"
        )
    require_plain(url, "an output")
    if len(parts) < 2 or {".", ".."} & set(parts):
        raise SettingsError(f"{redacted(url)} names nothing in a bucket: add a name, such as {scheme}://BUCKET/NAME")
    return ObjectFolder(f"{scheme.lower()}://{'/'.join(parts[:-1])}"), parts[-1]


def _require_free(above: ObjectFolder, name: str, *, is_file: bool) -> None:
    """Raise an error where an output cannot be made.

    Raises:
        StoreExistsError: A folder is not new.
        StoreError: A folder is where a file is to be written, or the file is a run's own, or the store cannot be
            reached.
    """
    found = above.find(name)
    below = [path for path in found if path.startswith(f"{name}/")]
    if is_file and below:
        raise StoreError(f"{above}/{name} is a folder, where a file is to be written: add the name of the file")
    if f"{name}/{INCOMPLETE}" in below:
        raise StoreExistsError(
            f"{above}/{name} is being written by another process, or was left by one that was killed: choose another "
            "URL, or delete it if no process writes it"
        )
    if not is_file and (below or name in found):
        raise StoreExistsError(f"{above}/{name} exists: choose another URL, or delete it")
    if is_file and (run := _run_around(above)) is not None:
        inside = f"{above}/{name}".removeprefix(f"{run}/")
        require_not_of_run(f"{above}/{name}", str(run), inside, is_there=name in found)


def _run_around(folder: ObjectFolder) -> ObjectFolder | None:
    """Return the folder of the run in which a folder lies, or which it is; None where no run can be seen."""
    scheme, _, rest = folder.url.partition("://")
    parts = rest.split("/")
    for n in range(len(parts), 0, -1):
        above = ObjectFolder(f"{scheme}://{'/'.join(parts[:n])}")
        with suppress(StoreError):  # credentials may cover a part of the bucket alone
            if above.exists(MANIFEST):
                return above
    return None


def _upload_folder(folder: Path, target: ObjectFolder) -> None:
    """Write the files of a folder, links followed; after an error all of them are deleted, as far as that is possible.

    Raises:
        StoreExistsError: Another process writes to the target too.
        StoreError: They cannot be written.
    """
    try:
        target.create(INCOMPLETE, folder.parent.name.encode())
    except FileExistsError:
        raise StoreExistsError(f"{target} is being written by another process: choose another URL") from None
    names = {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}
    begun: list[str] = []
    try:
        for name, file in names.items():
            begun.append(name)
            target.upload(file, name)
    except BaseException:
        with suppress(StoreError):
            target.delete([*begun, INCOMPLETE])
        raise
    target.delete([INCOMPLETE])
