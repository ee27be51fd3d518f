"""Run one function on all images of a source, in threads or in worker processes."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Generic, TypeVar

from gwaudit.data.encoded_images import recorded_warnings
from gwaudit.data.image_decoding import UnreadableImageError
from gwaudit.data.workers import WorkerPool

_OF_THREADS, _OF_WORKERS = 4096, 32  # images at a time: the results of all would need twice the memory

T = TypeVar("T")


@dataclass
class ImagePasses:
    """Run functions on all images of a source, one after the other.

    Attributes:
        workers: Number of worker processes for long passes; with 0 threads do all work.
        broken: Reason for each image that cannot be read, by its index; passes leave these images out.
        warnings: Warnings of the decoders in worker processes.
    """

    workers: int
    broken: dict[int, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def map(
        self,
        work: Callable[[int], T],
        indices: Iterable[int],
        *,
        in_workers: bool = False,
        on_image: Callable[[], None] | None = None,
    ) -> Iterator[tuple[int, T]]:
        """Yield index and result of `work`, in order.

        Args:
            work: Returns the result for an index, or raises UnreadableImageError.
            indices: The indices of the images.
            in_workers: Whether to do it in worker processes, which is worth it for seconds of work.
            on_image: Receives a call for each image that is done, readable or not.
        """
        attempts = self._in_workers(work, indices) if in_workers and self.workers else _in_threads(work, indices)
        for index, result in attempts:
            if on_image is not None:
                on_image()
            if isinstance(result, UnreadableImageError):
                self.broken[index] = str(result)
            else:
                yield index, result

    def _in_workers(
        self, work: Callable[[int], T], indices: Iterable[int]
    ) -> Iterator[tuple[int, T | UnreadableImageError]]:
        with closing(WorkerPool(_Attempts(work), self.workers)) as pool:
            for results, warnings in pool.map(_batched(indices, _OF_WORKERS)):
                self.warnings += warnings
                yield from results


@dataclass(frozen=True)
class _Attempts(Generic[T]):
    work: Callable[[int], T]

    def __call__(self, indices: list[int]) -> tuple[list[tuple[int, Any]], list[str]]:
        """Return index and result, or error, of each image, and the warnings of the decoders."""
        with recorded_warnings() as warnings:
            results = [(index, _attempt(self.work, index)) for index in indices]
        return results, warnings


def _in_threads(work: Callable[[int], T], indices: Iterable[int]) -> Iterator[tuple[int, T | UnreadableImageError]]:
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for chunk in _batched(indices, _OF_THREADS):
            yield from zip(chunk, threads.map(lambda index: _attempt(work, index), chunk), strict=True)


def _attempt(work: Callable[[int], T], index: int) -> T | UnreadableImageError:
    try:
        return work(index)
    except UnreadableImageError as error:
        return error


def _batched(values: Iterable[int], size: int) -> Iterator[list[int]]:
    values = iter(values)
    while chunk := list(islice(values, size)):
        yield chunk
