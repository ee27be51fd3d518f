"""Inputs of any kind are read or refused by name; `python -m torture.fuzz` reads 100,000 of them."""

import shutil
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gwaudit.core.errors import GwauditError

from .fuzz import fuzz
from .fuzz_inputs import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_random_inputs_end_in_no_traceback(tmp_path, kind):
    figures = fuzz(kind, range(2 if kind == "files of a run" else 25), tmp_path)
    assert figures.failures == []
    assert figures.read + figures.refused == figures.inputs


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "files of a run"])
def test_inputs_that_hypothesis_draws_end_in_no_traceback(tmp_path, kind):
    """Hypothesis reduces an input that fails to its smallest form."""
    folder = tmp_path / "input"

    @settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.randoms(use_true_random=False))
    def read(random):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with suppress(GwauditError):
            KINDS[kind](random, folder)()

    read()
