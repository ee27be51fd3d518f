"""Who is told how a training goes, and what."""

from dataclasses import dataclass
from typing import Protocol

from gwaudit.recording.recorder import EpochSummary
from gwaudit.training.frozen_features import LatentProgress


@dataclass(frozen=True)
class StepReport:
    """Where a training is: epoch and step count from 0; the loss is the batch's, or of rank 0's share of it."""

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    samples_per_second: float


@dataclass(frozen=True)
class EpochReport:
    """What an epoch came to: its summary as recorded, the learning rate at its end, and its time in seconds."""

    epochs: int
    summary: EpochSummary
    learning_rate: float
    seconds: float
    samples_per_second: float


class Progress(LatentProgress, Protocol):
    """Who is told how the training goes."""

    def on_step(self, report: StepReport) -> None:
        """A few times a second."""

    def on_epoch(self, report: EpochReport) -> None:
        """When an epoch is committed."""

    def on_round(self, number: int, rounds: int, model: str) -> None:
        """When a round of refinement starts, counted from 1."""

    def on_sweep(self, seconds: float) -> None:
        """When a final sweep, which took so long, is committed."""
