"""The verb `apply` as a function: from what people decided to corrected labels, cleaned splits and the next audit."""

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError, StoreExistsError, UnresolvedDecisionsError
from gwaudit.core.files import write_folder
from gwaudit.core.settings import RECIPES, DataSettings, RankingSettings, RefinementSettings, TrainingSettings
from gwaudit.core.spreadsheets import write_csv
from gwaudit.data.readers.columns import DEFAULT_COLUMN_NAMES
from gwaudit.data.readers.tables import read_tables, tables_of
from gwaudit.export.formats import cleaned_formats, write_cleaned_data
from gwaudit.export.source_table import SUFFIXES, corrected_table, spellings_of
from gwaudit.pipeline.run_data import data_of_run, load_data
from gwaudit.review.corrections import DROPPED, Corrections, Undecided, correct, write_label_file
from gwaudit.review.decision_files import Problem
from gwaudit.review.decisions import Decisions, read_decisions
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.progress import FeatureProgress
from gwaudit.training.refinement import rounds_of

if TYPE_CHECKING:
    from gwaudit.data.dataset import LabeledDataset

LABELS, CHANGES, LEFT, SPLIT = "labels.csv", "changes.csv", "left.csv", "split"


@dataclass(frozen=True)
class Applied:
    """What was applied and written.

    Attributes:
        decisions: as they were read.
        corrections: labels before and after, and every change.
        problems: what was left out, with `force`.
        files: all that was written.
        next_command: the audit of the corrected data, to paste; None where gwaudit did not train the run.
    """

    decisions: Decisions
    corrections: Corrections
    problems: tuple[Problem, ...]
    files: tuple[Path, ...]
    next_command: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: counts, notes, problems, files, next command."""
        return {
            "decided": self.decisions.counts(),
            "undecided": self.corrections.counts["undecided"],
            "changes": len(self.corrections.changes),
            "samples_left": len(self.corrections.cleaned_data.ids),
            "notes": list(self.corrections.notes),
            "problems": [asdict(problem) for problem in self.problems],
            "files": [str(path) for path in self.files],
            "next_command": self.next_command,
        }


def apply_decisions(
    run: Path | str,
    files: Sequence[Path | str],
    output: Path | str,
    *,
    format: str = "ids",
    undecided: Undecided = "keep",
    force: bool = False,
    copy: bool = False,
    progress: FeatureProgress | None = None,
) -> Applied:
    """Apply what people decided about the samples of a run to its data.

    Args:
        run: a ranked run.
        files: of decisions, as `gwaudit.review.decisions` reads them.
        output: a new folder; it is there whole or not at all, with

            - `labels.csv`: every key with its label, as `gwaudit audit SOURCE --labels` takes them;
            - `changes.csv`: each change with its reason;
            - `split/`: the corrected data in the `format`;
            - the source's own table, corrected, where the source is one (CSV, TSV, JSON Lines, Parquet);
            - `left.csv`: what was not applied, with `force`.
        format: of the split, one of `gwaudit.export.formats.cleaned_formats()`.
        undecided: what becomes of suspects that nobody decided about: "keep", "drop" or "relabel".
        force: apply what is sound, and list the rest.
        copy: with "imagefolder", copy files rather than link them.
        progress: told how the loading goes.

    Raises:
        UnresolvedDecisionsError: something does not add up, and `force` is not asked for.
        DataError: a file of decisions cannot be read, or none decides anything.
        StoreExistsError: the output exists.
    """
    run, output = Path(run), Path(output)
    if output.exists():
        raise StoreExistsError(f"{output} exists: choose another folder, or delete it")
    if format not in cleaned_formats():
        raise SettingsError(f"the formats of cleaned data are {', '.join(cleaned_formats())}, not {format!r}")
    audit = Audit.load(run)
    decisions = read_decisions(files, audit)
    if decisions.frame.empty and not decisions.problems and undecided == "keep":
        raise DataError(
            f"{', '.join(Path(file).name for file in files)} decides nothing: write keep, relabel, drop or unsure into "
            "a column decision, or new classes into a column label; or say what to do with --undecided"
        )
    data, dataset, unread = _data(run, progress)
    if dataset is None and format != "ids":
        reason = unread[0].reason if unread else "the run does not say where its data are"
        raise DataError(f"a split as {format} needs the data: {reason}; --format ids does not")
    corrections = correct(audit, decisions, undecided=undecided, dataset=dataset)
    problems = (*decisions.problems, *corrections.problems, *unread)
    if problems and not force:
        raise UnresolvedDecisionsError(
            f"nothing was written, as {len(problems)} {'things do' if len(problems) > 1 else 'thing does'} not add up: "
            "mend the files, or apply what is sound with --force",
            problems,
        )

    def write(folder: Path) -> None:
        write_label_file(corrections, folder / LABELS)
        write_csv(corrections.changes, folder / CHANGES)
        if data is not None and dataset is not None:
            _write_table(folder, data, dataset, corrections)
        if problems:
            left = [(problem.file, problem.row, problem.reason) for problem in problems]
            write_csv(pd.DataFrame(left, columns=["file", "row", "reason"]).astype({"row": "Int64"}), folder / LEFT)
        root = None if data is None else data.files_root
        write_cleaned_data(
            corrections.cleaned_data, folder / SPLIT, format=format, dataset=dataset, root=root, copy=copy
        )

    write_folder(output, write)
    written = sorted(output.iterdir(), key=lambda path: (path.is_dir(), path.name))
    command = None if data is None else _next_command(run, audit, data, output / LABELS)
    return Applied(decisions, corrections, problems, tuple(written), command)


def _data(
    run: Path, progress: FeatureProgress | None
) -> tuple[DataSettings | None, "LabeledDataset | None", tuple[Problem, ...]]:
    """Where the data are, the data as they are now, and why they cannot be read."""
    with TrajectoryStore.open(run) as store:
        if not store.settings.get("data"):
            return None, None, ()
        data = data_of_run(store)
    try:
        return data, load_data(data, progress), ()
    except DataError as error:
        reason = f"the data cannot be read, so that the run's own record would be corrected: {error}"
        return data, None, (Problem(Path(data.source).name, None, reason),)


def _write_table(folder: Path, data: DataSettings, dataset: "LabeledDataset", corrections: Corrections) -> None:
    """Write the source's table again where it is one file, and its labels are those that were audited."""
    source = Path(data.source)
    files = tables_of(source, data.split) if source.exists() else []
    if data.labels is not None or data.add_noise or len(files) != 1 or files[0].suffix not in SUFFIXES:
        return
    table, _ = read_tables(files, source)
    column = data.label_column or next(
        name for name in DEFAULT_COLUMN_NAMES["label_column"] if name in table.column_names
    )
    skipped = [sample.row for sample in dataset.skipped]
    rows = np.setdiff1d(np.arange(len(dataset) + len(skipped)), skipped)
    labels = dict(zip(rows.tolist(), corrections.old.tolist(), strict=True))
    changed = np.flatnonzero((corrections.new != corrections.old) & (corrections.new != DROPPED))
    taken = files[0].name in (LABELS, CHANGES, LEFT)
    corrected_table(
        files[0],
        folder / (f"corrected-{files[0].name}" if taken else files[0].name),
        column,
        dict(zip(rows[changed].tolist(), corrections.new[changed].tolist(), strict=True)),
        rows[corrections.new == DROPPED].tolist(),
        spellings_of(table, column, labels, corrections.class_names),
    )


