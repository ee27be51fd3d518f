"""Describe how a training reports its progress, and what may measure it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from gwaudit.analysis.verdict import Verdict
from gwaudit.data.reading_progress import ReadingProgress
from gwaudit.data.summary import DataSummary
from gwaudit.recording.epoch_commit import EpochSummary
from gwaudit.training.device import DtypeChoice
from gwaudit.training.head_choice import HeadProgress


@dataclass(frozen=True)
class StepReport:
    """Hold the position of a training.

    Attributes:
        epoch: The current epoch, counted from 0.
        epochs: Number of epochs planned.
        step: The last step (batch) of the epoch, counted from 0.
        steps: Number of steps in an epoch.
        loss: Mean loss of the batch, or of rank 0's part of it.
        samples_per_second: Samples trained per second since the epoch began.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    samples_per_second: float


@dataclass(frozen=True)
class EpochReport:
    """Hold the result of one epoch.

    Attributes:
        epochs: Number of epochs planned.
        summary: What was recorded of the epoch.
        learning_rate: The learning rate at its end.
        seconds: Duration in seconds, with recording and saving.
        samples_per_second: Samples per second, by that duration.
    """

    epochs: int
    summary: EpochSummary
    learning_rate: float
    seconds: float
    samples_per_second: float


class FeatureProgress(ReadingProgress, Protocol):
    """Receive the progress of decoding images and of computing features."""

    def on_features(self, done: int, samples: int) -> None:
        """Receive the number of samples done and the number of all samples, after each batch."""


class Progress(FeatureProgress, HeadProgress, Protocol):
    """Receive the progress of a training, on rank 0."""

    def on_data(self, summary: DataSummary) -> None:
        """Receive the summary of the data that were read, before the training."""

    def on_dtype(self, choice: DtypeChoice) -> None:
        """Receive the number format that was measured to be the faster one."""

    def on_step(self, report: StepReport) -> None:
        """Receive the position of the training, a few times per second."""

    def on_epoch(self, report: EpochReport) -> None:
        """Receive the result of an epoch, when it is committed."""

    def on_round(self, number: int, rounds: int, model: str) -> None:
        """Receive the number of a round of refinement, from 1, and its model, when the round starts."""

    def on_rounds_left_out(self, rounds: int, verdict: Verdict) -> None:
        """Receive the number of rounds that are not trained, and the verdict on the training that forbids them."""

    def on_final_pass(self, seconds: float) -> None:
        """Receive the duration of a final evaluation pass, when it is committed."""


class EpochProbe(Protocol):
    """Measure something of the model after each epoch of training, as its accuracy on a test set. Rank 0 calls it."""

    def measure(self, epoch: int, model: nn.Module, prepared: Callable[[Tensor], Tensor]) -> Mapping[str, float]:
        """Return numbers to commit with the epoch. A resumed run does not measure committed epochs again.

        Args:
            epoch: The epoch, counted from 0.
            model: The model in training mode; leave it in that mode, with its weights and buffers unchanged.
            prepared: Returns inputs as the model takes them, on its device, for inputs of `LabeledDataset.read`.
        """
