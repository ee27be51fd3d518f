"""Inputs of any kind are read or refused by name; `python -m torture.fuzz` reads 100,000 of them."""

import pytest

from .fuzz import fuzz
from .fuzz_inputs import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_random_inputs_end_in_no_traceback(tmp_path, kind):
    figures = fuzz(kind, range(2 if kind == "files of a run" else 25), tmp_path)
    assert figures.failures == []
    assert figures.read + figures.refused == figures.inputs
