"""Pairs of classes, and groups, that disagree far above the rest are questions; uniform errors ask nothing."""

from dataclasses import replace

import numpy as np
import pytest

from gwaudit.analysis.calibrated_audit import calibrate
from gwaudit.analysis.guidelines import group_questions, guideline_questions
from gwaudit.analysis.verdict import Verdict
from helpers.audits import make_audit, make_decisions

NAMES = ["car", "truck", "cat", "dog"]


def audit_of(seen, given):
    """An audit of samples that a network sees as these classes, the disagreeing ones first."""
    differs = np.asarray(seen) != given
    audit = make_audit(
        [f"k{i}" for i in range(len(given))], given, NAMES, suggested=np.where(differs, seen, (given + 1) % 4),
        log_odds=np.where(differs, 1.0, -1.0) - np.arange(len(given)) / 1e4,
    )  # fmt: skip
    audit.frame["predicted_label"] = np.asarray(seen)[audit.frame["sample_id"]]
    return audit


@pytest.fixture
def trucks():
    """400 samples of each class; the network calls 30 trucks cars, and 2 of every other pair something else."""
    given = np.repeat(np.arange(4), 400)
    seen = given.copy()
    for label in range(4):
        for step in (1, 2, 3):
            first = 400 * label + 30 + 2 * step
            seen[first : first + 2] = (label + step) % 4
    seen[400:430] = 0
    return audit_of(seen, given)


def test_a_pair_far_above_the_rest_is_a_question_with_examples_of_both_sides(trucks):
    [question] = guideline_questions(trucks)
    assert (question.given, question.other, question.samples) == ("truck", "car", 32)
    assert question.share == pytest.approx(32 / 400)
    assert question.usual < 0.01
    assert question.examples == ("k400", "k401", "k402")
    assert len(question.examples_of_other) == 3
    assert all(int(key[1:]) < 400 for key in question.examples_of_other)


def test_uniform_errors_ask_nothing():
    random = np.random.default_rng(0)
    given = np.repeat(np.arange(4), 400)
    seen = np.where(random.random(1600) < 0.2, random.integers(0, 4, 1600), given)
    assert guideline_questions(audit_of(seen, given)) == ()


def test_a_few_samples_are_mistakes_and_no_question():
    given = np.repeat(np.arange(4), 400)
    seen = given.copy()
    seen[400:405] = 0
    assert guideline_questions(audit_of(seen, given)) == ()


def test_decided_samples_are_no_longer_asked_about(trucks):
    rows = [(i, "keep") for i in range(400, 430)]
    frame = make_decisions(trucks, *rows).assign(label=1)
    assert guideline_questions(calibrate(trucks, frame)) == ()


@pytest.mark.parametrize("change", [{"verdict": Verdict("do not use")}, {"is_multi_label": True}])
def test_a_ranking_not_to_use_and_multi_label_data_ask_nothing(trucks, change):
    assert guideline_questions(replace(trucks, **change)) == ()


def test_an_annotator_who_differs_is_named(trucks):
    annotator = ["a" if i % 10 else "b" for i in range(1600)]
    for i in range(400, 430):
        annotator[i] = "b"
    [question] = group_questions(trucks, {"annotator": annotator, "batch": ["one"] * 1600, "camera": [""] * 1600})
    assert (question.column, question.group) == ("annotator", "b")
    assert question.share > 3 * question.usual
