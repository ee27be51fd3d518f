"""`gwaudit monitor`: the terminal, the CSV file, the JSON, and groups of the user's own."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from gwaudit import TrainingSettings, TrajectoryStore, train
from gwaudit.analysis.groups import NO_GROUP
from gwaudit.analysis.monitor import group_readings, readings, rule_choices
from gwaudit.analysis.stopping import stopping_rule
from gwaudit.cli.app import app
from gwaudit.cli.show.monitor import sparkline
from gwaudit.core.errors import DataError
from gwaudit.pipeline.groups import read_groups
from gwaudit.store.store import SIGNALS
from helpers.making import few_digits

EPOCHS = 8


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("monitor") / "run"
    train(few_digits(), path, TrainingSettings(epochs=EPOCHS, batch_size=64, augment="none", learning_rate=0.05))
    return path


def monitor(*arguments):
    return CliRunner().invoke(app, ["monitor", *map(str, arguments)])


def test_the_terminal_tells_of_epochs_rules_and_groups(run):
    result = monitor(run, "--groups", "class")
    assert result.exit_code == 0, result.output
    for text in ("GWA", "gwa-scratch", "labelwave", f"Groups after epoch {EPOCHS}, least aligned first"):
        assert text in result.output
    assert "validation" not in result.output  # nothing was held out


def test_numbers_are_whole_in_a_narrow_terminal(run, monkeypatch):
    monkeypatch.setattr("gwaudit.cli.show.console.out.width", 80)
    shown = monitor(run, "--groups", "class").output
    groups = shown[shown.index("Groups after") :]
    assert "…" not in groups
    assert max(map(len, groups.splitlines())) <= 80


def test_the_json_holds_what_python_reads_with_epochs_from_one(run):
    told = json.loads(monitor(run, "--json").stdout)
    with TrajectoryStore.open(run) as store:
        signals = readings(store)
    assert [epoch["epoch"] for epoch in told["epochs"]] == list(range(1, EPOCHS + 1))
    assert [epoch["gwa"] for epoch in told["epochs"]] == pytest.approx(signals["gwa"].tolist())
    by_rule = {said["rule"]: said for said in told["rules"]}
    curves = {name: signals[name].tolist() for name in signals}
    assert by_rule["gwa-scratch"]["epoch"] == stopping_rule("gwa-scratch").choose(curves, EPOCHS).epoch + 1
    assert "groups" not in told


def test_a_rule_online_ends_when_its_choice_has_stood(run):
    with TrajectoryStore.open(run) as store:
        signals = readings(store)
    peaked = signals.assign(validation_accuracy=[0.1, 0.2, 0.9, 0.3, 0.3, 0.3, 0.3, 0.95])
    said = {choice.rule: choice for choice in rule_choices(peaked, total_epochs=EPOCHS, patience=3)}["validation"]
    assert (said.hindsight.epoch, said.online.epoch, said.trained) == (7, 2, 6)


def test_groups_of_the_users_own_become_rows_of_a_csv_file(run, tmp_path):
    with TrajectoryStore.open(run) as store:
        keys, alignment = store.keys(), store.read_epoch(0, ["alignment"])["alignment"].to_numpy()
    sites = np.where(np.arange(len(keys)) % 3 == 0, "=north", "süd")
    pd.DataFrame({"key": keys, "site": sites, "note": "x"}).iloc[::-1].to_csv(tmp_path / "sites.csv", index=False)
    written = tmp_path / "by-epoch.csv"
    result = monitor(run, "--groups", tmp_path / "sites.csv", "--group-column", "Site", "-o", written)
    assert result.exit_code == 0, result.output
    table = pd.read_csv(written)
    assert len(table) == 2 * EPOCHS
    north = table[(table["epoch"] == 1) & (table["group"] == "'=north")].iloc[0]  # no formula in a spreadsheet
    assert north["count"] == (sites == "=north").sum()
    assert north["directional_alignment"] == pytest.approx(alignment[sites == "=north"].mean(), abs=1e-6)


def test_samples_that_the_file_does_not_name_are_a_group_of_their_own(run, tmp_path):
    (tmp_path / "sites.csv").write_text("sample_id;site\n5;a\n7;\n")
    with TrajectoryStore.open(run) as store:
        groups = read_groups(store, tmp_path / "sites.csv")
        counts = group_readings(store, groups).loc[0, "count"]
    assert counts.to_dict() == {"a": 1, NO_GROUP: store.n_samples - 1}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("key,site\nnowhere,a\n", "name no sample.* 'nowhere' \\(row 2\\)"),
        ("sample_id,site\n3,a\n3,b\n", "row 3.*has a group already, in row 2"),
        ("sample_id,site,camera\n3,a,b\n", "2 columns of groups"),
        ("sample_id\n3\n", "no column of groups beside sample_id"),
        ("name,site\n3,a\n", "call this column sample_id"),
    ],
)
def test_a_file_that_does_not_fit_says_where(run, tmp_path, text, why):
    (tmp_path / "sites.csv").write_text(text)
    with TrajectoryStore.open(run) as store, pytest.raises(DataError, match=why):
        read_groups(store, tmp_path / "sites.csv")
    result = monitor(run, "--groups", tmp_path / "sites.csv")
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "why"),
    [(["--epoch", "9"], "epochs 1 to 8"), (["--group-column", "site"], "give the file with --groups")],
)
def test_what_is_not_there_is_refused(run, arguments, why):
    result = monitor(run, *arguments)
    assert result.exit_code == 2
    assert why in result.output


def test_pairs_are_grouped_by_their_class(tmp_path):
    random = np.random.default_rng(0)
    given = random.integers(0, 2, (20, 2))
    with TrajectoryStore.create(tmp_path / "run", given_labels=given, class_names=("sun", "rain")) as store:
        signals = {name: np.zeros(40, kind) for name, kind in SIGNALS.items()}
        store.append_epoch(0, np.arange(40), signals | {"alignment": random.normal(size=40)})
        assert group_readings(store).loc[0, "count"].to_dict() == {"rain": 20, "sun": 20}


def test_sparklines_keep_their_width():
    assert sparkline([0.0, 1.0, math.nan], 0.0, 1.0) == "▁█ "
    assert len(sparkline(list(np.linspace(0, 1, 200)), 0.0, 1.0)) == 40
    assert sparkline([2.0, 2.0], 2.0, 2.0) == "▁▁"
