"""Hold a ranked run: an `Audit`, its columns and its verdict; save it and load it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.calibration import Calibration
from gwaudit.analysis.flagging import NOT_JUDGED
from gwaudit.analysis.ranked_table import RankedTable, open_ranked_table
from gwaudit.analysis.sample_statistics import COLUMNS as STATISTICS
from gwaudit.analysis.verdict import UNJUDGED, Verdict
from gwaudit.core.errors import SettingsError, StoreDamagedError, StoreVersionError, VerdictError
from gwaudit.core.files import is_absent, sha256, write_atomically
from gwaudit.core.json import read_json, sealed, unsealed, write_json
from gwaudit.core.settings import RankingSettings
from gwaudit.core.urls import require_local
from gwaudit.data.class_names import listed, shown_name
from gwaudit.store.layout import ANSWERS, FORMAT_VERSION
from gwaudit.store.results import no_audit, publishing, results_of
from gwaudit.store.working_copies import run_folder

FACTS_FILE, FRAME_FILE = "audit.json", "audit.parquet"

COLUMNS = {
    "rank": "rank in the audit, 1 for the most suspicious sample",
    "sample_id": "index of the sample in the data set",
    "key": "key of the sample in its source, as a path or an id",
    "given_label": "index of the label that is audited",
    "given_name": "name of the given label",
    "suggested_label": "index of the label that fits best apart from the given one; -1 if unrecorded",
    "suggested_name": "name of the suggested label",
    "log_odds_wrong": "natural log of the odds that the given label is wrong; NaN for unrecorded samples",
    "probability_wrong": "probability that the given label is wrong",
    "suspect": "whether the sample is flagged",
    "category": "suspect, late-aligned, hard, fine, too-few, unlearned or unrecorded",
    **{name: text for name, text in STATISTICS.items() if name != "alternative_label"},
}
"""The columns of `Audit.frame`, with their texts."""

REVIEWED = 1000
"""The number of samples to look at in a ranking without a cut."""

MULTI_LABEL_COLUMNS = {"class_id": "index of the class of the row", "class_name": "name of that class"}
"""The further columns, behind `key`, of a multi-label audit: a row is a (sample, class) there, whose given and
suggested label are 0 ("absent") or 1 ("present")."""


CALIBRATED_COLUMNS = {
    "unsupervised_rank": "rank before any decision",
    "unsupervised_log_odds": "log odds of being wrong before any decision",
    "unsupervised_label": "suggested label before any decision",
    "decision": "keep, relabel or drop, as people decided; empty for samples without a decision",
}
"""The further columns, at the end, of an audit that is calibrated on decisions."""


@dataclass(frozen=True, eq=False, repr=False)
class Audit:
    """Hold every sample of a run, ranked.

    More than a million rows lie in a file. `frame` then reads all of them, at each access; `column`, `head`,
    `suspects`, `to_review` and `by_id` read what they return.

    Attributes:
        table: the rows of `frame`, which is read from it.
        class_names: the names of the C classes.
        settings: the settings of the ranking.
        window: (first, last) epoch of the means and votes, counted from 0, both included.
        threshold: the log odds of suspects lie above it (ties aside, if `top` or `budget` set their number); infinite
            without suspects.
        run: the run's folder.
        fingerprint: the fingerprint of the data.
        is_multi_label: whether a sample has any number of the classes, rather than exactly one.
        verdict: whether the run can be trusted, and the reasons.
        calibration: the decisions that odds and order are refitted on; None where these are unsupervised.

    Example:
        >>> from gwaudit import TrajectoryStore, rank
        >>> audit = rank(TrajectoryStore.open("runs/worse"))
        >>> worst = audit.suspects[["key", "given_name", "suggested_name"]].head(10)
    """

    table: RankedTable
    class_names: tuple[str, ...]
    settings: RankingSettings
    window: tuple[int, int]
    threshold: float
    run: Path
    fingerprint: str
    is_multi_label: bool = False
    verdict: Verdict = UNJUDGED
    calibration: Calibration | None = None

    def __repr__(self) -> str:
        suspects = f"{self.column('suspect').astype(bool).sum():,} suspects" if self.has_cut else "without a cut"
        return f"<Audit of {self.n_samples:,} samples: {self.verdict.level}, {suspects}>"

    @property
    def frame(self) -> pd.DataFrame:
        """Return all rows, most suspicious first.

        They have the columns of `COLUMNS`, a row a sample; a row a (sample, class), with those of `MULTI_LABEL_COLUMNS`
        too, in a multi-label audit, and those of `CALIBRATED_COLUMNS` in a calibrated one.
        """
        return self.table.frame()

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of `frame`, [n]."""
        return self.table.column(name)

    def head(self, count: int, *, of_undecided: bool = False) -> pd.DataFrame:
        """Return the first rows of `frame`, or of `undecided`: the most suspicious ones."""
        if not of_undecided or self.calibration is None:
            return self.table.head(count)
        return self.table.select(self.is_undecided & (np.cumsum(self.is_undecided) <= count))

    @property
    def has_cut(self) -> bool:
        """Return whether suspects are flagged: by the fitted cut of a run to trust, or by a count that a user set."""
        settings = self.settings
        counted = settings.top is not None or settings.budget is not None or settings.cut != "auto"
        return self.has_probabilities or settings.force or counted

    @property
    def has_probabilities(self) -> bool:
        """Return whether probabilities, and the numbers of wrong labels that follow from them, can be trusted.

        The verdict trusts them; or it trusts the order, and they are calibrated on enough random decisions.
        """
        is_calibrated = self.calibration is not None and self.calibration.has_enough_random
        return self.verdict.is_trusted or (is_calibrated and self.verdict.level == "use the order")

    @property
    def headline(self) -> str:
        """Return the verdict as one sentence; where decisions give the numbers that it withholds, this is said."""
        if self.has_probabilities and not self.verdict.is_trusted:
            return "The numbers rest on decisions: by itself, this run gives an order alone."
        return self.verdict.headline

    @property
    def rows(self) -> NDArray[np.int64]:
        """Return the store's row of each row of the frame: the sample's id, or `sample * C + class`."""
        ids = self.column("sample_id").astype(np.int64, copy=False)
        if not self.is_multi_label:
            return ids
        return np.asarray(ids * len(self.class_names) + self.column("class_id").astype(np.int64))

    def names_of(self, rows: NDArray[np.integer]) -> dict[str, NDArray[np.integer]]:
        """Return what the store's rows are about, [m] each: `sample_id`, and `class_id` if multi-label."""
        if not self.is_multi_label:
            return {"sample_id": rows}
        samples, classes = np.divmod(rows, len(self.class_names))
        return {"sample_id": samples, "class_id": classes}

    @property
    def n_labels(self) -> int:
        """Return the number of labels, which are the rows: one a sample, or one a (sample, class) if multi-label."""
        return len(self.table)

    @property
    def n_samples(self) -> int:
        """Return the number of samples."""
        return self.n_labels // (len(self.class_names) if self.is_multi_label else 1)

    @property
    def answers(self) -> tuple[str, ...]:
        """Return the names of the labels that a row can have: the classes, or "absent" and "present"."""
        return ANSWERS if self.is_multi_label else self.class_names

    @property
    def suspects(self) -> pd.DataFrame:
        """Return the rows of the suspects, most suspicious first."""
        return self.table.select(self.column("suspect").astype(bool))

    @property
    def undecided(self) -> pd.DataFrame:
        """Return the rows without a decision that the audit is calibrated on, most suspicious first."""
        return self.frame if self.calibration is None else self.table.select(self.is_undecided)

    @property
    def is_undecided(self) -> NDArray[np.bool_]:
        """Return whether each row is one of `undecided`, [n]; the other labels of a dropped sample are not."""
        if self.calibration is None:
            return np.ones(len(self.table), bool)
        decision, ids = self.column("decision"), self.column("sample_id")
        undecided = np.asarray(decision == "", bool)
        return undecided & ~np.isin(ids, ids[decision == "drop"]) if self.is_multi_label else undecided

    def to_review(self, top: int | None = None) -> pd.DataFrame:
        """Return the undecided rows to look at first: suspects or, where no cut is offered, the first of the ranking.

        Args:
            top: number of rows, at most; by default all suspects, and the first 1,000 of a ranking without a cut.
        """
        return self.table.select(self.is_to_review(top))

    def is_to_review(self, top: int | None = None) -> NDArray[np.bool_]:
        """Return whether each row is one of `to_review`, [n]."""
        chosen = self.is_undecided & self.column("suspect").astype(bool) if self.has_cut else self.is_undecided
        most = len(chosen) if self.has_cut else REVIEWED
        return np.asarray(chosen & (np.cumsum(chosen) <= (most if top is None else min(most, top))))

    @property
    def may_clean(self) -> bool:
        """Return whether suspects may be dropped or relabelled: not without a cut, nor by a ranking not to use."""
        return self.settings.force or (self.has_cut and self.verdict.level != "do not use")

    def require_cleanable(self) -> None:
        """Raise VerdictError if suspects may not be dropped or relabelled."""
        if self.may_clean:
            return
        count = "" if self.verdict.level == "do not use" else "a number of suspects that you choose (`top`), or with "
        raise VerdictError(
            f"the verdict on {self.run} is {self.verdict.level!r}, so nothing is dropped or relabelled by its suspects "
            f"({self.verdict.short_reason}): rank it again with {count}`force=True` to use its cut anyway"
        )

    def require_probabilities(self) -> None:
        """Raise VerdictError if probabilities, and the numbers of wrong labels that follow, cannot be trusted."""
        if not self.has_probabilities:
            raise VerdictError(
                f"the verdict on {self.run} is {self.verdict.level!r}, so no numbers of wrong labels are estimated "
                f"({self.verdict.short_reason})"
            )

    @property
    def is_judged(self) -> NDArray[np.bool_]:
        """Return whether each row can be judged, [n]: not if its category is one of `NOT_JUDGED`."""
        category = self.column("category")
        return np.asarray(~np.logical_or.reduce([category == name for name in NOT_JUDGED]))

    @property
    def unlearned_classes(self) -> tuple[str, ...]:
        """Return the classes that the run predicts no better than by their share."""
        label = self.column("class_id" if self.is_multi_label else "given_label")
        return tuple(self.class_names[i] for i in np.unique(label[self.column("category") == "unlearned"]))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return sentences on classes that a user has to look at: not learned, or flagged for the most part."""
        sentences = []
        if names := self.unlearned_classes:
            sentences.append(
                f"Classes that are not predicted better than by their share: {listed([shown_name(n) for n in names])}. "
                "Right and wrong labels of these look alike: none is flagged or dropped (category unlearned). Inputs "
                "that say more about them help; or decide on their labels yourself."
            )
        if counts := self._mostly_flagged() if self.has_cut and self.calibration is None else []:
            sentences.append(
                f"More than half of the labels of these classes are flagged: {listed(counts)}. If such a class can "
                "look like others, they may be right: look at some of them before you drop or relabel them."
            )
        return tuple(sentences)

    def _mostly_flagged(self) -> list[str]:
        """Return the classes of whose given labels most are flagged, with both numbers, as people read them."""
        label, given = self.column("given_label"), np.ones(len(self.table), bool)
        if self.is_multi_label:
            label, given = self.column("class_id"), label == 1
        n_given = np.bincount(label[given], minlength=len(self.class_names))
        flagged = np.bincount(label[given & self.column("suspect").astype(bool)], minlength=len(self.class_names))
        most = np.flatnonzero(2 * flagged > n_given)
        return [f"{shown_name(self.class_names[i])} ({flagged[i]:,} of {n_given[i]:,})" for i in most]

    def judged_probability(self) -> NDArray[np.float64]:
        """Return the probability of each row being wrong, [n], 0 where it cannot be judged."""
        probability = np.nan_to_num(self.column("probability_wrong").astype(np.float64))
        probability[~self.is_judged] = 0.0
        return probability

    def expected_wrong(self, *, of_undecided: bool = False) -> NDArray[np.float64]:
        """Return the expected number of wrong labels among the first k, [n + 1], for k from 0 to n.

        Args:
            of_undecided: whether to count the rows of `undecided` alone.

        Samples of classes with too few samples do not count. The numbers are as good as `has_probabilities` says.
        """
        probability = self.judged_probability()
        if of_undecided:
            probability = probability[self.is_undecided]
        return np.concatenate([[0.0], np.cumsum(probability)])

    @property
    def expected_mistakes(self) -> float:
        """Return how many of the decisions that the audit is calibrated on are expected to be wrong themselves."""
        if self.calibration is None:
            return 0.0
        decision, probability = self.column("decision"), self.column("probability_wrong")
        mistaken = np.where(decision == "keep", probability, 1 - probability)[decision != ""]
        return float(np.nansum(mistaken))

    def by_id(self, column: str) -> NDArray[Any]:
        """Return a column in the order of the sample ids, [n]; in that of the store's rows, [n C], if multi-label."""
        values = self.column(column)
        ordered = np.empty_like(values)
        ordered[self.rows] = values
        return ordered

    def summary(self) -> dict[str, Any]:
        """Return the main numbers of the audit, as JSON can hold them; None where the verdict does not trust them.

        Epochs are counted from 1 here, as on the command line.
        """
        counts = pd.Series(self.column("category")).value_counts()
        suspects, expected = int(self.column("suspect").sum()), self.expected_wrong()
        trusted = self.has_probabilities
        multi_label = {}
        if self.is_multi_label and self.has_cut:
            flagged = self.suspects
            multi_label = {
                "suspect_samples": int(flagged["sample_id"].nunique()),
                "suspect_missing": int((flagged["given_label"] == 0).sum()),
                "suspect_extra": int((flagged["given_label"] == 1).sum()),
            }
        return {
            "samples": self.n_samples,
            **({"rows": len(self.table)} if self.is_multi_label else {}),
            **multi_label,
            "verdict": self.verdict.level,
            "reasons": [{"reason": f.reason, "remedy": f.remedy} for f in self.verdict.findings],
            "suspects": suspects if self.has_cut else None,
            "expected_wrong": round(float(expected[-1]), 1) if trusted else None,
            "expected_wrong_suspects": round(float(expected[suspects]), 1) if trusted else None,
            "categories": {str(name): int(count) for name, count in counts.items()},
            "detector": self.settings.detector,
            "window": [epoch + 1 for epoch in self.window],
            "threshold": self.threshold if np.isfinite(self.threshold) else None,
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "unlearned_classes": list(self.unlearned_classes),
        }

    def save(self, folder: Path | str) -> None:
        """Write `audit.parquet` and `audit.json` into a folder; the folder of a run gets them as its results.

        Raises:
            StoreBusyError: Another process is writing results of the run.
            SettingsError: The folder is a URL, and not that of a run.
            StoreError: They cannot be written.
        """
        run = run_folder(folder)
        if (run / "run.json").exists():
            with publishing(run) as version:
                self._write(version)
        else:
            require_local(folder)
            self._write(run)

    def _write(self, folder: Path) -> None:
        write_atomically(folder / FRAME_FILE, self.table.write)
        facts = {
            "format_version": FORMAT_VERSION,
            "class_names": list(self.class_names),
            "is_multi_label": self.is_multi_label,
            "settings": asdict(self.settings),
            "window": list(self.window),
            "threshold": self.threshold if np.isfinite(self.threshold) else None,
            "fingerprint": self.fingerprint,
            "verdict": self.verdict.to_dict(),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "summary": self.summary(),
            "frame_sha256": sha256(folder / FRAME_FILE),
        }
        write_json(folder / FACTS_FILE, sealed(facts))

    @classmethod
    def load(cls, folder: Path | str) -> Self:
        """Read an audit that `save` wrote.

        Args:
            folder: The folder of a run, whose results in use are read, or another one.

        Raises:
            StoreNotFoundError: There is no audit in the folder.
            StoreVersionError: It was saved by another version of gwaudit.
            StoreDamagedError: A file is missing, was altered, or belongs to another ranking.
        """
        folder = run_folder(folder)
        place = results_of(folder)
        try:
            facts = _read_facts(folder)
            if sha256(place / FRAME_FILE) != facts["frame_sha256"]:
                raise ValueError(f"{FRAME_FILE} was altered, or belongs to another ranking")
            table = open_ranked_table(place / FRAME_FILE)
            settings = facts["settings"]
            window = settings["window"]
            return cls(
                table=table,
                class_names=tuple(facts["class_names"]),
                settings=RankingSettings(**{**settings, "window": window if window == "auto" else tuple(window)}),
                window=tuple(facts["window"]),
                threshold=float("inf") if facts["threshold"] is None else facts["threshold"],
                run=folder,
                fingerprint=facts["fingerprint"],
                is_multi_label=facts["is_multi_label"],
                verdict=Verdict.from_dict(facts["verdict"]),
                calibration=Calibration.from_dict(facts["calibration"]) if facts.get("calibration") else None,
            )
        except (ValueError, KeyError, TypeError, OSError, pa.ArrowException) as error:
            if isinstance(error, OSError) and is_absent(error):
                raise no_audit(folder) from None
            raise _broken(folder, error) from error


