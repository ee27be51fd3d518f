"""The programs of the benchmark pages run, on the digits: docs/benchmarks/relabelling.md and refinement.md."""

import shlex

import pytest

import gwaudit as package
from helpers.command import gwaudit
from helpers.making import few_digits_file
from helpers.pages import ROOT, blocks

FOLDER = ROOT / "docs" / "benchmarks"


@pytest.fixture(autouse=True)
def in_new_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_round_of_corrections_runs():
    page = FOLDER / "relabelling.md"
    [oracle] = blocks(page, "python")
    for line in blocks(page, "sh")[0].replace("--epochs 20", "--epochs 2").splitlines():
        if line == "python oracle.py":
            exec(compile(oracle, "oracle.py", "exec"), {})
            continue
        done = gwaudit(*shlex.split(line)[1:])
        assert done.returncode == 0, done.stderr
    assert "labels changed" in done.stdout


@pytest.mark.slow
def test_a_round_of_twice_the_width_runs(tmp_path):
    [program] = blocks(FOLDER / "refinement.md", "python")
    training = package.TrainingSettings(epochs=2, batch_size=128)
    refinement = package.RefinementSettings(refine=1, refine_as="whitened", refine_epochs=1)
    few_digits_file(tmp_path / "digits.npz")
    digits, forced = package.DataSettings("digits.npz", add_noise=0.2), package.RankingSettings(force=True)
    package.audit(digits, "runs/worse", training, forced, refinement)  # so few epochs learn nothing
    source = 'load_dataset("cifar10/", labels="CIFAR-10_human.pt", label_key="worse_label")'
    assert source in program
    program = program.replace(source, 'load_data(DataSettings("digits.npz", add_noise=0.2))').replace(
        "seed=2", "seed=2, epochs=1, batch_size=128"
    )
    namespace = {}
    exec("from gwaudit.core.settings import DataSettings\nfrom gwaudit.pipeline.run_data import load_data", namespace)
    exec(compile(program, "wide.py", "exec"), namespace)
