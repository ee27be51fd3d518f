"""Numbers of one page agree, for any decisions: no part is larger than the whole, and limits hold what is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gwaudit.review.decided_samples import decided_samples
from gwaudit.review.decisions import Decisions
from gwaudit.review.estimates import estimate_wrong_labels
from gwaudit.review.review_sample import draw_sample
from helpers.audits import make_audit, make_decisions

N = 150


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    drawn=st.integers(0, 120),
    answered=st.floats(0, 1),
    chosen=st.integers(0, 60),
    share=st.sampled_from([0.0, 0.03, 0.5, 1.0]),
    n_suspects=st.sampled_from([0, 1, 15, N]),
)
def test_the_numbers_of_one_page_contradict_each_other_never(seed, drawn, answered, chosen, share, n_suspects):
    rng = np.random.default_rng(seed)
    odds = np.sort(rng.normal(-3, 3, N))[::-1]
    audit = make_audit(
        range(N), rng.integers(0, 3, N), ["a", "b", "c"], log_odds=odds, suspects=range(n_suspects), fingerprint=""
    )
    sample = draw_sample(audit, drawn, seed=seed) if drawn else None
    ids = {*range(chosen)} if sample is None else {*range(chosen), *sample.ids()[: int(answered * drawn)].tolist()}
    words = ["drop" if rng.random() < share else "keep" for _ in ids]
    decisions = Decisions(make_decisions(audit, *zip(sorted(ids), words, strict=True)), ())
    decided = decided_samples(audit, decisions, sample)
    groups = {"annotator": rng.choice(["", "ann", "bob"], N).tolist()}
    result = estimate_wrong_labels(audit, decided, groups)

    right = N - result.decided + result.found_wrong
    assert result.found_wrong <= result.total.low <= result.total.high <= right
    assert (result.remaining.low, result.remaining.high) == (
        result.total.low - result.found_wrong,
        result.total.high - result.found_wrong,
    )
    tables = [table for table in (result.classes, *result.groups.values()) if table["estimate"].notna().all()]
    for table in (result.classes, *result.groups.values()):
        assert (table["found_wrong"] <= table["low"]).all()
        assert (table["low"] <= table["high"]).all()
        assert (table["high"] <= np.minimum(result.total.high, table["samples"])).all()
        assert (table["low"] <= result.total.low).all()
    parts = [result.flagged, result.missed]
    assert sum(part.samples for part in parts) == N
    assert all(part.low <= result.total.low and part.high <= result.total.high for part in parts)
    if result.total.estimate is None:
        return
    assert result.total.low <= result.total.estimate <= result.total.high
    for table in tables:
        assert table["estimate"].sum() == pytest.approx(result.total.estimate)
    if all(part.estimate is not None for part in parts):
        assert sum(part.estimate for part in parts) == pytest.approx(result.total.estimate)
    if result.recall is not None:
        least, most = (
            result.flagged.low / max(result.flagged.low + result.missed.high, 1),
            result.flagged.high / max(result.flagged.high + result.missed.low, 1),
        )
        assert 0 <= result.recall[1] <= result.recall[0] <= result.recall[2] <= 1
        assert least - 0.05 <= result.recall[1]
        assert result.recall[2] <= most + 0.05
    if result.next_wrong is not None:
        assert result.next_wrong <= result.remaining.estimate + 1e-6
