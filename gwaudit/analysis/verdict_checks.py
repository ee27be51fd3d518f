"""Judge a run by signals that need no true labels.

`gwaudit.analysis.run_signals` measures the signals; `judge` compares them with the thresholds that stand here. It reads
nothing else, so that thresholds can be set on recorded signals without training again.
"""

import math
from collections.abc import Callable, Iterator, Sequence

from gwaudit.analysis.signals import Signals
from gwaudit.analysis.verdict import LEVELS, Finding, Verdict
from gwaudit.data.class_sizes import LEAST_SAMPLES


def is_photo(shape: Sequence[int]) -> bool:
    """Return whether inputs of a shape, (C, H, W) for images, may be photos: digits and icons are grey or smaller."""
    return len(shape) == 3 and shape[0] >= 3 and min(shape[1:]) >= _SMALLEST_PHOTO


def judge(signals: Signals) -> Verdict:
    """Return the verdict on a run, from its signals alone."""
    findings = [finding for check in _CHECKS for finding in check(signals)]
    findings.sort(key=lambda finding: -LEVELS.index(finding.level))
    return Verdict(findings[0].level if findings else "trust it", tuple(findings), signals)


FEW_PHOTOS = 5000
"""The number of photos below which a network that learns them from random weights gives an order only: the cut flagged
more than a quarter of 300 and of 600 right labels of CIFAR-10 (docs/benchmarks/small-data.md)."""

_SMALLEST_PHOTO = 32  # pixels a side

DIVERGED = 5.0
"""The last loss, as a multiple of that of a model that ignores its inputs, above which the weights have diverged."""

LEAST_SKILL = 0.1
"""Skill is the accuracy on given labels above the share of the largest class, as a share of what is possible. Labels
that have nothing to do with the inputs reach 0.1 by what the model memorises; with 40 % uniform errors in two balanced
classes, a model that is always right has 0.2."""

LEAST_DEVIATIONS = 3.0
"""Cohen's kappa of held-out predictions, in standard deviations of that of independent labels, 1 / sqrt(n). Unrelated
labels had at most 2.3, learned ones with 40 % uniform errors 3.5 or more."""

STRONG_EVIDENCE = 3.0
"""Nats, 20 to 1 (Kass and Raftery, Bayes factors, 1995)."""

MOST_UNLEARNED = 0.5
"""The share of the labels that classes may have that were not learned: with more, the network has learned too little to
be trusted about the rest."""

MOST_SELF_CONFIRMED = 0.2
"""Heads contradicted 40 to 80 % more with weights of the labels where the inputs hardly decide these. Where the given
labels spoke against weights that did no harm (digits, moons, most texts), it was at most 17 %."""

MOST_ALIKE = 0.1
"""The share of the suspects between classes that may be one: each of them may be a way to write the class, no error."""

MOST_FLAGGED = 0.5
"""Data of which people use the labels are mostly right: a cut that flags more shows a network that has not learned."""

LEAST_EXPECTED_F1 = 0.75
"""The expected F1 below which right and wrong labels overlap so much that the number of wrong ones is a guess: there,
F1 at the cut was often below 0.8 of the best possible."""

LEAST_EXPECTED_F1_HELD_OUT, LEAST_EXPECTED_F1_OF_MANY = 0.8, 0.78
"""The same where fewer than `MANY` samples were held out, or as many: heads that learn doubtful labels with less weight
are surer. On the sets of the trust benchmark that thresholds may be chosen on, glass with 10 % of wrong labels has 0.79
and a cut below 0.8 of the best F1, a table of 700 rows with 2 % 0.777."""

FEW, LEAST_EXPECTED_F1_OF_FEW = 5, 0.85
"""With fewer flagged rows the expected F1 is itself a guess, and has to be higher."""

LEARNED, FEW_FLAGGED = 0.95, 0.01
"""The least accuracy on given labels and the most flagged rows where little is left to be wrong about."""

MOST_CONTRADICTED = 0.08
"""The share of the labels that the network may contradict if none of them is flagged."""

SHARP, SHARP_STEPS = 0.9, 20
"""The expected F1 from which right and wrong labels are two groups, after as many optimizer steps at least: where the
groups lie says nothing more then."""

MOST_UNEXPLAINED = 0.12
"""The share of the labels that the network contradicts and the cut does not flag, of rows that the network learned: a
model that learned the data contradicts few others."""

MANY = 500
"""The number of held-out samples from which odds and expected F1 can be relied on where the inputs do not determine the
labels: temperature and label noise are then fitted to enough of them."""

