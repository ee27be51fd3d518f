"""Draw a random sample of a run for people to decide: the verb `sample`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError
from gwaudit.core.spreadsheets import write_csv
from gwaudit.core.url_outputs import shown_output, written_output
from gwaudit.pipeline.run_data import samples_of_run
from gwaudit.pipeline.stages import StageProgress, Warnings, note_decisions
from gwaudit.review.decided_samples import DecidedSamples, read_decided, require_usable
from gwaudit.review.decision_files import fingerprint_cell, require_no_answers
from gwaudit.review.review_sample import FOLDER, ReviewSample, load_sample, most_uncertain, sample_to_review
from gwaudit.store.store import TrajectoryStore


def draw_for_review(
    run: Path | str,
    size: int,
    *,
    seed: int | None = None,
    redraw: bool = False,
    decisions: Sequence[Path | str] = (),
    progress: StageProgress | None = None,
) -> tuple[Audit, ReviewSample, DecidedSamples]:
    """Draw a random sample of a run, or enlarge the one that it has, and return it with the audit and the decisions.

    Args:
        run: Folder of a ranked run.
        size: Number of samples in all: a sample of this run that is as large is used again.
        seed: Seed of a new draw, by default a random one.
        redraw: Draw anew from what is undecided, by the ranking in use.
        decisions: Further files with decisions, beside the run's own.
        progress: Receives notes on the draw; by default these are warnings.

    Raises:
        SettingsError: `size` is not positive.
        DataError: The sample of the run was drawn from other data, or a file cannot be read.
        UnresolvedDecisionsError: Decisions contradict each other, or are invalid: nobody can say what is undecided.
        StoreError: The sample cannot be read or written.
    """
    audit = Audit.load(run)
    decided = read_decided(audit, decisions, with_sample=not redraw)
    require_usable(decided.decisions, "no sample is drawn")
    known = np.flatnonzero(decided.is_decided).tolist()  # rows of the store
    before = load_sample(audit)
    sample = sample_to_review(audit, size, seed=seed, redraw=redraw, decided=known)
    for note in _notes_on_draw(before, sample, decided, seed):
        (progress or Warnings()).on_note(note)
    return audit, sample, decided


def _notes_on_draw(
    before: ReviewSample | None, sample: ReviewSample, decided: DecidedSamples, seed: int | None
) -> Iterator[str]:
    """Yield what a user may not expect of a draw, where the run had one before."""
    if before is None:
        return
    if sample.number == before.number:
        if seed not in (None, sample.seed):
            yield f"`seed` does nothing: the sample was drawn before with seed {sample.seed}, and `redraw` draws anew"
        return
    undecided = int((before.is_drawn & ~decided.is_decided).sum())
    if undecided:
        yield (
            f"{undecided:,} of the {before.size:,} labels drawn before have no decision in the files that are read: if "
            "they are decided, draw again with these files as `decisions`, or they are asked again. Decisions on an "
            "earlier draw do not stand for others any more; to go back to it, remove "
            f"{FOLDER}/{sample.number} of the run"
        )


def ids_to_decide(sample: ReviewSample, decided: DecidedSamples, size: int) -> NDArray[np.int64]:
    """Return the undecided ones of the first labels of a draw, in their random order.

    Args:
        sample: The draw, which may be larger than `size`: its first samples are a random sample too.
        decided: What is decided.
        size: Number of samples in all, of which the decided ones are left out.

    Raises:
        DataError: As many are decided.
    """
    ids = sample.ids()
    undecided = ids[~decided.is_decided[ids]]
    n_decided = len(ids) - len(undecided)
    if not len(undecided) or n_decided >= size:
        raise DataError(
            f"{n_decided:,} of the {sample.size:,} samples drawn are decided, as many as were asked for: "
            "draw more with a larger size"
        )
    return undecided[: size - n_decided]


def ids_to_review(audit: Audit, sample: ReviewSample, decided: DecidedSamples, size: int) -> list[int]:
    """Return the undecided samples of a draw, mixed with as many others, the most uncertain ones, in random order.

    The drawn ones keep their random order, so that the first of them are a random sample too. The others go on from
    the most uncertain one, so that a review that ends early has decided the ones that matter most.

    Raises:
        DataError: As many samples as `size` are decided.
    """
    drawn = ids_to_decide(sample, decided, size).tolist()
    others = most_uncertain(audit, len(drawn), decided.is_decided | sample.is_drawn).tolist()
    is_drawn = np.random.default_rng((sample.seed, 2)).permutation([True] * len(drawn) + [False] * len(others))
    of_draw, of_ranking = iter(drawn), iter(others)
    return [next(of_draw) if drawn_here else next(of_ranking) for drawn_here in is_drawn]


def write_sample(
    run: Path | str,
    output: Path | str,
    size: int,
    *,
    seed: int | None = None,
    redraw: bool = False,
    decisions: Sequence[Path | str] = (),
    root: Path | str | None = None,
    progress: StageProgress | None = None,
) -> int:
    """Draw a random sample of a run and write what is undecided of it as a CSV file to fill in.

    The rows are in random order, and without scores, suggestions or ranks, so that people decide by the sample alone.
    The columns `decision` and `label` are empty; `apply`, `status` and `check` read the filled file.

    Args:
        run: Folder of a ranked run.
        output: The file, or its URL at an object store.
        size: Number of samples in all: of a larger sample of this run, the first ones.
        seed: Seed of a new draw, by default a random one.
        redraw: Draw anew from what is undecided, by the ranking in use.
        decisions: Further files with decisions, beside the run's own: their samples are left out.
        root: Place of the data now, if they were moved. They are read for the texts alone.
        progress: Receives the stages, and notes on the data; by default these are warnings.

    Returns:
        The number of rows.

    Raises:
        SettingsError: `size` is not positive.
        DataError: The sample of the run was drawn from other data, as many are decided, or
            `output` is a file with answers, which are never written over.
        UnresolvedDecisionsError: Decisions contradict each other, or are invalid.
        StoreError: The sample cannot be read or written, or the file cannot be written.
    """
    progress = progress or Warnings()
    with written_output(output, is_file=True, with_earlier=True) as path:
        advice = "and name this one as `decisions`, so that its samples are left out"
        require_no_answers(path, shown_output(output), advice)
        audit, sample, decided = draw_for_review(
            run, size, seed=seed, redraw=redraw, decisions=decisions, progress=progress
        )
        note_decisions(decided.decisions, progress)
        ids = ids_to_decide(sample, decided, size)
        table = _table_to_fill_in(audit, ids, root, progress)
        write_csv(table, path)
    return len(table)


def _table_to_fill_in(
    audit: Audit, ids: NDArray[np.int64], root: Path | str | None, progress: StageProgress
) -> pd.DataFrame:
    """Return a row for each of some labels, with the text where the samples are texts."""
    answers, about = np.array(audit.answers, object), audit.names_of(ids)
    samples = about["sample_id"]
    table = pd.DataFrame(
        {
            "sample_id": samples,
            "key": audit.by_id("key")[ids],
            "given_name": answers[audit.by_id("given_label")[ids].astype(np.int64)],
            "decision": "",
            "label": "",
            "data_fingerprint": fingerprint_cell(audit.fingerprint),
        }
    )
    if "class_id" in about:
        table.insert(2, "class_name", np.array(audit.class_names, object)[about["class_id"]])
    with TrajectoryStore.open(audit.run) as store:
        if store.settings.get("has_texts"):
            dataset = samples_of_run(store, progress, root)
            if dataset is not None and dataset.texts is not None:
                table.insert(2, "text", [dataset.texts[i] for i in samples])
    return table
