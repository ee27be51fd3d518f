"""Messages name settings in Python and options on the command line."""

import ast
import re
from pathlib import Path

import pytest

from gwaudit import DataSettings, TrainingSettings
from gwaudit.cli.app import app
from gwaudit.cli.command import command
from gwaudit.cli.errors import with_flags
from gwaudit.core.errors import DataError, SettingsError
from gwaudit.data.loading import load_dataset
from helpers.command import FAST, gwaudit

PACKAGE = Path(__file__).resolve().parents[2] / "gwaudit"
LIBRARY = [path for path in sorted(PACKAGE.rglob("*.py")) if path.relative_to(PACKAGE).parts[0] != "cli"]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("give them with `truth` (.npy)", "give them with --truth (.npy)"),
        ("skip them with `on_error='skip'`.", "skip them with --on-error skip."),
        ("continue with `resume=True`", "continue with --resume"),
        ("the run has `batch_size=128`, not 64", "the run has --batch-size 128, not 64"),
        ("the run has `epochs=4`, not 5", "the run has --epochs 4, not 5"),
        ("`detector` must be one of", "--detector must be one of"),
        ("choose one of `top`, `cut`", "choose one of --top, --cut"),
        ("write all samples (`all`)", "write all samples (--all)"),
        # These name no options.
        ("the labels of the source", "the labels of the source"),
        ("no column 'label_column' in data/label_column/id_column.csv", None),
        ("no file id_column.csv", None),
        ("its columns are batch_size, image_size and label_column.", None),
        ("classes  3: learning_rate (4), epochs=4 (3), label (2)", None),
        ("`to_dict` has no option", None),
        ("the column true_labels", None),
    ],
)
def test_settings_become_options(message, expected):
    shown = []

    @command(app, "hidden-command-of-this-test")
    def probe(training: TrainingSettings) -> None:
        shown.append(with_flags(message))

    try:
        gwaudit("hidden-command-of-this-test")
    finally:
        app.registered_commands.pop()
    assert shown == [message if expected is None else expected]


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_errors_of_the_library_name_no_options(path):
    raised = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Raise)]
    texts = [part for node in raised for part in ast.walk(node) if isinstance(part, ast.Constant)]
    options = [
        f"{path}:{part.lineno}: {part.value}" for part in texts if re.search(r"(?<![\w-])--[a-z]", str(part.value))
    ]
    assert not options, "\n".join(options)


def test_outside_a_command_a_message_stays_as_it_is():
    assert with_flags("give `truth` or label_column") == "give `truth` or label_column"


@pytest.mark.parametrize(
    ("error", "make", "arguments", "in_python", "on_the_terminal"),
    [
        (
            SettingsError,
            lambda: TrainingSettings(epochs=0),
            ["--epochs", "0"],
            "`epochs` must be at least 1",
            "--epochs must be at least 1",
        ),
        (
            SettingsError,
            lambda: TrainingSettings(patience=3),
            ["--patience", "3"],
            "needs a rule (`select`)",
            "needs a rule (--select)",
        ),
        (
            SettingsError,
            lambda: DataSettings("digits", image_size=0),
            ["--image-size", "0"],
            "`image_size` must be at least 1",
            "--image-size must be at least 1",
        ),
        (
            DataError,
            lambda: load_dataset("digits", label_key="worse_label"),
            ["--label-key", "worse_label"],
            "label",
            "--labels",
        ),
    ],
)
def test_an_error_names_settings_in_python_and_options_on_the_terminal(
    tmp_path, error, make, arguments, in_python, on_the_terminal
):
    with pytest.raises(error) as raised:
        make()
    assert in_python in str(raised.value)
    done = gwaudit("audit", "digits", "-o", tmp_path / "run", *FAST, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert on_the_terminal in done.stderr
    assert "`" not in done.stderr
