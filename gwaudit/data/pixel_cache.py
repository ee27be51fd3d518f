"""Keep decoded photos on disk, as large as the network sees them: the next epoch, audit or report reads them there.

A cache is a folder of three files: `pixels`, [n, 3, H, W] uint8; `index.npz`, an entry for each image with its
checksum; and `about.json`, which holds the notes of the reading and the checksum of the index. It exists whole or not
at all. Its name is a checksum of everything that the pixels depend on: the settings of the reading, the versions of the
decoders, and the identity of each image (path, length and times of change of its file, or its content). Where a few
images were added or changed, the others are taken from the cache of before.
"""

import hashlib
import math
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import features

from gwaudit.core.caches import cache_folder
from gwaudit.core.errors import GwauditError
from gwaudit.core.files import sha256, sync_tree
from gwaudit.core.json import read_json, sealed, unsealed, write_json
from gwaudit.core.locks import acquire_lock
from gwaudit.core.partial_files import partial_beside
from gwaudit.core.settings import DataSettings, Resizing
from gwaudit.data.arrow_columns import taken
from gwaudit.data.encoded_images import EncodedImages
from gwaudit.data.fitting import ImageFit
from gwaudit.data.image_checks import ImageDigest, pixel_checksum
from gwaudit.data.image_conversion import ImageConversion
from gwaudit.data.image_decoding import EncodedImage, FilePart
from gwaudit.data.reading_notes import ReadingNotes

_VERSION = 2  # of the files, and of the way in which images are decoded
_PIXELS, _INDEX, _ABOUT = "pixels", "index.npz", "about.json"
_GIB = 2**30
_LEFT_FREE = _GIB  # bytes of the disk
_LONGEST_WAIT = 24 * 3600.0  # seconds, for a process that decodes the same images


@dataclass(frozen=True, eq=False)
class DecodedOnce:
    """Hold what was found when all images of a source were decoded once.

    Attributes:
        images: The images that can be decoded, in order, as the source has them; with size, fit and conversion.
        kept: Index in the source of each of them, [n].
        digests: Their digests, [n].
        broken: Reason for each of the others, by its index.
        notes: Notes on sizes and conversion.
    """

    images: EncodedImages
    kept: list[int]
    digests: list[ImageDigest]
    broken: dict[int, str] = field(default_factory=dict)
    notes: ReadingNotes = field(default_factory=ReadingNotes)

    @property
    def checksums(self) -> bytes:
        """Return the checksums of the pixels, 16 bytes for each image."""
        return b"".join(digest.checksum for digest in self.digests)


