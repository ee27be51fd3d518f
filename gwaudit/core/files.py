"""Write files and folders that exist whole or not at all, also after a crash of the machine."""

import errno
import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gwaudit.core.errors import StoreError, StoreExistsError
from gwaudit.core.origins import create_at_origin, origin_of, publish, withdraw
from gwaudit.core.partial_files import TEMPORARY, partial_beside

_MANY_FILES = 256
_ADVICE = {
    errno.ENOSPC: "Free disk space or choose a folder on another disk; files written before are intact",
    errno.EDQUOT: "Free disk space or choose a folder on another disk; files written before are intact",
    errno.EFBIG: "Free disk space or choose a folder on another disk; files written before are intact",
    errno.EACCES: "Choose a folder that you may write to",
    errno.EPERM: "Choose a folder that you may write to",
    errno.EROFS: "Choose a folder that you may write to",
    errno.ENAMETOOLONG: "Choose a shorter name",
    errno.EISDIR: "It is a folder: add the name of a file",
    errno.ELOOP: "It is a link that leads to itself: delete it, or choose another path",
}
_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP}
_OTHER_ADVICE = "Choose another folder; files written before are intact"
_NO_LINKS = {errno.EPERM, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
"""Of exFAT, SMB, some network file systems; EINVAL of Windows without the right to make links."""

_NO_SYNC_OF_FOLDERS = {errno.EACCES, errno.EPERM, errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS}


def is_absent(error: OSError) -> bool:
    """Return whether an error of reading means that no file can be at the path, rather than that one is broken."""
    return error.errno in _ABSENT


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn an OSError inside the block into a StoreError that names the path and the reason.

    A FileExistsError passes unchanged: the caller asked for it, by exclusive creation.

    Args:
        path: the file or folder that the block writes.

    Raises:
        StoreError: the block could not write.
    """
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        here = " in its copy on this machine, in the cache," if origin_of(path) is not None else ""
        raise StoreError(f"cannot write {path}{here or ':'} {reason}. {_advice(path, error)}") from error


@contextmanager
def writing_temporary_files() -> Iterator[None]:
    """Turn an OSError inside the block, which writes temporary files without a name, into a StoreError.

    Raises:
        StoreError: the block could not write; the message says how to choose another folder.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error).splitlines()[0]
        raise StoreError(
            f"cannot write temporary files to {tempfile.gettempdir()}: {reason}. Name a folder with more space by the "
            "environment variable TMPDIR"
        ) from error


def _advice(path: Path, error: OSError) -> str:
    """Return what to do after an error of the file system."""
    if error.errno not in (errno.ENOTDIR, errno.ENOENT):
        return _ADVICE.get(error.errno or 0, _OTHER_ADVICE)
    for above in reversed(path.absolute().parents):
        if above.is_symlink() and not above.exists():
            return f"{above} is a link to a place that does not exist: make that folder, or choose another path"
        if above.exists() and not above.is_dir():
            return f"{above} is a file, not a folder: choose another path"
    return _OTHER_ADVICE


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file by way of a temporary file beside it, which then replaces `path` in one step.

    Args:
        path: the file; its folder is created if it is missing.
        write: receives the path of the temporary file and fills it.

    Raises:
        StoreError: the file cannot be written; `path` is then unchanged.
    """
    with writing(path):
        _make_folder(path.parent)
        with partial_beside(path) as temporary:
            write(temporary)
            sync(temporary)
            publish(temporary, path)
            temporary.replace(path)
        sync(path.parent)


def write_text(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    """Write a text file atomically, with the line ends of the text, and return its path.

    Args:
        path: the file; its folder is created if it is missing.
        text: the content.
        encoding: the encoding of the file.

    Raises:
        StoreError: the file cannot be written.
    """
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding=encoding, newline=""))
    return path


def write_folder(folder: Path, write: Callable[[Path], object]) -> Path:
    """Write a folder by way of a temporary folder beside it, which is renamed when it is complete.

    Args:
        folder: the folder; its parent is created if it is missing.
        write: receives the path of the temporary folder and fills it.

    Returns:
        `folder`.

    Raises:
        StoreExistsError: the folder exists.
        StoreError: it cannot be written.
    """
    with writing(folder):
        if folder.exists():
            raise StoreExistsError(f"{folder} exists: choose another folder, or delete it")
        _make_folder(folder.parent)
        with partial_beside(folder, folder=True) as temporary:
            write(temporary)
            sync_tree(temporary)
            temporary.rename(folder)
        sync(folder.parent)
    return folder


def create_exclusively(path: Path, data: bytes) -> None:
    """Create a file with this content, complete from the moment it has its name.

    Where the file system has no hard links, the caller must be the only one that creates this file.

    Args:
        path: the file, in an existing folder.
        data: the content.

    Raises:
        FileExistsError: the file exists already, here or at the origin of a working copy; it is unchanged.
        OSError: it cannot be written; `path` then does not exist.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        create_at_origin(path, data)
        _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def _link(temporary: Path, path: Path) -> None:
    """Give a finished file a name that is not taken: by a hard link, which does both in one step, or by renaming."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path)) from None
        temporary.replace(path)


def made_link(link: Path, target: Path, *, is_folder: bool = False) -> bool:
    """Make a symbolic link; return False where the file system has none, or the user has no right to make them.

    Args:
        link: the link, a name that is not taken.
        target: what it names.
        is_folder: whether that is a folder, which Windows asks for.

    Raises:
        OSError: it cannot be made for another reason, such as a full disk.
    """
    try:
        link.symlink_to(target, target_is_directory=is_folder)
    except NotImplementedError:  # this Python has no os.symlink
        return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def delete(path: Path) -> None:
    """Delete a file, and its origin where it lies in a working copy.

    Raises:
        OSError, StoreError: it cannot be deleted.
    """
    withdraw(path)
    path.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, and bring their names to the disk."""
    made = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # which `writing` would pass on
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from None
    for parent in made:
        sync(parent.parent)


def sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk.

    A folder is left as it is where the system cannot flush one, as on Windows and on some network file systems.
    """
    is_folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if not (is_folder and error.errno in _NO_SYNC_OF_FOLDERS):
            raise


def sync_tree(folder: Path) -> None:
    """Flush everything in a folder to the disk: the files, then the names in each folder; links are not followed."""
    paths = [
        path
        for parent, _, names in os.walk(folder, topdown=False)
        for path in (*(Path(parent, name) for name in names), Path(parent))
        if not path.is_symlink()
    ]
    if len(paths) > _MANY_FILES and hasattr(os, "sync"):  # a flush of each of 50,000 images takes minutes
        os.sync()
        return
    for path in paths:
        sync(path)


def sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_below(root: Path, path: str) -> Path | None:
    """Return the normalised path `root / path`, or None where it leads out of `root`."""
    base = os.path.normpath(root.absolute())
    whole = os.path.normpath(os.path.join(base, path))  # noqa: PTH118  # Path keeps ".." in a path
    try:
        return Path(whole) if os.path.commonpath([base, whole]) == base else None
    except ValueError:  # on another drive
        return None


def file_below(root: Path, path: str) -> Path | None:
    """Return the file at `root / path`, or None where there is none or the path leads out of `root`."""
    with suppress(ValueError, OSError):  # a text that cannot be a path: too long, or with a NUL
        if (file := path_below(root, path)) is not None and file.is_file():
            return file
    return None
