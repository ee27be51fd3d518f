"""Read the files that a run vouches for, each compared with its checksum when it is first used."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from gwaudit.core.origins import fetch
from gwaudit.store.block_files import FileRecord, read_columns, verify_content, verify_file
from gwaudit.store.layout import RunLayout


class RunFiles:
    """Read files of one run, and remember which.

    Args:
        layout: The run's.
        verify: Whether each file is compared with its checksum before it is read for the first time.

    Attributes:
        used: Paths, relative to the run, of the files that were used; workers' files are added to it.
        verifies: As `verify`.
    """

    def __init__(self, layout: RunLayout, *, verify: bool) -> None:
        self._layout = layout
        self.verifies = verify
        self.used: set[str] = set()

    @property
    def unverified(self) -> int:
        """Return the number of files that were used without being compared with their checksums."""
        return 0 if self.verifies else len(self.used)

    def intact(self, file: FileRecord) -> Path:
        """Return the path of a file, fetched and compared with its checksum when it is first used.

        Raises:
            StoreDamagedError: It is missing or was altered.
        """
        path = self._layout.path / file.path
        if file.path not in self.used:
            fetch(path)
            if self.verifies:
                verify_content(self._layout, file)
            self.used.add(file.path)
        return path

    def read(self, file: FileRecord, columns: Sequence[str], part: range | None = None) -> pa.Table:
        """Read columns of a file, as `read_columns` does."""
        self.intact(file)
        return read_columns(self._layout, file, columns, part)

    def verify(self, files: Iterable[FileRecord]) -> None:
        """Read whole files, whether they were used before or not, and compare them with their records.

        Raises:
            StoreDamagedError: The first one that is missing or altered, and the remedy.
        """
        for file in files:
            fetch(self._layout.path / file.path, anew=True)
            verify_file(self._layout, file)
