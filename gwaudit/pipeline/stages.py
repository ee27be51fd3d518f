"""Show the stages of a verb, and sentences about its data, while it works."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # for its type alone
    from gwaudit.review.decisions import Decisions
    from gwaudit.store.store import TrajectoryStore


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


def note_decisions(decisions: "Decisions", progress: StageProgress) -> None:
    """Show the notes on decisions, and the number of rows that decide nothing."""
    for note in decisions.notes:
        progress.on_note(note)
    if decisions.problems:
        first = decisions.problems[0]
        row = "" if first.row is None else f", row {first.row}"
        progress.on_note(
            f"rows that decide nothing because of a problem: {len(decisions.problems):,}; the first is in {first.file}"
            f"{row}: {first.reason}"
        )


def note_unverified(files: int, run: Path, progress: StageProgress) -> None:
    """Show the number of files of a run that were not compared with their checksums, where there are any."""
    if files:
        progress.on_note(
            f"{files:,} files of the run were read without being compared with their checksums: damage to them is "
            f"not noticed. To compare them: gwaudit show {run} --verify"
        )


def note_unfinished(store: "TrajectoryStore", progress: StageProgress) -> None:
    """Show that a run has fewer epochs than its training was to have, where that is so."""
    training, done = store.settings.get("training") or {}, len(store.training_epochs)
    planned = training.get("epochs")
    if isinstance(planned, int) and done < planned and training.get("patience") is None:  # which ends it earlier
        progress.on_note(
            f"{store.path} has {done} of {planned} epochs, and only these are read: the training was stopped, which "
            "`resume` continues; or the last files of its commits are missing, as after an incomplete copy"
        )
