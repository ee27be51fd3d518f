"""Show the stages of a verb, and sentences about its data, while it works."""

import warnings
from typing import Protocol


class StageProgress(Protocol):
    """Receive the progress of a verb that loads the data of a run."""

    def on_stage(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Receive the name of the stage that begins or goes on, and its steps done and in all where these are known."""

    def on_note(self, note: str) -> None:
        """Receive a sentence for the user on what differs from the data of the run."""


class ImageStage:
    """Show the decoding of images as a stage. A `data.reading_progress.ReadingProgress`.

    Args:
        progress: receives the stage.
    """

    def __init__(self, progress: StageProgress) -> None:
        self._progress = progress

    def on_images(self, done: int, images: int) -> None:
        """Show how many images are decoded."""
        self._progress.on_stage("decoding images", done, images)


class Warnings:
    """Show notes as warnings of Python, and no progress: the default of the functions of Python."""

    def on_stage(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Show nothing."""

    def on_note(self, note: str) -> None:
        """Show a warning."""
        warnings.warn(note, UserWarning, stacklevel=2)
