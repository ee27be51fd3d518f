"""The code in the README and in the docstrings runs; the commands that the documents show exist."""

import doctest
import importlib
import pkgutil
import re
import shlex
from pathlib import Path

import pytest
import typer
from click.testing import CliRunner

import gwaudit
from gwaudit.cli.app import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "docs" / "benchmarks.md",
    ROOT / "docs" / "relabelling.md",
    ROOT / "docs" / "stopping.md",
]
MODULES = [
    module.name
    for module in pkgutil.walk_packages(gwaudit.__path__, "gwaudit.")
    if not module.name.endswith("__main__")
]


def blocks(path, language):
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(), re.DOTALL)


@pytest.fixture(scope="module")
def folder_with_a_run(tmp_path_factory):
    """What the examples take for granted: a run at runs/worse."""
    folder = tmp_path_factory.mktemp("docs")
    settings = gwaudit.TrainingSettings(epochs=2, batch_size=256)
    gwaudit.train(gwaudit.load_dataset("digits"), folder / "runs" / "worse", settings)
    return folder


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples_run(name, folder_with_a_run, monkeypatch):
    monkeypatch.chdir(folder_with_a_run)
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0


def test_the_readmes_python_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {}
    code = blocks(ROOT / "README.md", "python")
    assert len(code) >= 2
    for block in code:
        exec(compile(block, "README.md", "exec"), namespace)
    assert (tmp_path / "runs").is_dir()


def sections(path):
    """The Python of a document, a program a block, by the heading it stands under."""
    found = []
    for section in re.split(r"^## ", path.read_text(), flags=re.MULTILINE)[1:]:
        found += [(section.splitlines()[0], block) for block in re.findall(r"```python\n(.*?)```", section, re.DOTALL)]
    return [pytest.param(block, id=f"{heading}-{number}") for number, (heading, block) in enumerate(found)]


@pytest.mark.parametrize("program", sections(ROOT / "docs" / "loops.md") + sections(ROOT / "docs" / "stopping.md"))
def test_each_loop_shown_can_be_pasted_and_records_every_sample_of_every_epoch(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    exec(compile(program, "loops.md", "exec"), namespace)
    store = namespace["store"]
    assert len(store.epochs) >= 3
    assert [(store.commit(epoch).missing, store.commit(epoch).repeated) for epoch in store.epochs].count((0, 0)) >= 3


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_commands_shown_have_the_options_they_use(document):
    command = typer.main.get_command(app)
    shown = [line for block in blocks(document, "sh") for line in block.replace("\\\n", " ").splitlines()]
    calls = [shlex.split(line.split(" && ")[-1], comments=True) for line in shown]
    calls = [call[1:] for call in calls if call and Path(call[0]).name == "gwaudit"]
    assert calls or document.name == "CONTRIBUTING.md"
    for arguments in calls:
        target, rest = command, arguments
        while hasattr(target, "commands"):
            target, rest = target.commands[rest[0]], rest[1:]
        known = {option for parameter in target.params for option in getattr(parameter, "opts", [])}
        used = {argument for argument in rest if argument.startswith("-")}
        assert used <= known, f"{document.name}: gwaudit {shlex.join(arguments)}"


def test_every_public_name_exists_and_has_a_docstring():
    for name in gwaudit.__all__:
        assert getattr(gwaudit, name) is not None
        if name != "__version__":
            assert getattr(gwaudit, name).__doc__, f"{name} is not documented"


def test_the_demo_is_what_help_points_to():
    assert "gwaudit demo" in CliRunner().invoke(typer.main.get_command(app), ["--help"]).output