def require_audit(audit: Any) -> None:
    """Raise SettingsError unless a value is an `Audit`, as where it is the folder of one."""
    if not isinstance(audit, Audit):
        raise SettingsError(f"`audit` must be an Audit, gwaudit.Audit.load({str(audit)[:80]!r}), not the folder of one")


def rows_of(frame: pd.DataFrame, class_names: Sequence[str]) -> NDArray[np.int64]:
    """Return the store's row of each row of a frame: the sample's id, or `sample * C + class` with a column `class_id`.

    Args:
        frame: Rows with the column `sample_id`, and `class_id` in multi-label data.
        class_names: The C classes.
    """
    ids = frame["sample_id"].to_numpy(np.int64)
    if "class_id" not in frame:
        return ids
    return np.asarray(ids * len(class_names) + frame["class_id"].to_numpy(np.int64))


def recorded_verdict(folder: Path | str) -> Verdict | None:
    """Read the verdict on a run; None if the run is not ranked, or its audit is of another version.

    Raises:
        StoreDamagedError: The audit is broken.
    """
    try:
        with suppress(FileNotFoundError, NotADirectoryError, StoreVersionError):
            return Verdict.from_dict(_read_facts(run_folder(folder))["verdict"])
    except (ValueError, KeyError, TypeError) as error:
        raise _broken(folder, error) from error
    return None


def _broken(folder: Path | str, error: Exception) -> StoreDamagedError:
    return StoreDamagedError(f"the audit in {folder} is broken ({error}): rank the run again")


def _read_facts(folder: Path) -> dict[str, Any]:
    """Read `audit.json`; raise StoreVersionError if it is of another version, ValueError if it is damaged."""
    facts = unsealed(read_json(results_of(folder) / FACTS_FILE))
    if facts.get("format_version") != FORMAT_VERSION or not {"frame_sha256", "verdict"} <= facts.keys():
        raise StoreVersionError(
            f"the audit in {folder} was saved by another version of gwaudit: rank the run again (gwaudit rank {folder})"
        )
    return facts
