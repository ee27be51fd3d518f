"""Start and stop a bar of progress: the context manager of the displays."""

from types import TracebackType
from typing import Self

from rich.progress import Progress


class Bar:
    """Show a bar of progress inside a `with` block.

    Args:
        progress: The bar.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._progress.disable:  # rich before 14.3 prints an empty line when a disabled bar stops
            self._progress.stop()
