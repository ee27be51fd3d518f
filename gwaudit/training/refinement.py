"""Train rounds of refinement, which learn from what the rounds before found about the labels.

Round 0 is an ordinary training on the given labels. Every later round starts from new weights and learns, for each
sample, a mixture of its given label and of the earlier models' prediction, weighted by the probability that the label
is wrong. So a wrong label influences the network less from round to round; the network generalises better and disagrees
with the label more. The given label is still what is recorded and audited; `gwaudit.analysis.ranking` adds up the
evidence of the rounds for the order.
The number of wrong labels, and the probability of the k-th sample to be wrong, come from round 0 only: it has learned
the hard samples too, from the given labels only.

The prediction is the mean of the earlier rounds' class probabilities, of each image as it is and mirrored, sharpened.
docs/benchmarks/refinement.md shows the gain and the cost of a round, and what else was tried.
"""

from collections.abc import Sequence
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
from gwaudit.core.presets import RefinementSettings
from gwaudit.core.settings import RankingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.recording.distributed import is_rank0, run_on_rank0
from gwaudit.store.working_copies import refreshed
from gwaudit.training.automatic_settings import as_recorded, resolve_for
from gwaudit.training.progress import Progress
from gwaudit.training.rounds import open_rounds
from gwaudit.training.trainer import predict, train

TEMPERATURE = 0.5
"""Temperature that sharpens the prediction: probabilities are raised to the power of 1 / `TEMPERATURE`."""


def refine(
    dataset: LabeledDataset,
    run: Path,
    training: TrainingSettings,
    refinement: RefinementSettings,
    *,
    force: bool = False,
    progress: Progress | None = None,
) -> None:
    """Train the rounds of a run that are not trained yet, each in a folder `rounds/K` of the run.

    All ranks must call, as for `train`. A first training whose verdict is *do not use* is not refined: each round would
    learn its errors.

    Args:
        dataset: The data that the run was trained on.
        run: Folder of a finished run, which is round 0.
        training: The settings of its training.
        refinement: The number of rounds, and their settings that differ.
        force: Whether a first training is refined at any verdict.
        progress: Receives the progress of each training, on rank 0.

    Raises:
        SettingsError: The samples are multi-label, or an existing round was made with other settings.
    """
    require_refinable(dataset, training, refinement)
    training = run_on_rank0(lambda: as_recorded(training, run, ["dtype"]))
    on_images = dataset.modality == "images"
    if not on_images:  # the recipes are for networks on images
        refinement = replace(refinement, refine_as=None, refine_model=None)
    if refinement.refine and not force and not run_on_rank0((run / "rounds").exists):
        verdict = run_on_rank0(lambda: rank_run([run]).verdict)
        if verdict.level == "do not use":
            if progress is not None and is_rank0():
                progress.on_rounds_left_out(refinement.refine, verdict)
            return
    for number in range(1, refinement.refine + 1):
        settings = refinement.training(training, number)
        with refreshed(run, None):  # a working copy on another machine than rank 0's lacks the epochs of this training
            pass
        runs = [run, *(run / "rounds" / str(earlier) for earlier in range(1, number))]
        if progress is not None and is_rank0():
            trained = resolve_for(dataset, settings)
            head = "a new head" if settings.head in ("auto", "trees") else f"a new {settings.head} head"
            progress.on_round(number, refinement.refine, trained.model if on_images else head)
        targets = refined_targets(dataset, runs)
        train(dataset, run / "rounds" / str(number), settings, resume=True, targets=targets, progress=progress)


def refuses_photos(training: TrainingSettings, refinement: RefinementSettings) -> bool:
    """Return whether the rounds follow a recipe for small images, after a training that is not from random weights."""
    return bool(refinement.refine and refinement.refine_as) and training.pretrained is not False


def require_refinable(dataset: LabeledDataset, training: TrainingSettings, refinement: RefinementSettings) -> None:
    """Raise SettingsError if rounds of refinement are asked for that cannot be, or should not.

    Args:
        dataset: The data to refine on.
        training: The settings of the first training.
        refinement: The rounds. Those of multi-label samples cannot be; a recipe for small images is not for photos,
            unless `training` starts from random weights as the user set it.
    """
    if dataset.holds_photos and refuses_photos(training, refinement):
        width, height = dataset.largest_image
        raise SettingsError(
            f"`refine_as={refinement.refine_as!r}` trains networks for small images from random weights, and these are "
            f"photos (up to {width}x{height} pixels): leave it out, and `preset` if it sets it, or start the first "
            "training from random weights too (`pretrained=False`)"
        )
    if refinement.refine and dataset.is_multi_label:
        raise SettingsError(
            "rounds of refinement learn one label per sample, and these samples are multi-label: leave out `refine` "
            "and `preset`"
        )


def refined_targets(dataset: LabeledDataset, runs: Sequence[Path]) -> Tensor:
    """Return the targets that the next round learns: (1 - w) * given label + w * sharpened prediction.

    w is the probability that the given label is wrong.

    Args:
        dataset: The data that the runs were trained on.
        runs: Folders of the finished rounds, round 0 first.

    Returns:
        [n, C] float32; each row is a distribution over the classes.
    """
    wrong = torch.from_numpy(run_on_rank0(lambda: _probability_wrong(runs))).nan_to_num()[:, None]
    given = functional.one_hot(torch.from_numpy(dataset.labels), len(dataset.class_names)).float()
    prediction = torch.stack([predict(run, dataset, dataset) for run in runs]).mean(0)
    sharpened = (prediction.clamp_min(1e-12).log() / TEMPERATURE).softmax(1)
    return (1 - wrong) * given + wrong * sharpened


def _probability_wrong(runs: Sequence[Path]) -> NDArray[np.float32]:
    with open_rounds(runs) as (first, *later):
        return believed_wrong(first, later)


def rank_run(runs: Sequence[Path], settings: RankingSettings | None = None) -> Audit:
    """Rank the samples of a run by all of its rounds.

    Args:
        runs: Folders of the rounds, as `rounds_of` returns them.
        settings: Settings of the ranking; the defaults if None.
    """
    with open_rounds(runs) as (first, *later):
        return rank(first, settings, rounds=later)
