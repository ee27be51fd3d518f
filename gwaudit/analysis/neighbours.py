"""Find the nearest neighbours of samples in latent space, and pairs that are nearly equal.

The similarity of two samples is the cosine of their latents, less the mean of all latents: the latents of a network
that ends in a ReLU are all positive, and their cosines without this are close to 1. Every search is exact, in blocks
of matrix products.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.data.reading_notes import Contradiction
from gwaudit.store.latents import read_latents
from gwaudit.store.store import TrajectoryStore

Floats = NDArray[np.float32]

_BLOCK = 256
_PROJECTED = 64  # dimensions in which most pairs are excluded


def centred(latents: NDArray[np.floating[Any]]) -> Floats:
    """Return latents [n, D] less their mean, each of length 1; a latent at the mean stays 0."""
    values = np.asarray(latents, np.float32)
    values = values - values.mean(0, dtype=np.float64).astype(np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), np.float32)


def nearest(latents: Floats, sample_ids: NDArray[np.int64], k: int) -> tuple[NDArray[np.int64], Floats]:
    """Return the k nearest neighbours of some samples, the nearest first.

    Args:
        latents: [n, D] of length 1, as `centred` returns them.
        sample_ids: [m] the samples, whose neighbours are others than themselves.
        k: Number of neighbours; n - 1 where there are fewer.

    Returns:
        [m, k] ids and [m, k] similarities in [-1, 1].

    Example:
        >>> ids, similarity = nearest(centred(np.array([[1.0, 0], [0.9, 0.1], [0, 1]])), np.array([0]), 2)
        >>> ids.tolist()
        [[1, 2]]
    """
    k = min(k, len(latents) - 1)
    ids, similarities = [], []
    for chunk in np.array_split(sample_ids, max(1, -(-len(sample_ids) // _BLOCK))):
        similarity = latents[chunk] @ latents.T
        similarity[np.arange(len(chunk)), chunk] = -2.0
        best = np.argpartition(-similarity, max(k - 1, 0), axis=1)[:, :k]
        order = np.argsort(-np.take_along_axis(similarity, best, 1), axis=1, kind="stable")
        best = np.take_along_axis(best, order, 1)
        ids.append(best)
        similarities.append(np.take_along_axis(similarity, best, 1))
    return np.concatenate(ids).astype(np.int64), np.concatenate(similarities).astype(np.float32)


def close_pairs(latents: Floats, most_distance: float) -> NDArray[np.int64]:
    """Return all pairs of samples whose cosine distance, 1 - similarity, is at most a limit.

    A projection onto the main directions never makes a distance larger, so it excludes pairs without missing one.

    Args:
        latents: [n, D] of length 1, as `centred` returns them.
        most_distance: The limit, in [0, 2].

    Returns:
        [pairs, 2] ids, the smaller one first.
    """
    n = len(latents)
    small = _projected(latents)
    squares = np.square(small).sum(1)
    pairs = [np.empty((0, 2), np.int64)]
    for start in range(0, n, _BLOCK):
        block = slice(start, start + _BLOCK)
        distance = squares[block, None] + squares[None, start:] - 2 * small[block] @ small[start:].T
        first, second = np.nonzero(distance <= 2 * most_distance + 1e-5)
        first, second = first + start, second + start
        apart = first < second
        first, second = first[apart], second[apart]
        for chunk in np.array_split(np.arange(len(first)), max(1, -(-len(first) // (64 * _BLOCK)))):
            similarity = (latents[first[chunk]] * latents[second[chunk]]).sum(1)
            near = chunk[1 - similarity <= most_distance]
            pairs.append(np.stack([first[near], second[near]], 1))
    return np.concatenate(pairs)


def groups_of(pairs: NDArray[np.int64], n: int) -> list[list[int]]:
    """Return the groups that pairs connect, each with its samples in order, the first sample's group first.

    Args:
        pairs: [pairs, 2] samples that belong together.
        n: Number of samples.

    Example:
        >>> groups_of(np.array([[0, 3], [3, 5]]), 6)
        [[0, 3, 5]]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return []
    first, second = pairs.T.astype(np.int32)  # scipy 1.11 takes no others, and says so on stderr alone
    graph = coo_array((np.ones(len(pairs), np.int8), (first, second)), shape=(n, n))
    group = connected_components(graph, directed=False)[1]
    members: dict[int, list[int]] = {}
    for sample in np.unique(pairs).tolist():
        members.setdefault(int(group[sample]), []).append(sample)
    return sorted(members.values())


def near_contradictions(store: TrajectoryStore, equal: Sequence[Contradiction] = ()) -> list[Contradiction]:
    """Return the groups of nearly equal images of a run that have different labels; none where it keeps no latents.

    Args:
        store: The run, with one label each sample.
        equal: Contradictions of equal inputs, which are not returned again.

    Raises:
        StoreDamagedError: The latents were altered.
    """
    kept = None if store.is_multi_label else read_latents(store.path)
    if kept is None or not (groups := kept[1].get("nearly_equal")):
        return []
    keys, given = store.keys(), store.given_labels()
    known = [set(contradiction.keys) for contradiction in equal]
    found = [
        Contradiction([str(keys[i]) for i in ids], [store.class_names[int(given[i])] for i in ids], nearly=True)
        for ids in groups
    ]
    return [
        group
        for group in found
        if len(set(group.labels)) > 1 and not any(set(group.keys) <= others for others in known)
    ]


def _projected(latents: Floats) -> Floats:
    """Return latents in their main directions, [n, 64]."""
    if latents.shape[1] <= _PROJECTED:
        return latents
    directions = np.linalg.eigh(latents.T @ latents)[1][:, -_PROJECTED:]
    return np.asarray(latents @ directions, np.float32)
