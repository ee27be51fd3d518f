"""Audit a data set: load, train once, rank, evaluate where the truth is known, write the results (`audit`)."""

from dataclasses import replace
from functools import cache
from pathlib import Path

from gwaudit.analysis.detectors import select_detector
from gwaudit.analysis.ranking import rank
from gwaudit.analysis.stopping import training_rule
from gwaudit.core.presets import RefinementSettings
from gwaudit.core.settings import (
    DataSettings,
    RankingSettings,
    ResolvedTrainingSettings,
    TrainingSettings,
    require_settings,
)
from gwaudit.data.class_sizes import require_learnable
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.summary import summarise
from gwaudit.pipeline.engine import LOCAL, open_engine, require_engine
from gwaudit.pipeline.other_split import read_other_split, record_split_copies
from gwaudit.pipeline.results import AuditResult, write_results
from gwaudit.pipeline.run_data import load_data
from gwaudit.pipeline.unused_settings import Kind, describe_unused, require_used
from gwaudit.recording.distributed import init_process_group, raise_on_all_ranks, run_on_rank0
from gwaudit.store.working_copies import run_folder
from gwaudit.training.automatic_settings import (
    advise_against_scratch,
    as_recorded,
    describe_automatic,
    resolve_for,
)
from gwaudit.training.checkpoints import require_place
from gwaudit.training.latents import keeps_latents
from gwaudit.training.mirrored_classes import describe_exchange, exchanged_classes
from gwaudit.training.preprocessing import with_resizing_of_weights
from gwaudit.training.progress import Progress
from gwaudit.training.refinement import refine, refuses_photos, require_refinable
from gwaudit.training.rounds import open_rounds, rounds_of
from gwaudit.training.starting_weights import (
    STARTING_WEIGHTS,
    describe_start,
    require_weights,
    with_starting_weights,
)
from gwaudit.training.trainer import TrainingResult, train


