"""Training through the noise: rounds that learn from what the rounds before made of the labels.

Round 0 is an ordinary training on the given labels. Every later round starts from new weights and learns, for each
sample, a mixture of its given label and of what the earlier models say of it, by the probability that the label is
wrong. A wrong label so pulls less from round to round, and the network, which generalises better for it, opposes it
more. What is recorded and audited stays the given label; `gwaudit.analysis.ranking` adds up the rounds' evidence for
the order.
How many labels are wrong, and how likely the k-th is, is still read from round 0 alone, which has learned the hard
samples too and was told nothing.

The network's opinion is the mean of the earlier rounds' class probabilities, of each image as it is and mirrored,
sharpened. docs/benchmarks/refinement.md says what a round brings and costs, and what else was tried.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.ranking import believed_wrong, rank
from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import RankingSettings, RefinementSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.distributed import is_rank0, run_on_rank0
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import Progress
from gwaudit.training.trainer import predict, train

TEMPERATURE = 0.5
"""The network's opinion is raised to the power of one over this."""


def refine(
    dataset: LabeledDataset,
    run: Path,
    training: TrainingSettings,
    refinement: RefinementSettings,
    *,
    progress: Progress | None = None,
) -> None:
    """Train the rounds of a run that are not trained yet, each in a folder `rounds/K` of the run; ranks as in `train`.

    Args:
        dataset: what the run was trained on.
        run: a finished run, which is round 0.
        training: how that was trained.
        refinement: how many rounds, and what is different in them.
        progress: told how each training goes.

    Raises:
        SettingsError: a round was made otherwise.
    """
    require_refinable(dataset, refinement)
    on_images = dataset.modality == "images"
    if not on_images:  # the recipes are of networks for images
        refinement = replace(refinement, refine_as=None, refine_model=None)
    for number in range(1, refinement.refine + 1):
        settings = refinement.training(training, number)
        runs = [run, *(run / "rounds" / str(earlier) for earlier in range(1, number))]
        if progress is not None and is_rank0():
            progress.on_round(number, refinement.refine, settings.model if on_images else f"the {settings.head} head")
        targets = refined_targets(dataset, runs)
        train(dataset, run / "rounds" / str(number), settings, resume=True, targets=targets, progress=progress)


def require_refinable(dataset: LabeledDataset, refinement: RefinementSettings) -> None:
    """Raise a SettingsError where rounds are asked for and samples have any number of classes."""
    if refinement.refine and dataset.is_multi_label:
        raise SettingsError(
            "rounds of refinement learn one label a sample, these have any number: leave out --refine and --preset"
        )


def refined_targets(dataset: LabeledDataset, runs: Sequence[Path]) -> Tensor:
    """What the next round learns: [n, C] float32, each row a distribution.

    Args:
        dataset: what the runs were trained on.
        runs: finished rounds, the first of them on the given labels alone.
    """
    wrong = torch.from_numpy(run_on_rank0(lambda: _believed(runs))).nan_to_num()[:, None]
    given = functional.one_hot(torch.from_numpy(dataset.labels), len(dataset.class_names)).float()
    opinion = torch.stack([predict(run, dataset, dataset) for run in runs]).mean(0)
    sharp = (opinion.clamp_min(1e-12).log() / TEMPERATURE).softmax(1)
    return (1 - wrong) * given + wrong * sharp


def _believed(runs: Sequence[Path]) -> NDArray[np.float32]:
    with ExitStack() as stack:
        first, *later = [stack.enter_context(TrajectoryStore.open(run)) for run in runs]
        return believed_wrong(first, later)


def rounds_of(run: Path) -> list[Path]:
    """The folders of a run's finished rounds in their order, round 0 first: the run itself, finished or not."""
    rounds = [run]
    while (path := run / "rounds" / str(len(rounds))).is_dir() and _is_finished(path):
        rounds.append(path)
    return rounds


def _is_finished(run: Path) -> bool:
    with TrajectoryStore.open(run) as store:
        settings = TrainingSettings.from_dict(store.settings["training"])
        epochs = len(store.training_epochs)
        stopped_early = settings.patience is not None and epochs > 0
        return len(store.final_sweeps) == settings.final_sweeps and (epochs == settings.epochs or stopped_early)


def rank_run(runs: Sequence[Path], settings: RankingSettings | None = None) -> Audit:
    """Rank a run by all of its rounds, as `rounds_of` gives them."""
    with ExitStack() as stack:
        first, *later = [stack.enter_context(TrajectoryStore.open(run)) for run in runs]
        return rank(first, settings, rounds=later)
