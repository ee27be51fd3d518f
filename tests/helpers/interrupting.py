"""End a training after an epoch, as an error there would."""

from pathlib import Path

import pytest

from gwaudit import LabeledDataset, TrainingSettings
from gwaudit.training.progress import EpochReport
from gwaudit.training.trainer import train


class _InterruptionError(Exception):
    pass


class _Interrupt:
    """Raise after an epoch, and receive all other progress."""

    def __init__(self, epoch: int) -> None:
        self._epoch = epoch

    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None

    def on_epoch(self, report: EpochReport) -> None:
        if report.summary.epoch == self._epoch:
            raise _InterruptionError


def train_until(epoch: int, dataset: LabeledDataset, run: Path, settings: TrainingSettings) -> None:
    """Train on a data set, and end with the epoch, counted from 0, which is recorded."""
    with pytest.raises(_InterruptionError):
        train(dataset, run, settings, progress=_Interrupt(epoch))