MOST_UNEXPLAINED_HELD_OUT, MOST_UNEXPLAINED_OF_MANY = 0.08, 0.2
"""The same share where fewer than `MANY` samples were held out, or as many: the inputs do not determine the labels, as
where these are outcomes (who survived, who left) or overlapping classes. A cut can then take right labels for wrong
ones. Of the sets of the trust benchmark that thresholds may be chosen on, the share is 0.08 or more in five of six
cells of glass (214 samples), whose cut is several times too long. From 500 samples on, the cells that the second bound
adds have good cuts, and none is of clean labels: the expected F1 of these is below 0.73."""

DEPTHS = (0.52, 1.8)
"""Of rows that the network learned. Below the first, the flagged rows are hard rather than wrong: they lie near zero,
where right labels of clean data have their tail. Above the second, right labels lie near zero themselves: the network
is sure of nothing."""

LEAST_OVERLAP = 0.5
"""Overlap of the most suspicious rows of both halves of the window, below which the order depends on the epochs."""

LEAST_EXPECTED_F1_OF_PAIRS, MOST_UNEXPLAINED_OF_PAIRS = 0.87, 0.03
"""The expected F1 below which a multi-label run is not trusted, if its network also contradicts more of the labels than
the cut flags, by this share or by as many again: a head that cannot learn a class contradicts right labels, and in
several classes at once they look like many wrong ones; or wrong labels are missed that are contradicted. On eight sets
of tables to choose on, with 3 and 10 % wrong labels and three trainings each, 1.1 to 3.4 times the wrong labels were
expected there, or a third (docs/benchmarks/multilabel.md)."""

LEAST_EXPECTED_F1_OF_HELD_OUT_PAIRS = 0.6
"""The expected F1 from which held-out runs may contradict as many labels again as they flag: few wrong labels are
counted well there. Errors among the labels that are difficult had 0.41 and 0.54, clean labels 0.59 and more."""

MEMORISED = 0.97
"""The accuracy on given labels above which all labels were learned, also the wrong ones."""

MOST_MEMORISED = 0.02
"""The share of labels that may stand out early without being flagged in the end."""

MOST_LATE_ALIGNED = 0.08
"""The share of labels that a model may learn late without having memorised wrong ones."""

MOST_OPPOSED = 0.03
"""The share of labels that may oppose the weights in nine of ten epochs if none is flagged."""


_TO_LEARN_SOMETHING = (
    "Train for more `epochs`, with another `head`, `model` or `learning_rate`; check that inputs and labels belong "
    "together"
)


def _has_one_class(s: Signals) -> Iterator[Finding]:
    if not s.rows:
        yield Finding(
            "rows",
            0,
            "do not use",
            f"no label can be judged: no class has {LEAST_SAMPLES} recorded samples or more",
            "Add samples, or join small classes",
        )
    elif s.classes == 1:
        yield Finding(
            "classes",
            s.classes,
            "do not use",
            f"only one class has {LEAST_SAMPLES} samples or more"
            f"{' and is predicted better than by its share' if s.unlearned > 0 else ''}, so that no other one can be "
            "right for them",
            "Add samples of other classes, or join small classes",
        )


def _diverged(s: Signals) -> Iterator[Finding]:
    if s.classes > 1 and s.last_loss > DIVERGED * s.prior_loss:
        yield Finding(
            "last_loss",
            s.last_loss,
            "do not use",
            f"the training diverged: the last loss is {s.last_loss:.3g} nats, a model that ignores its inputs has "
            f"{s.prior_loss:.3g}",
            "Train with a lower `learning_rate`",
        )


def _learned_nothing(s: Signals) -> Iterator[Finding]:
    if s.classes == 1:
        has_learned = True  # nothing could be learned
    elif s.held_out:
        has_learned = not s.kappa * math.sqrt(s.rows) < LEAST_DEVIATIONS
    else:
        has_learned = not s.accuracy - s.largest_class < LEAST_SKILL * (1 - s.largest_class)
    if not has_learned:
        yield Finding(
            "kappa" if s.held_out else "accuracy",
            s.kappa if s.held_out else s.accuracy,
            "do not use",
            f"the network predicts {s.accuracy:.0%} of the given labels, and "
            f"{'one answer for all' if s.multi_label else 'the largest class'} alone is {s.largest_class:.0%} of them: "
            "it has learned nothing, or labels and inputs have nothing to do with each other",
            _TO_LEARN_SOMETHING,
        )


