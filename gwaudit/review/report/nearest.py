"""Collect the nearest neighbours in latent space of the samples of a report."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.neighbours import centred, nearest
from gwaudit.store.latents import read_latents
from gwaudit.store.store import TrajectoryStore

NEIGHBOURS = 4
"""Number of neighbours of each sample."""

PICTURE_BYTES = 2_000
"""Largest size in bytes of a neighbour's picture."""

_SAMPLES = 250  # the most suspicious ones: the page holds at most a thousand pictures of neighbours


@dataclass(frozen=True)
class Neighbours:
    """Hold the nearest neighbours of samples.

    Attributes:
        by_sample: Keys, given labels and similarities of the neighbours by the id of a sample, the nearest first.
        sample_ids: Ids of all of these neighbours.
    """

    by_sample: dict[int, list[dict[str, Any]]]
    sample_ids: list[int]


def nearest_neighbours(audit: Audit, store: TrajectoryStore, frame: pd.DataFrame) -> Neighbours:
    """Return the neighbours of the most suspicious samples; of none where the run keeps no latents.

    Args:
        audit: The audit, with one label each sample.
        store: The run.
        frame: Rows of the audit's frame, the most suspicious first.

    Raises:
        StoreDamagedError: The latents were altered.
    """
    kept = None if audit.is_multi_label else read_latents(store.path)
    if kept is None or not len(frame):
        return Neighbours({}, [])
    asked = frame["sample_id"].to_numpy(np.int64)[:_SAMPLES]
    ids, similarity = nearest(centred(kept[0]), asked, NEIGHBOURS)
    keys, given = store.keys(), store.given_labels()

    def neighbour(sample_id: int, value: float) -> dict[str, Any]:
        given_label = int(given[sample_id])
        return {"id": sample_id, "key": str(keys[sample_id]), "given": given_label, "similarity": round(value, 3)}

    by_sample = {
        sample: [neighbour(*other) for other in zip(others, values, strict=True)]
        for sample, others, values in zip(asked.tolist(), ids.tolist(), similarity.tolist(), strict=True)
    }
    return Neighbours(by_sample, np.unique(ids).tolist())
