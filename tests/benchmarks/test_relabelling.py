"""The benchmark of relabelling on digits: the tool's order beside a random one, resumed, or refused at once."""

import json

import numpy as np
import pytest

from gwaudit.benchmarks.relabelling import ORDERS, oracle_decisions, read_rows, relabelling, split_off
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data.label_noise import add_label_noise
from helpers.audits import make_audit
from helpers.command import FAST, gwaudit
from helpers.making import few_digits

ARGUMENTS = [
    "benchmark",
    "relabelling",
    "digits",
    "--add-noise",
    "0.2",
    "--hold-out",
    "0.5",
    "--decisions",
    "120",
    *FAST,
    "--epochs",
    "12",  # after 4, the order and the accuracies still depend on the dtype
]


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory):
    folder = tmp_path_factory.mktemp("relabelling") / "out"
    done = gwaudit(*ARGUMENTS, "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder, done


@pytest.mark.slow
class TestOnDigits:
    def test_the_tools_order_corrects_far_more_than_a_random_one(self, benchmark):
        rows = {row.order: row for row in read_rows(benchmark[0])}
        assert tuple(rows) == ORDERS
        none, tool, random = (rows[order] for order in ORDERS)
        assert (none.decisions, tool.decisions, random.decisions) == (0, 120, 120)
        assert none.corrected == 0
        assert 10 <= random.corrected <= 40, "about a fifth"
        assert tool.corrected > 90
        for row in rows.values():
            assert row.wrong + row.corrected == none.wrong
            assert row.label_accuracy == pytest.approx(1 - row.wrong / row.samples)
            assert 0.15 < row.test_accuracy <= 1, "better than chance"
            assert row.seconds > 0

    def test_what_is_done_stays_done_also_without_its_runs_and_seeds_are_averaged(self, benchmark, tmp_path):
        folder, done = benchmark
        (tmp_path / "relabelling.json").write_bytes((folder / "relabelling.json").read_bytes())
        again = gwaudit(*ARGUMENTS, "-o", tmp_path)
        assert again.stdout == done.stdout
        assert "epoch" not in again.stderr, "nothing is trained again"
        assert json.loads(gwaudit(*ARGUMENTS, "-o", tmp_path, "--json").stdout)[1]["order"] == "gwaudit"
        other = gwaudit(*ARGUMENTS, "-o", tmp_path, "--epochs", "3")
        assert other.returncode == 2
        assert "rows of other data or trainings" in other.stderr

    def test_the_decisions_are_kept_as_people_would_have_written_them(self, benchmark):
        lines = (benchmark[0] / "seed-0" / "gwaudit-120" / "decisions.csv").read_text("utf-8-sig").splitlines()
        assert lines[0] == '"sample_id","key","given_name","decision","label"'
        assert len(lines) == 121


def test_an_oracle_keeps_what_is_right_and_corrects_what_is_wrong():
    audit = make_audit(["a", "b", "c"], [0, 1, 2], ["p", "q", "r"])
    frame = oracle_decisions(audit, np.array([0, 2, 2]), [2, 1])
    assert frame.to_numpy().tolist() == [[2, "c", "r", "keep", ""], [1, "b", "q", "relabel", "r"]]


def test_planted_errors_are_held_out_in_their_share():
    """The errors and the held out samples are drawn with one seed, and still apart from each other."""
    digits = few_digits()
    noisy = digits.with_labels(add_label_noise(digits.labels, 10, rate=0.2, seed=0), true_labels=digits.labels)
    rest, test = split_off(noisy, 0.25)
    assert (len(rest), len(test)) == (450, 150)
    assert not set(rest.keys) & set(test.keys)
    assert (rest.labels != rest.true_labels).mean() == pytest.approx(0.2, abs=0.05)
    truth = dict(zip(digits.keys, digits.labels, strict=True))
    assert [truth[key] for key in test.keys] == test.labels.tolist()


def test_what_cannot_work_is_refused_before_training(tmp_path):
    digits = few_digits()
    with pytest.raises(DataError, match="needs true labels"):
        relabelling(digits, digits, tmp_path, TrainingSettings(), decisions=5)
    known = digits.with_labels(digits.labels, true_labels=digits.labels)
    for decisions in (0, 601):
        with pytest.raises(SettingsError, match="must be from 1 to"):
            relabelling(known, digits, tmp_path, TrainingSettings(), decisions=decisions)
    with pytest.raises(SettingsError, match="between 0 and 1"):
        split_off(digits, 1.0)
    done = gwaudit("benchmark", "relabelling", "digits", "-o", tmp_path / "out")
    assert done.returncode == 2
    assert "has no splits, so there is no 'test'" in done.stderr
