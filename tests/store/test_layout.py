"""A run's layout says where each row lies."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gwaudit.core.errors import StoreError
from gwaudit.store.layout import RunLayout

CLASSES = ("cat", "dog", "eel")


def make_layout(n_samples=4, *, is_multi_label=False, block_rows=5):
    return RunLayout(Path("run"), n_samples, CLASSES, is_multi_label, block_rows)


@given(n_samples=st.integers(1, 30), is_multi_label=st.booleans(), block_rows=st.integers(1, 40))
def test_each_row_lies_in_one_block_and_belongs_to_one_sample(n_samples, is_multi_label, block_rows):
    layout = make_layout(n_samples, is_multi_label=is_multi_label, block_rows=block_rows)
    in_blocks = [row for block in range(layout.n_blocks) for row in layout.block_range(block)]
    of_samples = [row for sample in range(n_samples) for row in layout.rows_of(sample)]
    assert in_blocks == of_samples == list(range(layout.n_rows))
    rows = np.arange(layout.n_rows)
    assert all(row in layout.rows_of(layout.sample_of(row)) for row in range(layout.n_rows))
    np.testing.assert_array_equal(layout.row_of(layout.sample_of(rows), layout.class_of(rows)), rows)


def test_a_row_of_a_multi_label_run_has_two_answers():
    assert make_layout().answers == CLASSES
    assert make_layout(is_multi_label=True).answers == ("absent", "present")
    assert make_layout().id_column == "sample_id"
    assert make_layout(is_multi_label=True).id_column == "row_id"


def test_rows_are_found_by_sample_and_class_name():
    assert make_layout().find_row(2) == 2
    assert make_layout(is_multi_label=True).find_row(2, "dog") == 7


@pytest.mark.parametrize(
    ("is_multi_label", "sample", "class_name", "message"),
    [
        (False, 4, None, "no sample 4: ids are 0 to 3"),
        (False, -1, None, "no sample -1"),
        (False, 1, "cat", "one label a sample: leave out the class 'cat'"),
        (True, 1, None, "no class was given: give one of cat, dog, eel"),
        (True, 1, "cow", "no class 'cow': give one of cat"),
        (True, 4, "cat", "no sample 4"),
    ],
)
def test_a_sample_or_class_that_the_run_has_not_is_refused(is_multi_label, sample, class_name, message):
    with pytest.raises(StoreError, match=message):
        make_layout(is_multi_label=is_multi_label).find_row(sample, class_name)


def test_a_block_that_the_run_has_not_is_refused():
    with pytest.raises(StoreError, match="blocks 0 to 0, not 1"):
        make_layout().block_range(1)
