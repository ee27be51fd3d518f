"""A text is recognised in the cell that a spreadsheet program makes of it, and only there."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit.core.spreadsheet_changes import TextIndex, may_become, whole_numbers


@pytest.mark.parametrize(("text", "cell"), [
    ("007", "7"), ("1.10", "1.1"), ("1.10", "1,1"), ("1.10", "01. Okt"), ("1.5", "01. Mai"), ("1E5", "1.00E+05"),
    ("MAR1", "1-Mar"), ("SEPT2", "2-Sep"), ("1-2", "2-Jan"), ("1-2", "46024"), ("1/2", "2026-01-02"), ("TRUE", "WAHR"),
    ("10-10-2010", "2010-10-10"), ("12345678901234567", "1.23457E+16"), ("1.000", "1000"), ("+5", "5"),
])  # fmt: skip
def test_changes_that_spreadsheets_make(text, cell):
    assert may_become(text, cell)


@pytest.mark.parametrize(("text", "cell"), [
    ("cat", "dog"), ("7", "007"), ("1.1", "1.10"), ("1-2", "2-1"), ("3", "3-Jan"), ("mar 1", "marble 1"), ("12", "13"),
    ("a1", "1"), ("", "0"), ("1.10", "1.10"), ("x" * 100, "1"), ("9" * 100, "1E+99"),
])  # fmt: skip
def test_changes_that_no_spreadsheet_makes(text, cell):
    assert not may_become(text, cell)


@settings(max_examples=40, deadline=None)
@given(st.text(max_size=12), st.text(st.sampled_from("0123456789.,-/ eE+janmr"), max_size=12))
def test_any_text_is_found_by_itself_and_nothing_ends_in_an_error(text, cell):
    index = TextIndex([text, cell])
    assert 0 in index.find(text, escaped=False)
    assert 1 in index.find(cell, escaped=False)
    for other in (text, cell):
        index.changed(other)
        whole_numbers(other)
