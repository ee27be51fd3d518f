"""Calibrate an audit on decisions of people: probabilities, order, cut and suggested labels of the undecided ones.

A decision is about the label of a sample; in multi-label data about that of a (sample, class), present or absent.
`gwaudit.analysis.calibration` refits the odds. Decided labels stand at both ends of the ranking, as people
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

from gwaudit.analysis.audit import CALIBRATED_COLUMNS, Audit, rows_of
from gwaudit.analysis.calibration import Calibration, Evidence, probability_after_answers, refit_log_odds
from gwaudit.analysis.error_probability import sigmoid
from gwaudit.analysis.flagging import CATEGORIES, categorise, flag, settings_to_flag
from gwaudit.analysis.latent_scores import nearest_neighbours, vote
from gwaudit.analysis.ranked_table import RankedTable
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
another class change it for the undecided samples of both classes. (In multi-label data there is only one other label.)
"""

DECIDED_LOG_ODDS = 50.0
"""Log odds of a decided label, above or below those of all others."""


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
        audit: Audit, calibrated before or not.
        decisions: One row a decided label, with the columns `sample_id`, `class_id` in multi-label data alone,
            `decision` ("keep", "relabel", "drop" or "unsure", which decides nothing) and `label` (index of the new
            class; read where it is relabelled).
        is_random: [n] whether the decision on each label, by its row in the store, is part of a random sample; by
            default none is.
        votes: [n] margin of the neighbours' vote against each label, one more part of the evidence
            (`votes_of_neighbours`); by default it has no such part.
    """
    decided = decisions[decisions["decision"].isin(["keep", "relabel", "drop"])]
    decided = decided.sort_values([name for name in ("sample_id", "class_id") if name in decided])
    if decided.empty and audit.calibration is None:
        return audit
    frame, ids = _unsupervised(audit.frame), rows_of(decided, audit.class_names)
    rows = pd.Index(rows_of(frame, audit.class_names)).get_indexer(pd.Index(ids))
    wrong = (decided["decision"] != "keep").to_numpy(bool)
    too_few, unlearned = _not_judged(audit, frame)
    refit = refit_log_odds(_evidence(frame, audit, votes), rows, wrong, ~(too_few | unlearned))
    log_odds = frame["unsupervised_log_odds"].to_numpy(np.float64) if decided.empty else refit.log_odds
    log_odds, probability = log_odds.copy(), sigmoid(log_odds)
    probability[rows] = probability_after_answers(log_odds[rows], wrong, refit.answer_error)
    log_odds[rows] = np.where(wrong, DECIDED_LOG_ODDS, -DECIDED_LOG_ODDS)
    frame["decision"] = ""
    frame.loc[rows, "decision"] = decided["decision"].to_numpy(object)
    if not decided.empty:
        _learn_suggestions(frame, rows, decided, audit.answers)
    calibration = None
    if not decided.empty:
        random = 0 if is_random is None else int(is_random[ids].sum())
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


def _not_judged(audit: Audit, frame: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return whether each row is about a class of too few samples to judge its labels, or one not learned, [n] each."""
    labels = audit.by_id("given_label").astype(np.int64)
    if audit.is_multi_label:
        labels = labels.reshape(-1, len(audit.class_names))
    classes = frame["class_id" if audit.is_multi_label else "given_label"].to_numpy(np.int64)
    too_few = np.asarray(small_classes(labels, len(audit.class_names))[classes])
    return too_few, np.isin(classes, np.unique(classes[frame["category"] == "unlearned"]))


def _evidence(frame: pd.DataFrame, audit: Audit, votes: NDArray[np.float64] | None) -> Evidence:
    parts = [sign * frame[name].to_numpy(np.float64) for name, sign in PARTS.items() if name in frame]
    if {"mean_loss", "mean_margin"} <= set(frame.columns):
        parts.append(-(frame["mean_loss"] + frame["mean_margin"]).to_numpy(np.float64))
    if votes is not None:
        parts.append(votes[rows_of(frame, audit.class_names)])
    given = frame["given_label"].to_numpy(np.int64)
    # Missing and extra labels are groups where a class is the pair: errors of one class may go one way alone.
    pair = given * (len(audit.class_names) + 1) + frame["suggested_label"].to_numpy(np.int64)
    if audit.is_multi_label:
        pair = frame["class_id"].to_numpy(np.int64) * 2 + given
    return Evidence(
        frame["unsupervised_log_odds"].to_numpy(np.float64),
        np.stack(parts, 1) if parts else np.empty((len(frame), 0)),
        given,
        pair,
    )