class PixelCache:
    """Read and write the cache of one source, in the folder of all of them.

    Args:
        items: The images of the source.
        settings: `image_size`, `fit` and `resizing`, which the pixels depend on; `cache` and `cache_limit`.
    """

    def __init__(self, items: Sequence[EncodedImage], settings: DataSettings) -> None:
        self.items, self.root = items, cache_folder("images", settings.cache)
        self._limit = int(settings.cache_limit * _GIB)
        self.identities = [_identity(item) for item in items] if self._limit else []
        decoders = (PIL.__version__, *(features.version(name) for name in ("jpg", "libjpeg_turbo", "webp")))
        reading = (_VERSION, decoders, settings.image_size, settings.fit, asdict(settings.resizing))
        self._settings_key = _digest(repr(reading).encode()).hex()[:12]
        self.folder = self.root / f"{self._settings_key}-{_digest(*self.identities).hex()}"

    @property
    def file(self) -> Path:
        """Return the path of the pixels."""
        return self.folder / _PIXELS

    @property
    def n_bytes(self) -> int:
        """Return the size of the pixels on disk in bytes; 0 where there are none."""
        with suppress(OSError):
            return self.file.stat().st_size
        return 0

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Let one process at a time decode the images; the others wait, and then find them decoded.

        Where the folder cannot be written to, nothing is locked.
        """
        lock = None
        if self._limit:
            with suppress(GwauditError, OSError):
                self.root.mkdir(parents=True, exist_ok=True)
                lock = acquire_lock(self.folder.with_suffix(".lock"), f"{self.folder} is in use", wait=_LONGEST_WAIT)
        try:
            yield
        finally:
            if lock is not None:
                lock.release()

    def open(self) -> DecodedOnce | None:
        """Return what the cache holds; None where there is none, or it is damaged."""
        if not self._limit:
            return None
        with suppress(*_UNUSABLE):
            about, index = _read(self.folder)
            kept = index["kept"].tolist()
            images = _images(about, taken(self.items, kept))
            if self.file.stat().st_size != len(kept) * math.prod(images.shape):
                return None
            os.utime(self.folder / _ABOUT)  # it is in use: others are deleted first
            return DecodedOnce(
                images,
                kept,
                _digests(index),
                {int(i): reason for i, reason in about["broken"].items()},
                ReadingNotes.from_dict(about["notes"]),
            )
        return None

    def earlier(self, images: EncodedImages) -> "EarlierPixels | None":
        """Return the pixels of the same images in the cache of an earlier state of a source, the last one in use.

        Args:
            images: Size, fit and conversion, which must be the same.
        """
        found = (path for path in self.root.glob(f"{self._settings_key}-*/{_ABOUT}") if path.parent != self.folder)
        for path in sorted(found, key=_last_use, reverse=True):
            with suppress(*_UNUSABLE):
                about, index = _read(path.parent)
                rows = {row.tobytes(): number for number, row in enumerate(index["identities"])}
                before = _images(about, [])
                same = (before.size, before.fit, before.conversion) == (images.size, images.fit, images.conversion)
                if same and not rows.keys().isdisjoint(self.identities):
                    positions = [rows.get(identity, -1) for identity in self.identities]
                    return EarlierPixels(path.parent / _PIXELS, images.shape, positions, _digests(index))
        return None

    def has_room(self, n_bytes: int) -> bool:
        """Return whether the cache may grow by this many bytes; the caches that were not used for longest give way."""
        if not 0 < n_bytes <= self._limit:
            return False
        with suppress(OSError):
            self.root.mkdir(parents=True, exist_ok=True)
            others = [path.parent for path in self.root.glob(f"*/{_ABOUT}") if path.parent != self.folder]
            sizes = {folder: (folder / _PIXELS).stat().st_size for folder in others}
            for folder in sorted(others, key=lambda folder: _last_use(folder / _ABOUT)):
                if sum(sizes.values()) + n_bytes <= self._limit:
                    break
                _delete(folder)
                del sizes[folder]
            return shutil.disk_usage(self.root).free >= n_bytes + _LEFT_FREE
        return False


class PixelWriter:
    """Write a cache. A context manager; a file system that cannot be written to, or is full, ends only the writing.

    Args:
        cache: The cache to write.
    """

    def __init__(self, cache: PixelCache) -> None:
        self._cache, self._stack = cache, ExitStack()
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        with suppress(OSError):
            _delete(self._cache.folder)  # it is damaged
            self._folder = self._stack.enter_context(partial_beside(self._cache.folder, folder=True))
            self._file = self._stack.enter_context((self._folder / _PIXELS).open("wb"))
        return self

    def __exit__(self, *_error: object) -> None:
        with suppress(OSError):
            self._stack.close()

    def write(self, pixels: NDArray[np.uint8]) -> None:
        """Write the pixels of the next image, [3, H, W]."""
        if self._file is not None:
            try:
                self._file.write(np.ascontiguousarray(pixels).data)
            except OSError:
                self._file = None

    def finish(self, result: DecodedOnce) -> bool:
        """Save the cache, and return whether that succeeded.

        Args:
            result: What was found, of the images that were written.
        """
        if self._file is None:
            return False
        with suppress(OSError, GwauditError):
            self._file.close()
            np.savez(
                self._folder / _INDEX,
                kept=np.array(result.kept, np.int64),
                identities=_rows([self._cache.identities[i] for i in result.kept]),
                checksums=_rows([digest.checksum for digest in result.digests]),
                is_constant=np.array([digest.is_constant for digest in result.digests], bool),
                brightest=np.array([digest.brightest for digest in result.digests], np.float32),
            )
            about = {
                "size": list(result.images.size),
                "fit": None if result.images.fit is None else asdict(result.images.fit),
                "conversion": asdict(result.images.conversion),
                "broken": {str(i): reason for i, reason in result.broken.items()},
                "notes": result.notes.to_dict(),
                "index": sha256(self._folder / _INDEX),
            }
            write_json(self._folder / _ABOUT, sealed(about))
            sync_tree(self._folder)
            self._folder.rename(self._cache.folder)
            return True
        return False


@dataclass(frozen=True, eq=False)
class EarlierPixels:
    """Hold the pixels of images in the cache of an earlier state of their source.

    Attributes:
        file: The pixels.
        shape: Shape (3, H, W) of an image.
        positions: Position in the file of each image of the source as it is now; -1 where the file does not have it.
        digests: The digests, by position.
    """

    file: Path
    shape: tuple[int, int, int]
    positions: list[int]
    digests: list[ImageDigest]

    def read(self, index: int) -> tuple[NDArray[np.uint8], ImageDigest] | None:
        """Return the pixels and the digest of an image, None where the file does not have it undamaged."""
        if (position := self.positions[index]) < 0:
            return None
        with suppress(OSError, ValueError), self.file.open("rb") as file:
            n_bytes = math.prod(self.shape)
            file.seek(position * n_bytes)
            pixels = np.frombuffer(file.read(n_bytes), np.uint8).reshape(self.shape)
            if pixel_checksum(pixels) == self.digests[position].checksum:
                return pixels, self.digests[position]
        return None


_UNUSABLE = (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile)


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the description and the index of a cache; raise one of `_UNUSABLE` where they are damaged."""
    about = unsealed(read_json(folder / _ABOUT))
    if sha256(folder / _INDEX) != about["index"]:
        raise ValueError("the index was altered")
    with np.load(folder / _INDEX, allow_pickle=False) as index:
        return about, dict(index)


