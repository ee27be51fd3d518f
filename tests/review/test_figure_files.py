"""The report's figures come as files, drawn by the same code."""

import kaleido
import pytest

from helpers.command import FAST, gwaudit


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot") / "run"
    assert gwaudit("audit", "digits", "--add-noise", "0.1", "--output", folder, *FAST).returncode == 0
    return folder


def test_all_figures_of_the_run_are_drawn(run, tmp_path, chromium):
    done = gwaudit("plot", run, "--to", tmp_path / "figures", "--format", "svg")
    names = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert names >= {"noise-matrix", "mean-trajectories", "epoch-moments", "precision-recall", "calibration"}
    assert len(done.stdout.split()) == len(names)
    assert "mean alignment" in (tmp_path / "figures" / "mean-trajectories.svg").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--figure", "portrait"], "choose from expected-wrong"),
        (["--format", "bmp"], "'pdf', 'svg', 'png'"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_the_reason(run, tmp_path, options, message):
    done = gwaudit("plot", run, "--to", tmp_path / "figures", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / "figures").exists()


def test_an_earlier_folder_is_not_overwritten(run, tmp_path, chromium):
    (tmp_path / "figures").mkdir()
    done = gwaudit("plot", run, "--to", tmp_path / "figures", "--format", "svg", "--figure", "calibration")
    assert done.returncode == 2
    assert "exists" in done.stderr


@pytest.fixture(scope="module")
def drawing(chromium):
    """Let one Chromium draw from here on: each start of it takes seconds."""
    kaleido.start_sync_server(mathjax=False)
    yield
    kaleido.stop_sync_server()


@pytest.mark.filterwarnings("ignore:The kopts")
@pytest.mark.parametrize(("format", "start"), [("pdf", b"%PDF"), ("svg", b"<svg"), ("png", b"\x89PNG")])
def test_a_figure_is_a_file_of_its_format(run, tmp_path, drawing, format, start):
    done = gwaudit("plot", run, "--to", tmp_path / "figures", "--format", format, "--figure", "noise-matrix")
    assert done.returncode == 0, done.stderr
    path = tmp_path / "figures" / f"noise-matrix.{format}"
    assert done.stdout.strip() == str(path)
    assert path.read_bytes().startswith(start)