def _learn_suggestions(
    frame: pd.DataFrame, rows: NDArray[np.integer], decided: pd.DataFrame, answers: tuple[str, ...]
) -> None:
    """Change suggestions: to the class chosen for the sample, or to the one chosen most for others of its classes."""
    relabelled = (decided["decision"] == "relabel").to_numpy(bool)
    rows, chosen = rows[relabelled], decided["label"].to_numpy(np.int64)[relabelled]
    given, suggested = (frame[name].to_numpy(np.int64) for name in ("given_label", "suggested_label"))
    votes = pd.DataFrame({"given": given[rows], "suggested": suggested[rows], "label": chosen})
    learned = suggested.copy()
    for _, of_pair in votes.groupby(["given", "suggested"]):
        of_given, of_suggested = (int(of_pair[name].iloc[0]) for name in ("given", "suggested"))
        counts = np.bincount(of_pair["label"].to_numpy(), minlength=len(answers))
        if of_suggested >= 0:
            counts[of_suggested] += SUGGESTION_WEIGHT
            if counts.max() > counts[of_suggested]:
                learned[(given == of_given) & (suggested == of_suggested)] = counts.argmax()
    learned[rows] = chosen
    names = np.array([*answers, ""], object)  # the last is that of -1
    frame["suggested_label"] = learned.astype(frame["suggested_label"].to_numpy().dtype)
    frame["suggested_name"] = names[learned]


def _digest(decided: pd.DataFrame) -> str:
    names = [name for name in ("sample_id", "class_id", "decision", "label") if name in decided]
    lines = decided[names].astype(str).agg(" ".join, axis=1)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _besides(settings: RankingSettings, n_wrong: int, most: int) -> RankingSettings:
    """Return settings that flag the labels that people found wrong besides the number that the user set.

    Args:
        settings: The settings; their `top` and `budget` are of labels to review.
        n_wrong: Number of labels that people found wrong, which stand first.
        most: Number of labels that people did not find right, which stand last.
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
    too_few, unlearned = _not_judged(audit, frame)
    too_few[decided] = unlearned[decided] = False
    rounded = log_odds.astype(np.float32)
    order = np.lexsort((np.arange(len(frame)), -np.where(too_few | unlearned, np.float32(np.nan), rounded)))
    n_wrong = int((log_odds[decided] > 0).sum())
    settings = settings_to_flag(
        _besides(audit.settings, n_wrong, len(frame) - (len(decided) - n_wrong)), is_trusted=audit.has_probabilities
    )
    judged = np.where(too_few | unlearned, np.float32(np.nan), rounded)
    word = probability.copy()  # people's decisions: they alone make a decided sample a suspect
    word[decided] = log_odds[decided] > 0
    flagged, threshold = flag(judged[order], word[order], settings)
    found_right = np.zeros(len(frame), bool)
    found_right[decided] = log_odds[decided] <= 0
    flagged &= ~found_right[order]  # a count may be higher than the number of labels that can be judged
    frame = frame.assign(log_odds_wrong=rounded, probability_wrong=probability.astype(np.float32))
    frame = frame.iloc[order].reset_index(drop=True)
    thirds = (frame.reindex(columns=[f"{third}_alignment"]).to_numpy()[:, 0] for third in ("early", "late"))
    category = CATEGORIES[categorise(rounded[order], too_few[order], unlearned[order], flagged, *thirds)]
    frame = frame.assign(rank=np.arange(1, len(frame) + 1), suspect=flagged, category=category)
    return replace(audit, table=RankedTable(frame), threshold=threshold)
