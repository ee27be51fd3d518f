"""Find questions for the labelling guideline: classes, or groups, where network and labels disagree far above the rest.

A mistake of one annotator is one sample. Where the network contradicts many labels of one class with one other class,
people and network follow another rule, and one answer settles all of them. A pair of classes (given, other) is a
question if the samples of the given class that look like the other one are

- `LEAST_SAMPLES` or more,
- `LEAST_SHARE` or more of the class,
- `TIMES_THE_REST` times as frequent as over all other pairs, and
- as many by chance with a probability below `CHANCE` (Poisson).

Uniform label noise raises all pairs alike, and asks nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError

LEAST_SAMPLES, LEAST_SHARE, TIMES_THE_REST, CHANCE = 8, 0.02, 4.0, 1e-6

TIMES_OTHER_GROUPS = 2.0
"""The same for a group, whose samples are of all classes."""

EXAMPLES = 3
"""Number of samples that a question names of each side."""


@dataclass(frozen=True)
class GuidelineQuestion:
    """Describe a pair of classes to decide about once.

    Attributes:
        given: name of the given class.
        other: name of the class that its samples look like.
        samples: number of undecided samples of the given class that look like the other one.
        share: their share of the given class.
        usual: share of a class that looks like one other class, over all other pairs.
        examples: keys of some of these samples, the most suspicious first.
        examples_of_other: keys of samples of the other class that fit it best.
    """

    given: str
    other: str
    samples: int
    share: float
    usual: float
    examples: tuple[str, ...]
    examples_of_other: tuple[str, ...]


@dataclass(frozen=True)
class GroupQuestion:
    """Describe a group of samples whose labels look wrong far more often than others.

    Attributes:
        column: name of the column of groups, as "annotator".
        group: name of the group.
        samples: number of its undecided samples that look like another class.
        share: their share of the group.
        usual: that share over all other groups.
    """

    column: str
    group: str
    samples: int
    share: float
    usual: float


def require_pairs_of_classes(audit: Audit) -> None:
    """Raise DataError if the audit is multi-label: a label is not one class in place of another there."""
    if audit.is_multi_label:
        raise DataError(
            f"questions and guidelines are about one class in place of another, and {audit.run} is multi-label: leave "
            "them out, and decide on its labels (`gwaudit review`)"
        )


def apparent_labels(audit: Audit) -> NDArray[np.int64]:
    """Return the class that each row of the audit looks like, [n]; -1 where that is its given class, or it is decided.

    A sample looks like the class that most epochs predict; a suspect like the suggested one.
    """
    given, suggested, predicted = map(audit.column, ("given_label", "suggested_label", "predicted_label"))
    looks_like = np.where(audit.column("suspect").astype(bool) & audit.has_cut, suggested, predicted)
    is_open = audit.is_undecided & (audit.column("category") != "too-few")
    return np.where(is_open & (looks_like != given), looks_like, -1).astype(np.int64)


def guideline_questions(audit: Audit) -> tuple[GuidelineQuestion, ...]:
    """Return the pairs of classes to decide about once, those with most samples first; none of a ranking not to use."""
    if audit.is_multi_label or audit.verdict.level == "do not use":
        return ()
    n_classes, looks_like = len(audit.class_names), apparent_labels(audit)
    given = audit.column("given_label").astype(np.int64)
    differs = looks_like >= 0
    counts = np.bincount(given[differs] * n_classes + looks_like[differs], minlength=n_classes**2).reshape(
        n_classes, -1
    )
    sizes = np.bincount(given, minlength=n_classes)
    questions = []
    for label, other in np.argwhere(counts >= LEAST_SAMPLES).tolist():
        possible = sizes.sum() * (n_classes - 1) - sizes[label]  # samples times other classes, without this pair
        usual = (counts.sum() - counts[label, other]) / max(possible, 1)
        if _is_far_above(int(counts[label, other]), int(sizes[label]), usual):
            members = np.flatnonzero((given == label) & (looks_like == other))
            best = np.flatnonzero((given == other) & ~differs)[::-1]
            names = (tuple(map(str, audit.table.take(rows[:EXAMPLES], ["key"])["key"])) for rows in (members, best))
            share = float(counts[label, other] / sizes[label])
            pair = audit.class_names[label], audit.class_names[other]
            questions.append(GuidelineQuestion(*pair, len(members), share, float(usual), *names))
    return tuple(sorted(questions, key=lambda question: -question.samples))


def group_questions(audit: Audit, groups: Mapping[str, Sequence[str]]) -> tuple[GroupQuestion, ...]:
    """Return the groups whose labels look wrong far more often than others, the largest share first.

    Args:
        audit: Audit with one label a sample.
        groups: The group of each sample, by sample id, by name of the column; samples without one have "".
    """
    if audit.is_multi_label or audit.verdict.level == "do not use":
        return ()
    differs = np.empty(len(audit.table), bool)
    differs[audit.column("sample_id")] = apparent_labels(audit) >= 0
    questions = []
    for column, of_samples in groups.items():
        names, group = np.unique(np.array(of_samples, object).astype(str), return_inverse=True)
        sizes, counts = np.bincount(group), np.bincount(group[differs], minlength=len(names))
        for name, size, count in zip(names.tolist(), sizes.tolist(), counts.tolist(), strict=True):
            usual = (counts.sum() - count) / max(len(group) - size, 1)
            if (
                name
                and count >= LEAST_SAMPLES
                and len(names) > 1
                and _is_far_above(count, size, usual, times=TIMES_OTHER_GROUPS)
            ):
                questions.append(GroupQuestion(column, name, count, count / size, float(usual)))
    return tuple(sorted(questions, key=lambda question: -question.share))


def _is_far_above(count: int, size: int, usual: float, *, times: float = TIMES_THE_REST) -> bool:
    share = count / size
    by_chance = poisson.sf(count - 1, max(usual, 1e-12) * size)
    return bool(share >= max(LEAST_SHARE, times * usual) and by_chance < CHANCE)