def audit(
    data: DataSettings,
    run: Path | str,
    training: TrainingSettings,
    ranking: RankingSettings | None = None,
    refinement: RefinementSettings | None = None,
    *,
    resume: bool = False,
    engine: str = LOCAL,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a data set from one training run, and its refinement if there is any.

    Under torchrun all processes must call it; rank 0 ranks and writes, and all get the result.

    Args:
        data: the data set.
        run: the folder of the run. It also receives `report.html`, `suspects.csv`, `audit.parquet`, `audit.json`, the
            ids of the cleaned data in `cleaned/` and, where the truth is known, `evaluation.json`.
        training: the settings of the training.
        ranking: the settings of the ranking.
        refinement: the rounds after the first training; by default none.
        resume: continue a run that was interrupted.
        engine: what computes the blocks of samples of the ranking, as in `rank_again`.
        progress: receives the progress of the training.

    Returns:
        The ranking, its evaluation where the truth is known, the data, and the files.

    Raises:
        GwauditError: a step failed.

    Example:
        >>> from gwaudit import DataSettings, TrainingSettings, audit
        >>> result = audit(DataSettings("digits"), "runs/audited", TrainingSettings(epochs=2))
        >>> result.audit.suspects.columns[:3].tolist()
        ['rank', 'sample_id', 'key']
    """
    require_settings(DataSettings, "data", data)
    require_settings(TrainingSettings, "training", training)
    require_settings(RankingSettings, "ranking", ranking)
    require_settings(RefinementSettings, "refinement", refinement)
    run, refinement = run_folder(run), refinement or RefinementSettings()
    last = refinement.training(training, refinement.refine) if refinement.refine else training
    detector = (ranking or RankingSettings()).detector
    select_detector(detector, final_passes=last.final_passes, multi_label=False)  # before anything is loaded or trained
    init_process_group(training.device)
    run_on_rank0(lambda: require_engine(engine))
    data, training, dataset, other = _load(data, training, refinement, run, resume, progress)
    kept = keeps_latents(dataset, resolve_for(dataset, training))
    select_detector(
        detector, final_passes=last.final_passes, multi_label=dataset.is_multi_label, keeps_latents=kept, run=run
    )
    train(dataset, run, training, resume=resume, data=data, progress=progress)
    run_on_rank0(lambda: record_split_copies(run, dataset, other, progress))
    force = ranking is not None and ranking.force
    refine(dataset, run, training, refinement, force=force, progress=progress)

    def rank_and_write() -> AuditResult:
        with open_rounds(rounds_of(run)) as (first, *later):
            with open_engine(engine) as executor:
                ranked = rank(first, ranking, rounds=later, executor=executor)
            result = write_results(ranked, dataset, first)
        return replace(result, dataset=None)  # each rank has the data

    return replace(run_on_rank0(rank_and_write), dataset=dataset)


def load_and_train(
    data: DataSettings,
    run: Path | str,
    training: TrainingSettings,
    refinement: RefinementSettings | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[LabeledDataset, TrainingResult]:
    """Load a data set and train on it once: the first half of `audit`, with its arguments.

    Returns:
        The data set, and the recorded run, which is neither refined nor ranked yet.

    Raises:
        GwauditError: a step failed.
    """
    run = run_folder(run)
    data, training, dataset, other = _load(data, training, refinement or RefinementSettings(), run, resume, progress)
    result = train(dataset, run, training, resume=resume, data=data, progress=progress)
    run_on_rank0(lambda: record_split_copies(run, dataset, other, progress))
    return dataset, result


def _load(
    data: DataSettings,
    training: TrainingSettings,
    refinement: RefinementSettings,
    run: Path,
    resume: bool,
    progress: Progress | None,
) -> tuple[DataSettings, TrainingSettings, LabeledDataset, LabeledDataset | None]:
    """Return the settings of data and training as they are used, the data set, and the other split that is read.

    A place, weights or settings that cannot work are refused before the first training, not after it.
    """
    training_rule(training.select)  # an unknown rule is refused before anything is loaded
    init_process_group(training.device)
    typed = given = training
    if resume:
        given = run_on_rank0(lambda: as_recorded(training, run))
        training = run_on_rank0(lambda: as_recorded(training, run, STARTING_WEIGHTS))

    @cache
    def check_weights(photos: bool) -> None:
        if not (photos and refuses_photos(training, refinement)):  # which is refused for that, not for its weights
            require_weights(training, with_starting_weights(given, "images", photos=photos))

    with raise_on_all_ranks():
        require_place(run, resume=resume)
        data = with_resizing_of_weights(data, training)
        dataset = load_data(data, progress, check_weights)
        require_used(data, dataset)
        require_learnable(dataset.labels, dataset.class_names, dataset.name)
        require_refinable(dataset, training, refinement)
        resolved = resolve_for(dataset, given)
        if dataset.modality == "images":
            check_weights(dataset.holds_photos)
        other = read_other_split(data, dataset, progress)
    for sentence in describe_unused(data, typed, refinement, _kind(dataset, resolved)):
        dataset.notes.warn(sentence)
    if dataset.modality == "images":
        dataset.notes.remark(describe_start(training, resolved, dataset))
    if dataset.image_fit is not None and dataset.image_fit.resizing.side is not None:
        dataset.notes.remark(
            f"mean, standard deviation, interpolation and crop are those of the pretrained weights of {resolved.model}"
        )
    if dataset.modality == "images" and resolved.backbone == "trained":
        if chosen := describe_automatic(training, resolved, len(dataset)):
            dataset.notes.remark(chosen)
        if advice := advise_against_scratch(resolved, len(dataset), dataset.input_shape):
            dataset.notes.warn(advice)
    if dataset.modality == "images" and not dataset.is_multi_label:
        rounds = [resolved]
        if refinement.refine:
            rounds.append(resolve_for(dataset, refinement.training(training, 1)))
        mirroring = next((settings for settings in rounds if settings.mirrors or settings.mirrors_views), None)
        if mirroring is not None and (pairs := exchanged_classes(dataset)):
            dataset.notes.warn(describe_exchange(pairs, mirroring.augment if mirroring.mirrors else None))
    if progress is not None:
        progress.on_data(summarise(dataset, data.source))
    return data, training, dataset, other


def _kind(dataset: LabeledDataset, resolved: ResolvedTrainingSettings) -> Kind:
    if dataset.modality == "images":
        return "frozen" if resolved.backbone == "frozen" else "network"
    return "features" if dataset.texts is None else "texts"
