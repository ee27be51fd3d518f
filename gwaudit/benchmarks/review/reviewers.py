"""Decide about samples as reviewers do, by the true labels, and err in a share of the answers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gwaudit.benchmarks.review.audits import KnownAudit


def answers(known: KnownAudit, ids: Sequence[int] | NDArray[np.integer], *, error: float, seed: int) -> pd.DataFrame:
    """Return the decisions of a reviewer, with the columns `sample_id` (and `class_id`), `decision` and `label`.

    A reviewer relabels a wrong label as the true one and keeps a right one. An erring answer keeps a wrong label, or
    relabels a right one as suggested. The answer about a sample depends on the seed alone, not on the other samples.

    Args:
        known: The audit, with the true labels.
        ids: Rows in the store of the labels to decide.
        error: Share of the answers that are wrong.
        seed: Seed of the reviewer.
    """
    ids = np.asarray(ids, np.int64)
    erring = np.random.default_rng(seed).random(len(known.truth))[ids] < error
    given, suggested = (known.audit.by_id(name)[ids].astype(np.int64) for name in ("given_label", "suggested_label"))
    says_wrong = known.is_wrong[ids] ^ (erring & (suggested >= 0))
    label = np.where(says_wrong, np.where(known.is_wrong[ids], known.truth[ids], suggested), given)
    decision = np.where(says_wrong, "relabel", "keep")
    return pd.DataFrame({**known.audit.names_of(ids), "decision": decision, "label": label})