def _learned_few_classes(s: Signals) -> Iterator[Finding]:
    if s.unlearned == 1:
        yield Finding(
            "unlearned",
            s.unlearned,
            "do not use",
            "the network predicts no class better than by its share",
            _TO_LEARN_SOMETHING,
        )
    elif s.unlearned > MOST_UNLEARNED:
        yield Finding(
            "unlearned",
            s.unlearned,
            "use the order",
            f"{s.unlearned:.0%} of the labels cannot be judged: their classes are not predicted better than by their "
            "share",
            _TO_LEARN_SOMETHING,
        )


def _learned_few_photos(s: Signals) -> Iterator[Finding]:
    if s.scratch_photos < FEW_PHOTOS:
        yield Finding(
            "scratch_photos",
            s.scratch_photos,
            "use the order",
            f"{s.scratch_photos:,.0f} photos are too few to learn from random weights",
            "Use pretrained weights: `backbone='frozen'` with a `model` of timm and `pretrained=True`, or with a file "
            "of weights (`checkpoint`)",
        )


def _learned_what_it_judges(s: Signals) -> Iterator[Finding]:
    if not math.isnan(s.own_head):
        yield Finding(
            "own_head",
            s.own_head,
            "use the order",
            "a single head learned all the labels that it judges, so their number cannot be known",
            "Leave `folds` out, or set two or more: each label is then judged by a head that did not learn it",
        )


def _follows_its_own_opinion(s: Signals) -> Iterator[Finding]:
    if s.self_confirmed > MOST_SELF_CONFIRMED:
        yield Finding(
            "self_confirmed",
            s.self_confirmed,
            "use the order",
            f"heads that give less weight to labels they contradict then contradict {s.self_confirmed:.0%} more, and "
            "predict the given labels worse: they may follow their own opinion",
            "Decide a random sample (`gwaudit sample`), which shows how many are wrong; inputs that say more help too",
        )


def _confuses_spellings(s: Signals) -> Iterator[Finding]:
    if s.alike_flagged > MOST_ALIKE:
        yield Finding(
            "alike_flagged",
            s.alike_flagged,
            "use the order",
            f"{s.alike_flagged:.0%} of the suspects are suggested a class whose name differs from that of their own "
            "only in case or white space",
            "If they are one class, write its name in one way in the source, and audit it again",
        )


def _flags_most(s: Signals) -> Iterator[Finding]:
    share = max(s.flagged, s.expected_wrong)
    if share > MOST_FLAGGED:
        yield Finding(
            "flagged",
            share,
            "do not use",
            f"{share:.0%} of the labels look wrong: the network has hardly learned these data",
            "Train for more `epochs`, or with another `model`, `head` or `learning_rate`",
        )


def _overlaps(s: Signals) -> Iterator[Finding]:
    if s.flagged == 0 and 1 - s.accuracy > MOST_CONTRADICTED:
        yield Finding(
            "accuracy",
            s.accuracy,
            "use the order",
            f"the network contradicts {1 - s.accuracy:.0%} of the given labels, and none of them stands out",
            "Look at the first of the ranking; train for more `epochs`, or with another `model` or `head`",
        )
    if s.flagged <= FEW_FLAGGED and s.accuracy >= LEARNED:
        return
    least = LEAST_EXPECTED_F1
    if s.held_out:
        least = LEAST_EXPECTED_F1_HELD_OUT if s.rows < MANY else LEAST_EXPECTED_F1_OF_MANY
    if s.flagged * s.rows < FEW:
        least = LEAST_EXPECTED_F1_OF_FEW
    if s.expected_f1 < least:
        yield Finding(
            "expected_f1",
            s.expected_f1,
            "use the order",
            f"right and wrong labels overlap: the best cut has an expected F1 of {s.expected_f1:.2f}",
            "Train for more `epochs`, or with another `model` or `head`; more samples help too",
        )


def _underfits_classes(s: Signals) -> Iterator[Finding]:
    if not s.multi_label:
        return
    if s.steps < SHARP_STEPS:
        yield Finding(
            "steps",
            s.steps,
            "use the order",
            f"the network was updated {s.steps:.0f} times: it may have learned none of the classes well",
            "Train for more `epochs`, or with a smaller `batch_size`",
        )
    unexplained = 1 - s.accuracy - s.flagged
    counts_well = s.held_out and s.expected_f1 >= LEAST_EXPECTED_F1_OF_HELD_OUT_PAIRS
    most = MOST_UNEXPLAINED_OF_PAIRS if counts_well else min(MOST_UNEXPLAINED_OF_PAIRS, s.flagged)
    is_unsure = s.expected_f1 < LEAST_EXPECTED_F1_OF_PAIRS and unexplained > most
    if is_unsure and next(_overlaps(s), None) is None:
        yield Finding(
            "expected_f1",
            s.expected_f1,
            "use the order",
            f"right and wrong labels overlap, with an expected F1 of {s.expected_f1:.2f}, and the network contradicts "
            f"{1 - s.accuracy:.1%} of the labels and flags {s.flagged:.1%}: it may not have learned some classes, or "
            "miss wrong labels",
            "Decide a random sample (`gwaudit sample`), which shows how many are wrong; more samples, or inputs that "
            "say more, help too"
            if s.held_out  # the better head was chosen
            else "Train with another `head` ('mlp' learns more than 'linear') or `model`, or for more `epochs`",
        )


