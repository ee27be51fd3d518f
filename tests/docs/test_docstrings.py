"""The examples in the docstrings run, and every public name is documented."""

import doctest
import importlib
import pkgutil

import pytest
from typer.testing import CliRunner

import gwaudit
from gwaudit.cli.app import app

MODULES = [
    module.name
    for module in pkgutil.walk_packages(gwaudit.__path__, "gwaudit.")
    if not module.name.endswith("__main__")
]


@pytest.fixture(scope="module")
def folder_with_a_run(tmp_path_factory):
    """The run that the examples read, at runs/worse."""
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


def test_every_public_name_exists_and_has_a_docstring():
    for name in gwaudit.__all__:
        assert getattr(gwaudit, name) is not None
        if name != "__version__":
            assert getattr(gwaudit, name).__doc__, f"{name} is not documented"


def test_the_demo_is_what_help_points_to():
    assert "gwaudit demo" in CliRunner().invoke(app, ["--help"]).output
