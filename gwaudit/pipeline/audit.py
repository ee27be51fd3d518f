"""The verb `audit` as a function: load, train once, rank, evaluate where the truth is known, write the results."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import select_detector
from gwaudit.analysis.evaluation import Evaluation, evaluate
from gwaudit.analysis.stopping import training_rule
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.files import write_text
from gwaudit.core.settings import DataSettings, RankingSettings, RefinementSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.label_files import read_label_file
from gwaudit.data.label_noise import with_label_noise
from gwaudit.data.loading import read_source
from gwaudit.export.cleaned_data import Action, clean_data
from gwaudit.export.formats import write_cleaned_data
from gwaudit.export.suspects import write_noise, write_skipped, write_suspects
from gwaudit.recording.distributed import init_process_group, raise_on_all_ranks, run_on_rank0
from gwaudit.review.report.contents import gather
from gwaudit.review.report.page import write_page
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.frozen_features import embed_texts
from gwaudit.training.progress import FeatureProgress, Progress
from gwaudit.training.refinement import rank_run, refine, require_refinable, rounds_of
from gwaudit.training.trainer import TrainingResult, train


def load_data(data: DataSettings, progress: FeatureProgress | None = None) -> LabeledDataset:
    """Load a data set, embed its texts, and add label noise where `add_noise` asks for it.

    Raises:
        DataError: The source or its labels cannot be used.
    """
    dataset = read_source(data)
    if dataset.modality == "texts":
        dataset = embed_texts(dataset, data.encoder, progress)
    return with_label_noise(dataset, data.add_noise, data.add_noise_seed) if data.add_noise else dataset


def data_of_run(store: TrajectoryStore) -> DataSettings:
    """Where the data of a run come from.

    Raises:
        SettingsError: the run does not say, as when the recording was done in one's own loop.
    """
    values = store.settings.get("data")
    if not values:
        raise SettingsError(
            f"{store.path} does not say where its data are, as your own loop or a benchmark recorded it: "
            "this takes a run of gwaudit audit or gwaudit train"
        )
    return DataSettings.from_dict(values)


@dataclass(frozen=True)
class AuditResult:
    """A finished audit: the ranking, its score where the truth is known, the files, and the data.

    Data are missing where a run of one's own loop is ranked again; `audit` always has them.
    """

    audit: Audit
    evaluation: Evaluation | None
    dataset: LabeledDataset | None
    files: tuple[Path, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: run, summary, evaluation, skipped rows, files."""
        return {
            "run": str(self.audit.run),
            **self.audit.summary(),
            "evaluation": None if self.evaluation is None else self.evaluation.to_dict(),
            "skipped": [] if self.dataset is None else [asdict(sample) for sample in self.dataset.skipped],
            "files": [str(path) for path in self.files],
        }


