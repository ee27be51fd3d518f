"""Calibrate an audit on decisions of people: probabilities, order, cut and suggested labels of the undecided samples.

`gwaudit.analysis.calibration` refits the odds. Decided samples stand at both ends of the ranking, as people
decided, and are suspects or not by the decision alone. Their probability is that of a wrong label, given the decision
and the evidence: 1 or 0 where no decision seems to be wrong, and less extreme where some do. The unsupervised ranking
stays in columns of its own (`CALIBRATED_COLUMNS`), and every later calibration starts from it: the order of decisions
does not matter.
"""

import hashlib
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.analysis.audit import CALIBRATED_COLUMNS, Audit
from gwaudit.analysis.calibration import Calibration, Evidence, probability_after_answers, refit_log_odds
from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.flagging import CATEGORIES, categorise, flag, settings_to_flag
from gwaudit.analysis.latent_scores import nearest_neighbours, vote
from gwaudit.analysis.ranked_table import RankedTable
from gwaudit.core.errors import DataError
from gwaudit.core.settings import RankingSettings
from gwaudit.data.class_sizes import small_classes
from gwaudit.store.latents import read_latents

PARTS = {
    "mean_gap": -1.0, "mean_margin": -1.0, "mean_loss": 1.0, "mean_given_probability": -1.0, "share_negative": 1.0,
    "alternative_votes": 1.0, "times_forgotten": 1.0,
}  # fmt: skip
"""The parts of the evidence that the order is refitted on, with the sign of suspicion. The log probability of the
suggested label, -(loss + margin), is one more, and so is the vote of the nearest neighbours where the run keeps
latents."""

SUGGESTION_WEIGHT = 2
"""Number of relabelled samples of one given and suggested class that the suggestion counts as: more decisions for
another class change it for the undecided samples of both classes."""

DECIDED_LOG_ODDS = 50.0
"""Log odds of a decided sample, above or below those of all others."""


def votes_of_neighbours(audit: Audit) -> NDArray[np.float64] | None:
    """Return the margin of the nearest neighbours' vote against each label, [n]; None where the run keeps no latents.

    Raises:
        StoreDamagedError: The latents were altered.
    """
    kept = None if audit.is_multi_label else read_latents(audit.run)
    if kept is None:
        return None
    given = audit.by_id("given_label").astype(np.int64)
    return vote(given, nearest_neighbours(kept[0]), len(audit.class_names))[0]


def calibrate(
    audit: Audit,
    decisions: pd.DataFrame,
    is_random: NDArray[np.bool_] | None = None,
    votes: NDArray[np.float64] | None = None,
) -> Audit:
    """Return the audit under odds that are refitted on decisions; the unsupervised audit where nothing is decided.

    Args:
        audit: Audit with one label a sample, calibrated before or not.
        decisions: One row a decided sample, with the columns `sample_id`, `decision` ("keep", "relabel", "drop" or
            "unsure", which decides nothing) and `label` (index of the new class; read where it is relabelled).
        is_random: [n] whether the decision on each sample is part of a random sample; by default none is.
        votes: [n] margin of the neighbours' vote against each label, one more part of the evidence
            (`votes_of_neighbours`); by default it has no such part.

    Raises:
        DataError: The audit is multi-label.
    """
    if audit.is_multi_label:
        raise DataError(f"decisions are about the one label of a sample, and {audit.run} is multi-label")
    decided = decisions[decisions["decision"].isin(["keep", "relabel", "drop"])].sort_values("sample_id")
    if decided.empty and audit.calibration is None:
        return audit
    frame = _unsupervised(audit.frame)
    rows = pd.Index(frame["sample_id"]).get_indexer(decided["sample_id"])
    wrong = (decided["decision"] != "keep").to_numpy(bool)
    given = frame["given_label"].to_numpy(np.int64)
    is_counted = ~small_classes(given, len(audit.class_names))[given]
    refit = refit_log_odds(_evidence(frame, len(audit.class_names), votes), rows, wrong, is_counted)
    log_odds = frame["unsupervised_log_odds"].to_numpy(np.float64) if decided.empty else refit.log_odds
    log_odds, probability = log_odds.copy(), sigmoid(log_odds)
    probability[rows] = probability_after_answers(log_odds[rows], wrong, refit.answer_error)
    log_odds[rows] = np.where(wrong, DECIDED_LOG_ODDS, -DECIDED_LOG_ODDS)
    frame["decision"] = ""
    frame.loc[rows, "decision"] = decided["decision"].to_numpy(object)
    if not decided.empty:
        _learn_suggestions(frame, rows, decided, audit.class_names)
    calibration = None
    if not decided.empty:
        random = 0 if is_random is None else int(is_random[decided["sample_id"].to_numpy(np.int64)].sum())
        calibration = Calibration(
            len(rows), int(wrong.sum()), random, refit.scale, refit.answer_error, _digest(decided), refit.left
        )
    else:
        frame = frame.drop(columns=list(CALIBRATED_COLUMNS))
    return _ranked(replace(audit, calibration=calibration), frame, log_odds, probability, rows)


