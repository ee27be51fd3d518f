"""A run holds alignments of one form, with the head's bias or without it, says which, and never mixes the two."""

import html
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from gwaudit import AlignmentRecorder, TrainingSettings, TrajectoryStore, load_dataset, train
from gwaudit.core.errors import SettingsError, StoreDamagedError
from gwaudit.core.json import sealed
from gwaudit.core.presets import PRESETS, RECIPES, RefinementSettings
from gwaudit.core.settings import ALIGNMENTS
from helpers.command import gwaudit
from helpers.gradients import head_cosines
from helpers.version_1 import write_version_1

N, CLASSES = 12, ["a", "b", "c"]
LABELS = torch.arange(N) % 3
INPUTS = torch.randn(N, 5, generator=torch.Generator().manual_seed(0))
SETTINGS = TrainingSettings(epochs=1, device="cpu", dtype="float32", model="resnet20_gn")


def model():
    torch.manual_seed(1)
    return nn.Linear(5, 3)


def create(path, **options):
    return TrajectoryStore.create(path, given_labels=LABELS.numpy(), class_names=CLASSES, **options)


def record(store):
    head = model()
    with store, AlignmentRecorder(head, store) as recorder:
        head(INPUTS)
        recorder.observe(range(N), LABELS)
        recorder.end_epoch()
    return store.read_block(store.next_epoch - 1, 0, ["alignment"])["alignment"]


def without_the_field(run):
    """Make a run one of before there was a choice."""
    fields = json.loads((run / "run.json").read_text())
    del fields["alignment"]
    (run / "run.json").write_text(json.dumps(sealed(fields)))
    return run


@pytest.mark.parametrize("form", ["head", "weight"])
def test_the_run_says_which_form_is_recorded(tmp_path, form):
    options = {} if form == "head" else {"alignment": form}
    recorded = record(create(tmp_path / "run", **options))
    head = model()
    np.testing.assert_allclose(
        recorded, head_cosines(INPUTS, LABELS, head.weight, head.bias, alignment=form), atol=1e-5
    )
    assert json.loads((tmp_path / "run" / "run.json").read_text())["alignment"] == form
    assert TrajectoryStore.open(tmp_path / "run").alignment == form


def test_a_loop_goes_on_with_an_earlier_run_in_the_form_that_it_has(tmp_path):
    create(tmp_path / "run").close()
    run = without_the_field(tmp_path / "run")
    first = record(TrajectoryStore.open(run, writable=True))
    second = record(TrajectoryStore.open(run, writable=True))
    head = model()
    without_bias = head_cosines(INPUTS, LABELS, head.weight, head.bias, alignment="weight")
    np.testing.assert_allclose(first, without_bias, atol=1e-5)
    np.testing.assert_array_equal(second, first)


def test_runs_of_version_1_have_the_form_of_their_time(tmp_path):
    write_version_1(tmp_path / "run", LABELS.numpy(), CLASSES, [])
    assert TrajectoryStore.open(tmp_path / "run").alignment == "weight"


def test_another_form_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="`alignment` must be one of head, weight, not 'bias'"):
        create(tmp_path / "run", alignment="bias")
    assert not (tmp_path / "run").exists()
    create(tmp_path / "run").close()
    fields = json.loads((tmp_path / "run" / "run.json").read_text())
    (tmp_path / "run" / "run.json").write_text(json.dumps(sealed({**fields, "alignment": "bias"})))
    with pytest.raises(StoreDamagedError, match=r"run\.json has no valid 'alignment'"):
        TrajectoryStore.open(tmp_path / "run")


@pytest.fixture(scope="module")
def features(tmp_path_factory):
    file = tmp_path_factory.mktemp("features") / "iris.csv"
    draw = np.random.default_rng(0)
    labels = np.arange(90) % 3
    rows = draw.normal(size=(90, 4)) + 2 * np.eye(4)[labels]
    lines = [",".join(f"{x:.4f}" for x in row) + f",{'abc'[label]}" for row, label in zip(rows, labels, strict=True)]
    file.write_text("\n".join(["w,x,y,z,label", *lines]) + "\n")
    return file


@pytest.mark.parametrize(("form", "other"), [("head", "weight"), ("weight", "head")])
def test_a_training_resumed_in_the_other_form_is_refused_with_the_way_on(features, tmp_path, form, other):
    table, settings = load_dataset(str(features), feature_columns="w,x,y,z"), replace(SETTINGS, alignment=form)
    train(table, tmp_path / "run", settings)
    assert TrajectoryStore.open(tmp_path / "run").alignment == form
    with pytest.raises(SettingsError) as refusal:
        train(table, tmp_path / "run", replace(SETTINGS, alignment=other), resume=True)
    assert f"recorded with `alignment='{form}'` ({ALIGNMENTS[form]}), not '{other}'" in str(refusal.value)
    assert f"epochs of both cannot be mixed: resume with `alignment='{form}'`" in str(refusal.value)
    assert train(table, tmp_path / "run", settings, resume=True).epochs == 1


@pytest.mark.parametrize("recipe", [None, *RECIPES])
def test_all_rounds_have_the_form_of_the_first_training(recipe):
    first = replace(SETTINGS, alignment="weight")
    assert RefinementSettings(refine=1, refine_as=recipe).training(first, 1).alignment == "weight"
    assert RefinementSettings(refine=1, refine_as=recipe).training(SETTINGS, 1).alignment == "head"


def test_settings_of_earlier_runs_are_read_as_without_the_bias():
    settings = SETTINGS.to_dict()
    assert TrainingSettings.from_dict(settings) == SETTINGS
    del settings["alignment"]
    assert TrainingSettings.from_dict(settings) == replace(SETTINGS, alignment="weight")
    assert {training.alignment for training, _ in PRESETS.values()} == {"head"}


def test_the_command_line_takes_and_shows_the_form(features, tmp_path):
    audit = ["audit", features, "--feature-columns", "w,x,y,z", "--epochs", "2", "-o"]
    gwaudit(*audit, tmp_path / "head")
    gwaudit(*audit, tmp_path / "weight", "--alignment", "weight")
    for form, phrase in ALIGNMENTS.items():
        assert f"alignment with {phrase}" in " ".join(gwaudit("show", tmp_path / form).stdout.split())
        page = html.unescape((tmp_path / form / "results" / "current" / "report.html").read_text())
        assert f"last layer, {phrase}, in" in " ".join(page.split())
    resumed = gwaudit(*audit, tmp_path / "weight", "--resume")
    assert resumed.returncode == 2
    assert "resume with --alignment weight" in " ".join(resumed.stderr.split())
    compared = gwaudit("compare", tmp_path / "head", tmp_path / "weight").stdout
    assert "E, K and GWA cannot be compared" in compared
    assert "cannot be compared" not in gwaudit("compare", tmp_path / "head", tmp_path / "head").stdout