def _next_command(run: Path, audit: Audit, data: DataSettings, labels: Path) -> str:
    """The audit of the corrected data, with what was not a default in the last one."""
    with TrajectoryStore.open(run) as store:
        training = TrainingSettings.from_dict(store.settings["training"])
    # Labels and keys are the file's from now on; added label noise was a trial on the source's own labels.
    data = replace(data, labels=str(labels), label_key=None, add_noise=0.0, add_noise_seed=0)
    refinement = _refinement(rounds_of(run), training)
    ranking = {"per_class": audit.settings.per_class, "precision": audit.settings.precision}
    options = [
        *_options(data, DataSettings(data.source)),
        *_options(training, TrainingSettings()),
        *_options(refinement, RefinementSettings()),
        *_typed({name: value for name, value in ranking.items() if value != getattr(RankingSettings(), name)}),
    ]
    return shlex.join(["gwaudit", "audit", data.source, *options, "--output", str(_next_run(run))])


def _options(settings: Any, defaults: Any) -> list[str]:
    values = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return _typed({name: value for name, value in values.items() if value != getattr(defaults, name)})


def _typed(values: dict[str, Any]) -> list[str]:
    typed: list[str] = []
    for name, value in values.items():
        option = f"--{name.replace('_', '-')}"
        typed += [option] if value is True else [option, str(value)]
    return typed


def _refinement(rounds: Sequence[Path], first: TrainingSettings) -> RefinementSettings:
    """How the rounds of a run were made, as far as their own settings tell."""
    if len(rounds) == 1:
        return RefinementSettings()
    with TrajectoryStore.open(rounds[1]) as store:
        made = TrainingSettings.from_dict(store.settings["training"])
    candidates = [RefinementSettings(refine=len(rounds) - 1, refine_as=name) for name in (None, *RECIPES)]
    same = [chosen for chosen in candidates if asdict(chosen.training(first, 1)) == asdict(made)]
    told = replace(candidates[0], refine_model=made.model, refine_epochs=made.epochs)
    return same[0] if same else told


def _next_run(run: Path) -> Path:
    base, _, number = run.name.rpartition("-round-")
    name, at = (base, int(number) + 1) if base and number.isdecimal() else (run.name, 2)
    while (path := run.with_name(f"{name}-round-{at}")).exists():
        at += 1
    return path