def _unsupervised(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame in its unsupervised order, with unsupervised suggestions; both in columns of their own too."""
    if "unsupervised_rank" in frame:
        frame = frame.sort_values("unsupervised_rank", ignore_index=True)
        names = dict(zip(frame["suggested_label"], frame["suggested_name"], strict=True))
        names |= dict(zip(frame["given_label"], frame["given_name"], strict=True))
        changed = frame["suggested_label"] != frame["unsupervised_label"]
        restored = frame["unsupervised_label"].map(lambda label: names.get(label, ""))
        return frame.assign(
            suggested_label=frame["unsupervised_label"],
            suggested_name=frame["suggested_name"].where(~changed, restored),
        )
    return frame.assign(
        unsupervised_rank=frame["rank"],
        unsupervised_log_odds=frame["log_odds_wrong"],
        unsupervised_label=frame["suggested_label"],
    )


def _evidence(frame: pd.DataFrame, n_classes: int, votes: NDArray[np.float64] | None) -> Evidence:
    parts = [sign * frame[name].to_numpy(np.float64) for name, sign in PARTS.items() if name in frame]
    if {"mean_loss", "mean_margin"} <= set(frame.columns):
        parts.append(-(frame["mean_loss"] + frame["mean_margin"]).to_numpy(np.float64))
    if votes is not None:
        parts.append(votes[frame["sample_id"].to_numpy(np.int64)])
    given = frame["given_label"].to_numpy(np.int64)
    return Evidence(
        frame["unsupervised_log_odds"].to_numpy(np.float64),
        np.stack(parts, 1) if parts else np.empty((len(frame), 0)),
        given,
        given * (n_classes + 1) + frame["suggested_label"].to_numpy(np.int64),
    )


def _learn_suggestions(
    frame: pd.DataFrame, rows: NDArray[np.integer], decided: pd.DataFrame, class_names: tuple[str, ...]
) -> None:
    """Change suggestions: to the class chosen for the sample, or to the one chosen most for others of its classes."""
    relabelled = (decided["decision"] == "relabel").to_numpy(bool)
    rows, chosen = rows[relabelled], decided["label"].to_numpy(np.int64)[relabelled]
    given, suggested = (frame[name].to_numpy(np.int64) for name in ("given_label", "suggested_label"))
    votes = pd.DataFrame({"given": given[rows], "suggested": suggested[rows], "label": chosen})
    learned = suggested.copy()
    for _, of_pair in votes.groupby(["given", "suggested"]):
        of_given, of_suggested = (int(of_pair[name].iloc[0]) for name in ("given", "suggested"))
        counts = np.bincount(of_pair["label"].to_numpy(), minlength=len(class_names))
        if of_suggested >= 0:
            counts[of_suggested] += SUGGESTION_WEIGHT
            if counts.max() > counts[of_suggested]:
                learned[(given == of_given) & (suggested == of_suggested)] = counts.argmax()
    learned[rows] = chosen
    names = np.array([*class_names, ""], object)  # the last is that of -1
    frame["suggested_label"] = learned.astype(frame["suggested_label"].to_numpy().dtype)
    frame["suggested_name"] = names[learned]


def _digest(decided: pd.DataFrame) -> str:
    lines = decided[["sample_id", "decision", "label"]].astype(str).agg(" ".join, axis=1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _besides(settings: RankingSettings, n_wrong: int, most: int) -> RankingSettings:
    """Return settings that flag the samples that people found wrong besides the number that the user set.

    Args:
        settings: The settings; their `top` and `budget` are of samples to review.
        n_wrong: Number of samples that people found wrong, which stand first.
        most: Number of samples that people did not find right, which stand last.
    """

    def besides(count: int | None) -> int | None:
        return None if count is None else min(count + n_wrong, most)

    return replace(settings, top=besides(settings.top), budget=besides(settings.budget))


def _ranked(
    audit: Audit,
    frame: pd.DataFrame,
    log_odds: NDArray[np.float64],
    probability: NDArray[np.float64],
    decided: NDArray[np.integer],
) -> Audit:
    """Return the audit of other log odds and probabilities, [n] in the order of the frame."""
    labels = frame["given_label"].to_numpy(np.int64)
    too_few = small_classes(labels, len(audit.class_names))[labels]
    too_few[decided] = False
    rounded = log_odds.astype(np.float32)
    order = np.lexsort((np.arange(len(frame)), -np.where(too_few, np.float32(np.nan), rounded)))
    n_wrong = int((log_odds[decided] > 0).sum())
    settings = settings_to_flag(
        _besides(audit.settings, n_wrong, len(frame) - (len(decided) - n_wrong)), is_trusted=audit.has_probabilities
    )
    judged = np.where(too_few, np.float32(np.nan), rounded)
    word = probability.copy()  # people's decisions: they alone make a decided sample a suspect
    word[decided] = log_odds[decided] > 0
    flagged, threshold = flag(judged[order], word[order], settings)
    frame = frame.assign(log_odds_wrong=rounded, probability_wrong=probability.astype(np.float32))
    frame = frame.iloc[order].reset_index(drop=True)
    thirds = (frame.reindex(columns=[f"{third}_alignment"]).to_numpy()[:, 0] for third in ("early", "late"))
    category = CATEGORIES[categorise(rounded[order], too_few[order], flagged, *thirds)]
    frame = frame.assign(rank=np.arange(1, len(frame) + 1), suspect=flagged, category=category)
    return replace(audit, table=RankedTable(frame), threshold=threshold)
