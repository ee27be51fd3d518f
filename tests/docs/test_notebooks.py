"""The notebooks run from top to bottom, as they are, but for fewer epochs of a training."""

import shutil
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws_its_figures(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        cell.source = cell.source.replace("epochs=20", "epochs=4")
    shutil.copytree(ROOT / "docs" / "benchmarks" / "results", tmp_path / "docs" / "benchmarks" / "results")
    (tmp_path / "notebooks").mkdir()
    place = {"metadata": {"path": tmp_path / "notebooks"}}
    nbclient.NotebookClient(notebook, timeout=600, resources=place).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code" and any(call in cell.source for call in ("plt.subplots", "_figure(")):
            kinds = {kind for output in cell.outputs for kind in output.get("data", {})}
            assert "image/png" in kinds, f"no figure from:\n{cell.source}"
            assert not [o for o in cell.outputs if o.get("name") == "stderr"], "a figure warns"


def test_there_are_notebooks():
    assert NOTEBOOKS
