"""Options are declared once, in the settings: their choices, defaults and texts are what `--help` shows."""

import re
from dataclasses import MISSING, fields, is_dataclass, replace
from typing import Literal, get_origin, get_type_hints

import pytest
import typer
from typer.testing import CliRunner

from gwaudit.analysis.detectors import DETECTORS
from gwaudit.analysis.stopping import recorded_rules
from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.cli import command as commands
from gwaudit.cli.options import attribute_texts, parse_seeds
from gwaudit.core.errors import SettingsError
from gwaudit.core.presets import PRESETS, RefinementSettings
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings
from gwaudit.export.formats import FORMATS, cleaned_formats
from helpers.command import gwaudit

SETTINGS = (DataSettings, TrainingSettings, RefinementSettings, RankingSettings)


@pytest.fixture
def parsed(monkeypatch):
    """The settings that a command with all of them receives."""
    app, received = typer.Typer(), {}

    def run(
        data: DataSettings, training: TrainingSettings, refinement: RefinementSettings, ranking: RankingSettings
    ) -> None:
        received.update(data=data, training=training, refinement=refinement, ranking=ranking)

    commands.command(app, "run")(run)
    app.callback()(lambda: None)

    def parse(*arguments):
        received.clear()
        result = CliRunner().invoke(app, ["run", *arguments])
        assert result.exit_code == 0, result.output
        return dict(received)

    return parse


def test_without_options_a_command_receives_the_defaults(parsed):
    assert parsed("digits") == {
        "data": DataSettings("digits"),
        "training": TrainingSettings(),
        "refinement": RefinementSettings(),
        "ranking": RankingSettings(),
    }


def test_epochs_are_counted_from_one_on_the_command_line_alone(parsed):
    assert parsed("digits", "--window", "2", "4")["ranking"] == RankingSettings(window=(1, 3))


def test_an_automatic_value_can_be_given(parsed):
    assert parsed("digits", "--cut", "1.5")["ranking"] == RankingSettings(cut=1.5)


def test_the_detector_has_its_earlier_name_too(parsed):
    for option in ("--detector", "--score"):
        assert parsed("digits", option, "margin")["ranking"] == RankingSettings(detector="margin")


def test_a_preset_changes_the_defaults_of_options_that_are_not_typed(parsed):
    training, refinement = PRESETS["quality"]
    settings = parsed("digits", "--preset", "quality", "--refine", "1")
    assert settings["training"] == training
    assert settings["refinement"] == RefinementSettings(refine=1, refine_as=refinement.refine_as)
    # A typed option has priority also where it is the default.
    assert parsed("digits", "--preset", "quality", "--batch-size", "512")["training"].batch_size == 512


def test_train_takes_the_presets_of_a_single_training_and_refuses_the_others():
    received = []

    def train(data: DataSettings, training: TrainingSettings) -> None:
        received.append(training)

    app = typer.Typer()
    commands.command(app, "train")(train)
    app.callback()(lambda: None)
    for preset in ("pretrained", "fine-tune", "scratch", "scratch-5min"):
        assert CliRunner().invoke(app, ["train", "digits", "--preset", preset]).exit_code == 0
        assert received[-1] == PRESETS[preset][0]
    assert CliRunner().invoke(app, ["train", "digits", "--preset", "fine-tune", "--epochs", "3"]).exit_code == 0
    assert received[-1] == replace(PRESETS["fine-tune"][0], epochs=3)
    for preset in ("fast", "quality"):
        refused = CliRunner().invoke(app, ["train", "digits", "--preset", preset])
        assert refused.exit_code == 2
        assert "`gwaudit audit`" in refused.output
        assert "pretrained, fine-tune, scratch, scratch-5min" in refused.output.replace("\n", " ")
    assert len(received) == 5


def test_settings_that_other_settings_hold_are_options_with_the_values_held():
    app, received = typer.Typer(), []

    def run(settings: StoppingSettings) -> None:
        received.append(settings)

    commands.command(app, "run")(run)
    app.callback()(lambda: None)
    assert CliRunner().invoke(app, ["run"]).exit_code == 0
    assert CliRunner().invoke(app, ["run", "--epochs", "7", "--patience", "2"]).exit_code == 0
    held = StoppingSettings().training
    assert received == [StoppingSettings(), StoppingSettings(patience=2, training=replace(held, epochs=7))]
    assert CliRunner().invoke(app, ["run", "--momentum", "0.5"]).exit_code == 2, "it is not among the options"


@pytest.mark.parametrize("settings", [*SETTINGS, StoppingSettings])
def test_every_setting_has_a_text_that_stands_by_itself(settings):
    texts = attribute_texts(settings)
    assert set(texts) == {field.name for field in fields(settings)}
    for name, text in texts.items():
        assert re.match(r"[A-Z]\w+ \w|[A-Z]\w+:", text), f"{name}: {text}"
        assert text.endswith("."), f"{name}: {text}"


def test_help_shows_every_option_with_its_choices_and_defaults():
    shown = re.sub(r"[\s│]+", " ", gwaudit("audit", "--help").stdout)
    for settings in SETTINGS:
        for field in fields(settings):
            if field.default is MISSING or is_dataclass(field.default):
                continue
            assert f"--{field.name.replace('_', '-')}" in shown
    assert "<onecycle|cosine>" in shown
    assert "<auto|bfloat16|float32>" in shown
    assert "[default: onecycle]" in shown
    for choice in ("auto", *DETECTORS, *recorded_rules()):
        assert choice in shown


def test_help_lists_every_format():
    shown = {command: gwaudit(command, "--help").stdout for command in ("export", "apply")}
    assert [name for name in FORMATS if name not in shown["export"]] == []
    assert [name for name in cleaned_formats() if name not in shown["apply"]] == []


def test_no_literal_is_shown_as_text():
    for settings in SETTINGS:
        hints = get_type_hints(settings)
        choices = [name for name, hint in hints.items() if get_origin(hint) is Literal]
        shown = gwaudit("audit", "--help").stdout
        for name in choices:
            line = next(line for line in shown.splitlines() if f" --{name.replace('_', '-')}" in line)
            assert "<str>" not in line, line


@pytest.mark.parametrize(
    ("option", "value", "choices"),
    [
        ("--augment", "much", "'crop-flip', 'shift-flip'"),
        ("--schedule", "linear", "'onecycle', 'cosine'"),
        ("--score", "beauty", "'alignment_gap', 'alignment', 'margin'"),
        ("--preset", "slow", "'fast', 'quality'"),
        ("--refine-as", "resnet50", "'whitened', 'resnet18'"),
    ],
)
def test_a_value_that_is_no_choice_is_refused_with_the_choices(tmp_path, option, value, choices):
    done = gwaudit("audit", "digits", "-o", tmp_path / "run", option, value)
    assert done.returncode == 2
    assert choices in re.sub(r"[\s│]+", " ", done.stderr)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("settings", SETTINGS)
def test_python_refuses_a_value_that_is_no_choice(settings):
    for name, hint in get_type_hints(settings).items():
        if get_origin(hint) is Literal:
            with pytest.raises(SettingsError, match=name):
                settings(**({"source": "digits"} if settings is DataSettings else {}), **{name: "nothing"})


def test_seeds_are_whole_numbers_separated_by_commas():
    assert parse_seeds("0, 2,") == [0, 2]
    with pytest.raises(SettingsError, match="separated by commas"):
        parse_seeds("1.5")