def _images(about: dict[str, Any], items: Sequence[EncodedImage]) -> EncodedImages:
    fit, conversion = about["fit"], about["conversion"]
    width, height = about["size"]
    return EncodedImages(
        items,
        (int(width), int(height)),
        None if fit is None else ImageFit(fit["side"], fit["fit"], Resizing(**fit["resizing"])),
        ImageConversion(tuple(conversion["integers"]), tuple(conversion["floats"]), conversion["background"]),
    )


def _digests(index: dict[str, NDArray[Any]]) -> list[ImageDigest]:
    entries = zip(index["checksums"], index["is_constant"].tolist(), index["brightest"].tolist(), strict=True)
    return [ImageDigest(checksum.tobytes(), is_constant, brightest) for checksum, is_constant, brightest in entries]


def _rows(digests: Sequence[bytes]) -> NDArray[np.uint8]:
    return np.frombuffer(b"".join(digests), np.uint8).reshape(len(digests), -1)


def _identity(item: EncodedImage) -> bytes:
    """Return a checksum of the content of an image, or of the path and the state of its file."""
    if isinstance(item, bytes):
        return _digest(item)
    path, part = (item.path, (item.offset, item.size)) if isinstance(item, FilePart) else (item, ())
    state: tuple[object, ...]
    try:
        status = path.stat()
        # Unlike the time of the content's last change, that of the entry's cannot be set back.
        state = (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
    except (OSError, ValueError) as error:
        state = (type(error).__name__,)
    return _digest(repr((str(path), part, *state)).encode("utf-8", "surrogatepass"))


def _digest(*parts: bytes) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _last_use(about: Path) -> float:
    with suppress(OSError):
        return about.stat().st_mtime
    return 0.0


def _delete(folder: Path) -> None:
    with suppress(OSError):
        (folder / _ABOUT).unlink()  # first: what is left without it is not read
    shutil.rmtree(folder, ignore_errors=True)
