"""Apply decisions about the samples of a run: corrected labels, corrected data, the next audit (`apply`)."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.guidelines import require_pairs_of_classes
from gwaudit.core.errors import DataError, SettingsError, UnresolvedDecisionsError
from gwaudit.core.files import write_folder
from gwaudit.core.settings import DataSettings
from gwaudit.core.spreadsheets import write_csv
from gwaudit.core.url_outputs import shown_inside, written_output
from gwaudit.data.readers.columns import label_column_of
from gwaudit.data.readers.table_files import find_tables, holds_tables
from gwaudit.data.readers.tables import read_tables
from gwaudit.data.url_copies import with_local_files
from gwaudit.export.formats import cleaned_formats, write_cleaned_data
from gwaudit.export.source_table import SUFFIXES, corrected_table, spellings_of, spellings_of_sets
from gwaudit.pipeline.next_command import next_command
from gwaudit.pipeline.run_data import current_data, data_of_run
from gwaudit.pipeline.source_columns import read_source_columns
from gwaudit.pipeline.stages import StageProgress, Warnings
from gwaudit.review.corrections import Corrections, Undecided, correct, write_label_file
from gwaudit.review.decision_files import Problem
from gwaudit.review.decisions import Decisions, listed_files, read_decisions
from gwaudit.review.guideline_answers import read_guidelines
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import run_folder

if TYPE_CHECKING:
    from gwaudit.data.dataset import LabeledDataset

LABELS, CHANGES, LEFT, SPLIT = "labels.csv", "changes.csv", "left.csv", "split"


@dataclass(frozen=True)
class Applied:
    """Hold the result of applied decisions.

    Attributes:
        decisions: the decisions that were read.
        corrections: the labels before and after, and every change.
        problems: the decisions that were not applied, with `force`.
        files: the files and folders that were written: paths, or URLs.
        next_command: the command that audits the corrected data; None where gwaudit did not train the run.
    """

    decisions: Decisions
    corrections: Corrections
    problems: tuple[Problem, ...]
    files: tuple[Path | str, ...]
    next_command: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON can hold it: counts, notes, problems, files, next command."""
        return {
            "decided": self.decisions.counts(),
            "by_ranking": self.corrections.counts["by_ranking"],
            "undecided": self.corrections.counts["undecided"],
            "by_guideline": self.corrections.counts.get("by_guideline", 0),
            "changes": len(self.corrections.changes),
            "samples_left": len(self.corrections.cleaned_data.ids),
            "notes": [*self.decisions.notes, *self.corrections.notes],
            "problems": [asdict(problem) for problem in self.problems],
            "files": [str(path) for path in self.files],
            "next_command": self.next_command,
        }