def _is_undetermined(s: Signals) -> Iterator[Finding]:
    unexplained = 1 - s.accuracy - s.flagged
    most = MOST_UNEXPLAINED_HELD_OUT if s.rows < MANY else MOST_UNEXPLAINED_OF_MANY
    if s.held_out and s.flagged > 0 and unexplained > most:
        yield Finding(
            "accuracy",
            s.accuracy,
            "use the order",
            f"{1 - s.accuracy:.0%} of the given labels are not predicted, and only {s.flagged:.0%} stand out: "
            "what the head sees does not determine the labels, and right labels can stand out too",
            "Look at the first of the ranking; more samples, another `model` or encoder, or further inputs help. "
            "Outcomes that nothing determines cannot be audited",
        )


def _hardly_learned(s: Signals) -> Iterator[Finding]:
    if s.held_out or (s.expected_f1 >= SHARP and not s.steps < SHARP_STEPS):
        return
    if s.flagged > 0 and 1 - s.accuracy - s.flagged > MOST_UNEXPLAINED:
        yield Finding(
            "accuracy",
            s.accuracy,
            "use the order",
            f"the network contradicts {1 - s.accuracy:.0%} of the given labels, and only {s.flagged:.0%} stand out: "
            "it has not learned the rest",
            "Train for more `epochs`, or with another `model` or `head`",
        )
    if s.depth < DEPTHS[0]:
        yield Finding(
            "depth",
            s.depth,
            "use the order",
            "the flagged labels are hardly contradicted: they may be hard rather than wrong",
            "Look at the first of the ranking; train for more `epochs`",
        )
    if s.depth > DEPTHS[1]:
        yield Finding(
            "depth",
            s.depth,
            "use the order",
            "the network is hardly sure of the labels that it does not flag",
            "Train for more `epochs`, or with another `model`, `head` or `learning_rate`",
        )


def _is_unstable(s: Signals) -> Iterator[Finding]:
    if s.flagged > 0 and s.halves_overlap < LEAST_OVERLAP:
        yield Finding(
            "halves_overlap",
            s.halves_overlap,
            "use the order",
            "both halves of the epochs that are averaged over disagree on the most suspicious samples (overlap "
            f"{s.halves_overlap:.2f})",
            "Train for more `epochs`, or with a lower `learning_rate`",
        )


def _memorised(s: Signals) -> Iterator[Finding]:
    if s.held_out:
        return
    if s.early_flagged - s.flagged > MOST_MEMORISED:
        yield Finding(
            "early_flagged",
            s.early_flagged,
            "use the order",
            f"the network predicts {s.accuracy:.0%} of the given labels in the end, and {s.early_flagged:.0%} of them "
            "stood out in the first third of the epochs: it memorised wrong labels",
            "Rank by earlier epochs (`window`), or train for fewer `epochs`",
        )
    elif s.accuracy > MEMORISED and s.late_aligned > MOST_LATE_ALIGNED:
        yield Finding(
            "late_aligned",
            s.late_aligned,
            "use the order",
            f"the network predicts {s.accuracy:.0%} of the given labels, and learned {s.late_aligned:.0%} of them "
            "late: it may have memorised wrong labels",
            "Rank by earlier epochs (`window`), or train for fewer `epochs`",
        )
    elif s.flagged == 0 and s.opposed > MOST_OPPOSED:
        yield Finding(
            "opposed",
            s.opposed,
            "use the order",
            f"no label is flagged, but {s.opposed * s.rows:.0f} oppose the weights in nine of ten epochs",
            "Look at the first of the ranking",
        )


_CHECKS: tuple[Callable[[Signals], Iterator[Finding]], ...] = (
    _has_one_class,
    _diverged,
    _learned_nothing,
    _learned_few_classes,
    _learned_few_photos,
    _learned_what_it_judges,
    _follows_its_own_opinion,
    _confuses_spellings,
    _flags_most,
    _overlaps,
    _underfits_classes,
    _is_undetermined,
    _hardly_learned,
    _is_unstable,
    _memorised,
)
