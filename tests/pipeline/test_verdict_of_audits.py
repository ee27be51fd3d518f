"""Audits of data that cannot be judged end with a warning, and those of data that can be learned do not."""

import numpy as np
import pandas as pd
import pytest

from gwaudit import DataSettings, RankingSettings, TrainingSettings, audit
from gwaudit.pipeline.rank import rank_again
from helpers.command import gwaudit

N = 240


def write_table(path, kind):
    """Write a table of three classes; a tenth of the labels of "errors" and of "memorised" is wrong."""
    random = np.random.default_rng(0)
    labels = np.arange(N) % 3
    values = random.normal(size=(N, 8))
    if kind != "unrelated":
        values[np.arange(N), labels] += 6
    given = labels.copy()
    if kind in ("errors", "memorised"):
        given[::10] = (given[::10] + 1) % 3
    frame = pd.DataFrame(values, columns=list("abcdefgh")).assign(label=np.array(["x", "y", "z"])[given])
    frame.to_csv(path, index=False)
    return DataSettings(str(path), label_column="label")


def audited(tmp_path, kind, **training):
    training = {"epochs": 10, "head": "linear", "folds": 5, **training}
    return audit(write_table(tmp_path / "table.csv", kind), tmp_path / "run", TrainingSettings(**training)).audit


@pytest.mark.parametrize(("kind", "suspects"), [("clean", 0), ("errors", N // 10)])
def test_classes_that_are_learned_are_trusted(tmp_path, kind, suspects):
    result = audited(tmp_path, kind)
    assert result.verdict.level == "trust it", result.verdict.findings
    assert len(result.suspects) == pytest.approx(suspects, abs=1)


def test_labels_without_relation_to_the_inputs_are_not_used(tmp_path):
    result = audited(tmp_path, "unrelated")
    assert result.verdict.level == "do not use"
    assert "learned nothing" in result.verdict.findings[0].reason
    assert result.summary()["suspects"] is result.summary()["expected_wrong"] is None
    done = gwaudit("rank", tmp_path / "run", "--strict")
    assert done.returncode == 4
    assert "Do not use this ranking" in done.stdout
    assert "Expected wrong" not in done.stdout
    assert "P(wrong)" not in done.stdout
    assert not (tmp_path / "run" / "cleaned").exists()
    rank_again(tmp_path / "run", RankingSettings(force=True))
    assert (tmp_path / "run" / "cleaned" / "drop").is_dir()


def test_a_head_that_memorised_wrong_labels_does_not_say_that_there_are_none(tmp_path):
    result = audited(tmp_path, "memorised", head="mlp", folds=1, epochs=100)
    assert result.verdict.level != "trust it" or len(result.suspects) == pytest.approx(N // 10, abs=2)


def test_a_head_that_judges_what_it_learned_gives_an_order_only(tmp_path):
    write_table(tmp_path / "table.csv", "errors")
    command = ("audit", tmp_path / "table.csv", "--label-column", "label", "--epochs", "10", "--head", "linear")
    done = gwaudit(*command, "--folds", "1", "-o", tmp_path / "run")
    assert "Use the order, not the count" in done.stdout, done.stderr
    assert "a single head learned all the labels that it judges" in done.stdout
    assert "Leave --folds out" in done.stdout
    folded = gwaudit(*command, "-o", tmp_path / "folded")
    assert "Trust it" in folded.stdout, folded.stderr


@pytest.mark.parametrize("shares", [(0.05, 0.35, 0.9), (0.03, 0.2, 0.4, 0.85)])
def test_outcomes_that_the_inputs_determine_in_part_are_not_counted_as_wrong_labels(tmp_path, shares):
    random = np.random.default_rng(1)
    group = random.integers(0, len(shares), 600)
    frame = pd.DataFrame({"group": np.array(list("abcd"))[group], "age": random.normal(40, 10, 600)})
    frame["left"] = np.where(random.random(600) < np.array(shares)[group], "yes", "no")
    frame.to_csv(tmp_path / "table.csv", index=False)
    data = DataSettings(str(tmp_path / "table.csv"), label_column="left")
    result = audit(data, tmp_path / "run", TrainingSettings(epochs=10, head="mlp", weight_decay=0.02)).audit
    assert result.verdict.level != "trust it"