def apply_decisions(
    run: Path | str,
    files: Path | str | Sequence[Path | str],
    output: Path | str,
    *,
    guidelines: Path | str | None = None,
    format: str = "ids",
    undecided: Undecided = "keep",
    force: bool = False,
    copy: bool = False,
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> Applied:
    """Apply the decisions of people about the samples of a run to its data.

    Args:
        run: the folder of a ranked run.
        files: the file or files with decisions; `gwaudit.review.decisions` reads them.
        output: a new folder, or its URL at an object store; it is complete or does not exist, but for a folder at a
            URL, where a killed process leaves the object `.incomplete` too. It holds

            - `labels.csv`: the label of every key, as `load_dataset(..., labels=...)` takes them;
            - `changes.csv`: each change with its reason;
            - `split/`: the corrected data in the `format`;
            - the table of the source, corrected, if the source is one (CSV, TSV, JSON Lines, Parquet);
            - `left.csv`: the decisions that were not applied, with `force`.
        guidelines: table of questions with answers, as `gwaudit.review.guideline_answers` writes and reads it: one
            decision for all samples of a pair of classes that have none of their own. `changes.csv` names it as reason.
        format: the format of the corrected data, one of `gwaudit.export.formats.cleaned_formats()`.
        undecided: the treatment of suspects without a decision: "keep" them, "drop" them, or "relabel" them as
            suggested.
        force: apply the valid decisions, and list the others.
        copy: copy image files instead of linking them, with the format "imagefolder".
        root: the place of the data now, if they were moved.
        progress: receives the stages, and notes on the data; by default these are warnings.

    Raises:
        UnresolvedDecisionsError: a decision cannot be applied, and `force` is False.
        DataError: a file cannot be read, or there is no decision.
        StoreExistsError: the output exists.

    Example:
        >>> import gwaudit
        >>> with gwaudit.TrajectoryStore.open("runs/worse") as store:
        ...     gwaudit.rank(store).save("runs/worse")
        >>> from pathlib import Path
        >>> n = Path("decisions.csv").write_text("key,decision,label\\ndigits/0007,relabel,3\\ndigits/0009,drop,\\n")
        >>> applied = gwaudit.apply_decisions("runs/worse", ["decisions.csv"], "corrected")
        >>> applied.corrections.changes["key"].tolist()
        ['digits/0007', 'digits/0009']
    """
    if format not in cleaned_formats():
        raise SettingsError(f"the formats of cleaned data are {', '.join(cleaned_formats())}, not {format!r}")
    run, progress, files = run_folder(run), progress or Warnings(), listed_files(files)
    with written_output(output, is_file=False) as folder:
        audit = Audit.load(run)
        decisions = read_decisions(files, audit)
        if guidelines is not None:
            require_pairs_of_classes(audit)
        answers = () if guidelines is None else read_guidelines(guidelines, audit)
        if decisions.frame.empty and not decisions.problems and undecided == "keep" and not answers:
            raise DataError(
                f"{', '.join(Path(file).name for file in files)}: no decision found: write keep, relabel, drop or "
                f"unsure into a column decision{'' if audit.is_multi_label else _OR_LABEL}, or choose how to treat "
                "suspects (`undecided`)"
            )
        source = _source_of_run(run, root, progress, needed=format != "ids")
        progress.on_stage("applying the decisions")
        corrections = correct(audit, decisions, guidelines=answers, undecided=undecided, dataset=source.dataset)
        problems = (*decisions.problems, *corrections.problems)
        if problems and not force:
            raise UnresolvedDecisionsError(
                f"nothing was written, as {len(problems)} decision{'s' * (len(problems) > 1)} cannot be applied: fix "
                "the files, or apply the valid decisions with `force=True`",
                problems,
            )
        write_folder(folder, lambda new: _write(new, corrections, problems, source, format, progress, copy=copy))
        paths = sorted(folder.iterdir(), key=lambda path: (path.is_dir(), path.name))
    written = {path.name: shown_inside(output, path) for path in paths}
    command = None if source.settings is None else next_command(run, audit, source.settings, written[LABELS])
    return Applied(decisions, corrections, problems, tuple(written.values()), command)


@dataclass(frozen=True)
class _Source:
    """Hold the data of a run: their settings, None where the run records none, and the data where they are readable."""

    settings: DataSettings | None
    dataset: "LabeledDataset | None"


def _source_of_run(run: Path, root: Path | str | None, progress: StageProgress, *, needed: bool) -> _Source:
    """Return the data of a run as they are now.

    Raises:
        DataError: They are needed, and not recorded or not readable.
    """
    with TrajectoryStore.open(run) as store:
        if not store.settings.get("data") and root is None:
            if needed:
                raise DataError(f"{_NEEDED}: the run does not record where they are. {_IDS}")
            return _Source(None, None)
        data = data_of_run(store, root)
        progress.on_stage("reading the data")
        try:
            return _Source(data, current_data(store, data))
        except DataError as error:
            if needed:
                raise DataError(f"{_NEEDED}: {error}. {_IDS}, or give the new place of the data with `root`") from error
            progress.on_note(
                f"The labels that the run recorded are corrected, as the data cannot be read: {error}. If they were "
                "moved, give the new place with `root`."
            )
            return _Source(data, None)


_OR_LABEL = ", or new classes into a column label"
_NEEDED = "this format of corrected data needs the data"
_IDS = "Use `format='ids'`, which does not need them"


def _write(
    folder: Path,
    corrections: Corrections,
    problems: Sequence[Problem],
    source: _Source,
    format: str,
    progress: StageProgress,
    *,
    copy: bool,
) -> None:
    """Write all files into an empty folder."""
    write_label_file(corrections, folder / LABELS)
    write_csv(corrections.changes, folder / CHANGES)
    root = columns = None
    if source.settings is not None and source.dataset is not None:
        data = with_local_files(source.settings)
        if reason := _write_table(folder, data, source.dataset, corrections):
            progress.on_note(f"No corrected table is written, as {reason}: {LABELS} has the label of every sample.")
        root, columns = data.files_root, None if format == "ids" else read_source_columns(data, source.dataset)
    if problems:
        left = [(problem.file, problem.row, problem.reason) for problem in problems]
        write_csv(pd.DataFrame(left, columns=["file", "row", "reason"]).astype({"row": "Int64"}), folder / LEFT)
    write_cleaned_data(
        corrections.cleaned_data,
        folder / SPLIT,
        format=format,
        dataset=source.dataset,
        root=root,
        columns=columns,
        copy=copy,
    )


def _write_table(folder: Path, data: DataSettings, dataset: "LabeledDataset", corrections: Corrections) -> str | None:
    """Write the table of the source, corrected, if it is one with the labels that were audited, or return why not."""
    source = Path(data.source)
    if data.labels is not None or data.add_noise or not holds_tables(source):
        return None
    files = find_tables(source, data.split).files
    if len(files) != 1:
        return f"the source has {len(files):,} files"
    if files[0].suffix.lower() not in SUFFIXES:
        return f"{files[0].name} is none of {', '.join(SUFFIXES)}"
    table, _ = read_tables(files, source)
    column = label_column_of(table, data)
    if column is None or column not in table.column_names:
        return "the labels are in several columns"
    rows = np.arange(len(dataset)) if dataset.rows is None else dataset.rows
    dropped = rows[~corrections.is_left].tolist()
    if corrections.new.ndim == 2:
        changed = np.flatnonzero((corrections.new != corrections.old).any(1) & corrections.is_left)
        changes = {row: row for row in rows[changed].tolist()}
        sets = zip(changes, corrections.new[changed], strict=True)
        spellings = spellings_of_sets(table, column, dict(sets), corrections.class_names, data.label_separator)
    else:
        labels = dict(zip(rows.tolist(), corrections.old.tolist(), strict=True))
        changed = np.flatnonzero((corrections.new != corrections.old) & corrections.is_left)
        changes = dict(zip(rows[changed].tolist(), corrections.new[changed].tolist(), strict=True))
        spellings = spellings_of(table, column, labels, corrections.class_names)
    name_is_taken = files[0].name in (LABELS, CHANGES, LEFT)
    target = folder / (f"corrected-{files[0].name}" if name_is_taken else files[0].name)
    if not corrected_table(files[0], target, column, changes, dropped, spellings):
        return f"the form of {files[0].name} cannot be kept"
    return None
