"""The summary of a data set names samples, classes, sizes, and what was left out."""

import json

import numpy as np
import torch

from gwaudit.data.dataset import LabeledDataset, SkippedSample
from gwaudit.data.inputs import features
from gwaudit.data.summary import DataSummary, summarise


def dataset_of(labels, names, **fields):
    n = len(labels)
    return LabeledDataset(
        "set", features(torch.zeros(n, 3)), np.array(labels), names, list("abcdefghijklmnop")[:n], **fields
    )


def test_it_counts_every_class_and_names_empty_ones():
    summary = summarise(dataset_of([0, 1, 1], ("cat", "dog", "eel")), "here")
    facts = dict(summary.facts())
    assert facts["source"] == "here"
    assert facts["samples"] == "3 rows of 3 features"
    assert facts["classes"] == "3: dog (2), cat (1), eel (0)"
    assert summary.warnings[0] == "No sample has the class eel."
    spaced = summarise(dataset_of([0, 1, 1], ("cat", "cat ")))
    assert dict(spaced.facts())["classes"] == "2: 'cat ' (2), cat (1)"


def test_it_warns_of_classes_with_too_few_samples_to_judge():
    labels = [0, 0, 0, 0, 0, 1, 1, 1, 1, 2]
    (warning,) = summarise(dataset_of(labels, ("cat", "dog", "eel"))).warnings
    assert warning.startswith("Classes with fewer than 5 samples: dog, eel. These are too few to judge")
    several = summarise(dataset_of([[1, 0]] * 6 + [[1, 1]] * 6 + [[0, 0]] * 2, ("cat", "dog")))
    assert several.small_classes == ["cat"], "two samples lack it"
    assert several.warnings[0].startswith("Classes that fewer than 5 samples have, or lack: cat. These are too few")


def test_of_many_classes_it_names_the_largest_and_the_smallest():
    names = tuple(f"class {i}" for i in range(12))
    summary = summarise(dataset_of([*range(12), 5, 5, 7], names))
    assert dict(summary.facts())["classes"].startswith("12, from class 5 (3), class 7 (2), class 0 (1) to ")


def test_it_survives_json_and_says_which_rows_are_left_out():
    skipped = (SkippedSample(4, "e", "has no label"),)
    summary = summarise(dataset_of([0, 1], ("cat", "dog"), skipped=skipped))
    assert dict(summary.facts())["rows left out"] == "1; the first is row 4 (e): has no label"
    assert DataSummary.from_dict(json.loads(json.dumps(summary.to_dict()))) == summary