def audit(
    data: DataSettings,
    run: Path | str,
    training: TrainingSettings,
    ranking: RankingSettings | None = None,
    refinement: RefinementSettings | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> AuditResult:
    """Audit a data set from one training run (and its refinement, if asked for), all of it.

    Under torchrun all processes must call; rank 0 ranks and writes, and all get the result.

    Args:
        data: what to audit.
        run: the folder of the run; it also gets `report.html`, `suspects.csv`, `audit.parquet`, `audit.json`, the
            cleaned splits as ids under `cleaned/` and, where the truth is known, `evaluation.json`.
        training: how to train.
        ranking: how to rank.
        refinement: rounds after the first training.
        resume: go on with a run that was interrupted.
        progress: told how the training goes.

    Raises:
        GwauditError: of the step that failed.
    """
    refinement = refinement or RefinementSettings()
    last = refinement.training(training, refinement.refine) if refinement.refine else training
    detector = (ranking or RankingSettings()).detector
    select_detector(detector, final_sweeps=last.final_sweeps, multi_label=False)  # before anything is loaded or trained
    dataset, _ = load_and_train(data, run, training, refinement, resume=resume, progress=progress)
    refine(dataset, Path(run), training, refinement, progress=progress)

    def rank_and_write() -> tuple[Audit, Evaluation | None, tuple[Path, ...]]:
        result = finish(rank_run(rounds_of(Path(run)), ranking), dataset)
        return result.audit, result.evaluation, result.files

    ranked, evaluation, files = run_on_rank0(rank_and_write)
    return AuditResult(ranked, evaluation, dataset, files)


def load_and_train(
    data: DataSettings,
    run: Path | str,
    training: TrainingSettings,
    refinement: RefinementSettings | None = None,
    *,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[LabeledDataset, TrainingResult]:
    """The first half of `audit`, with its arguments: a recorded run, not ranked or refined yet, and its data set.

    Raises:
        GwauditError: of the step that failed.
    """
    training_rule(training.select)  # an unknown rule is refused before anything is loaded
    init_process_group(training.device)
    with raise_on_all_ranks():
        dataset = load_data(data, progress)
        require_refinable(dataset, refinement or RefinementSettings())  # before the first training, not after it
    return dataset, train(dataset, run, training, resume=resume, data=data, progress=progress)


def rank_again(run: Path, ranking: RankingSettings | None = None) -> AuditResult:
    """Rank a recorded run, with its data loaded again; a run of one's own loop without them.

    Raises:
        GwauditError: the run cannot be ranked so, or its data are not there any more.
    """
    with TrajectoryStore.open(run) as store:
        dataset = data_if_recorded(store)
    return finish(rank_run(rounds_of(run), ranking), dataset)


def finish(ranked: Audit, dataset: LabeledDataset | None) -> AuditResult:
    """Write what an audit yields into its run's folder, in place of what an earlier ranking wrote there.

    Args:
        ranked: the ranking.
        dataset: what was trained on; without it the files have keys for samples, and nothing is scored.

    Raises:
        StoreError: it cannot be written.
    """
    run = ranked.run
    ranked.save(run)
    files = [
        write_suspects(ranked, run / "suspects.csv", texts=None if dataset is None else dataset.texts),
        run / "audit.parquet",
        run / "audit.json",
    ]
    files += write_noise(ranked, run)
    if dataset is not None and dataset.skipped:
        files.append(write_skipped(dataset.skipped, run / "skipped.csv"))
    actions: tuple[Action, ...] = get_args(Action)
    files += [
        write_cleaned_data(clean_data(ranked, action), run / "cleaned" / action, replace=True) for action in actions
    ]
    evaluation = None
    if dataset is not None and dataset.true_labels is not None:
        evaluation = evaluate(ranked, dataset.true_labels)
        files.append(write_evaluation(evaluation, run))
    with TrajectoryStore.open(run) as store:
        files.insert(0, write_page(gather(ranked, store, dataset), run / "report.html"))
    return AuditResult(ranked, evaluation, dataset, tuple(files))


def data_if_recorded(store: TrajectoryStore) -> LabeledDataset | None:
    """Load the data of a run; return None where the run was recorded in one's own loop, without their source."""
    return load_data(data_of_run(store)) if store.settings.get("data") else None


def write_evaluation(evaluation: Evaluation, run: Path) -> Path:
    """Write `evaluation.json` into the run's folder.

    Raises:
        StoreError: it cannot be written.
    """
    return write_text(run / "evaluation.json", json.dumps(evaluation.to_dict(), indent=1))


def true_labels(run: Path, truth: Path | None, key: str | None) -> NDArray[np.int64]:
    """The true labels of a run's samples: of a file, or those that its data set brings along.

    Raises:
        DataError: there are none.
    """
    if truth is not None:
        return read_label_file(truth, key)[0]
    with TrajectoryStore.open(run) as store:
        dataset = data_if_recorded(store)
    if dataset is None or dataset.true_labels is None:
        raise DataError(f"the data of {run} have no true labels: give them with --truth")
    return dataset.true_labels
