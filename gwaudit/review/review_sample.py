"""Draw a stratified random sample of a run's labels, for people to decide, and keep it in the run.

A label is that of a sample; in multi-label data that of a (sample, class), present or absent. Its id is its row in the
store: that of the sample, or `sample * C + class`.

The labels are sorted by the ranking and cut into strata of about equal uncertainty, in which equally many are drawn:
more where right and wrong labels are mixed, some from the bottom. The strata and the random order in each of them are
kept, not only the labels that were drawn. So the inclusion probabilities stay those of the draw when the ranking
changes later, and a larger sample goes on along the same random orders.

    RUN/review-samples/1/strata.parquet   the stratum, random order and rank of every label
    RUN/review-samples/1/sample.json      seed, sizes and checksums; a sample exists when this file does
    RUN/review-samples/2/...              a sample that was drawn anew later; the last one is in use
"""

import hashlib
import secrets
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gwaudit.analysis.audit import Audit
from gwaudit.core.errors import DataError, SettingsError, StoreDamagedError
from gwaudit.core.files import sha256, write_atomically, writing
from gwaudit.core.json import read_json, sealed, unsealed, write_json
from gwaudit.core.locks import acquire_lock
from gwaudit.core.parquet import read_parquet, write_parquet

FOLDER = "review-samples"
_FACTS, _STRATA = "sample.json", "strata.parquet"

DECIDED_BEFORE = -1
"""The stratum of labels that were decided before the draw: none of them can be drawn."""

MOST_STRATA, LEAST_PER_STRATUM = 4, 50
"""The number of strata at most, and the number of labels drawn from each at least, in a first draw."""

LEAST_DEVIATION = 0.1
"""The least standard deviation that a label is given for the strata, that of one in a hundred being wrong: a ranking
that is sure of the bottom has to show it."""

_ORDERS = 3  # not 0: (seed, 0) and seed are one stream, in which planted errors of that seed come first

_BUSY_SECONDS = 60.0


@dataclass(frozen=True, eq=False)
class ReviewSample:
    """Hold a stratified random sample of the n labels of a run, each of which has an id.

    Attributes:
        seed: Seed of the random orders.
        stratum: Stratum of each label, [n], by its id; -1 for those that were decided before the draw.
        order: Position of each label in the random order of its stratum, [n], from 0.
        rank: Rank of each label in the ranking at the draw, [n], from 1.
        draws: Number of labels drawn from each stratum after each enlargement, [draws][strata]; the last is in use.
        fingerprint: Fingerprint of the data.
        labels_digest: Digest of the given labels.
        number: Number of the sample in the run, from 1.
    """

    seed: int
    stratum: NDArray[np.int16]
    order: NDArray[np.int64]
    rank: NDArray[np.int64]
    draws: tuple[tuple[int, ...], ...]
    fingerprint: str
    labels_digest: str
    number: int = 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Return the number of labels in each stratum, [strata]."""
        return np.bincount(self.stratum[self.stratum >= 0], minlength=len(self.draws[-1])).astype(np.int64)

    @property
    def is_drawn(self) -> NDArray[np.bool_]:
        """Return whether each label was drawn, [n]."""
        drawn = np.array([*self.draws[-1], 0])  # the last for DECIDED_BEFORE
        return np.asarray(self.order < drawn[self.stratum])

    @property
    def inclusion_probability(self) -> NDArray[np.float64]:
        """Return the probability that each label was drawn, [n]: 0 for those that were decided before the draw."""
        shares = np.array([*(np.array(self.draws[-1]) / np.maximum(self.sizes, 1)), 0.0])
        return np.asarray(shares[self.stratum])

    @property
    def size(self) -> int:
        """Return the number of labels drawn."""
        return int(sum(self.draws[-1]))

    def ids(self) -> NDArray[np.int64]:
        """Return the ids of the drawn labels in the random order to decide them, [size].

        All strata go on evenly, so that the first of them are a random sample too.
        """
        ids = np.flatnonzero(self.is_drawn)
        jitter = np.random.default_rng((self.seed, 1)).random(len(self.stratum))
        share = (self.order[ids] + jitter[ids]) / np.array(self.draws[-1])[self.stratum[ids]]
        return ids[np.argsort(share, kind="stable")]

    def enlarged(self, size: int) -> Self:
        """Return the sample with more labels drawn, along the same random orders; the sample itself if it suffices."""
        if size <= self.size:
            return self
        return replace(self, draws=(*self.draws, _allocate(self.sizes, size)))

    def require_same_data(self, audit: Audit) -> None:
        """Raise DataError if the sample was drawn from other data than the audit's."""
        own = (self.fingerprint, self.labels_digest, len(self.stratum))
        if own != (audit.fingerprint, _digest_of_labels(audit), audit.n_labels):
            raise DataError(
                f"the sample in {audit.run / FOLDER / str(self.number)} was drawn from other data or labels than the "
                "run has now: draw one anew (`redraw=True`)"
            )


def draw_sample(audit: Audit, size: int, *, seed: int | None = None, decided: Collection[int] = ()) -> ReviewSample:
    """Draw a stratified random sample over the whole ranking.

    The strata are pieces of the ranking with equal sums of sqrt(p (1 - p)), p the probability of being wrong, and
    at least `LEAST_DEVIATION`; equally many are drawn from each (Neyman's allocation by strata). Suspects and others
    are in different strata. Where the verdict withholds probabilities, p falls from 0.5 to 0 with the cubed share of
    the ranking below.

    Args:
        audit: Audit of the run.
        size: Number of labels to draw; all are drawn if there are no more.
        seed: Seed of the draw, by default a random one.
        decided: Ids of labels that people have decided already, which are not drawn.

    Raises:
        SettingsError: `size` is not positive, or `seed` is negative.
    """
    _require_draw(size, seed)
    seed = secrets.randbits(32) if seed is None else seed
    n, ids = audit.n_labels, audit.rows
    rank = np.empty(n, np.int64)
    rank[ids] = np.arange(1, n + 1)
    undecided = ~np.isin(ids, list(decided))
    stratum = np.full(n, DECIDED_BEFORE, np.int16)
    stratum[ids[undecided]] = _strata(_deviation(audit)[undecided], _flagged(audit)[undecided], size)
    order = np.zeros(n, np.int64)
    shuffled = np.random.default_rng((seed, _ORDERS)).permutation(n)
    for h in range(DECIDED_BEFORE, int(stratum.max(initial=DECIDED_BEFORE)) + 1):
        members = shuffled[stratum[shuffled] == h]
        order[members] = np.arange(len(members))
    sizes = np.bincount(stratum[stratum >= 0]).astype(np.int64)
    draws = (_allocate(sizes, size),)
    return ReviewSample(seed, stratum, order, rank, draws, audit.fingerprint, _digest_of_labels(audit))


def load_sample(audit: Audit) -> ReviewSample | None:
    """Read the sample of a run that is in use, the last one; None if none was drawn.

    Raises:
        DataError: It was drawn from other data.
        StoreDamagedError: A file of it is missing or was altered.
    """
    number = _last_number(audit.run)
    if number == 0:
        return None
    sample = _read(audit.run / FOLDER / str(number), number)
    sample.require_same_data(audit)
    return sample


def sample_to_review(
    audit: Audit, size: int, *, seed: int | None = None, redraw: bool = False, decided: Collection[int] = ()
) -> ReviewSample:
    """Return the sample of a run with at least `size` labels: the one in use, enlarged if it is smaller, or a new one.

    Args:
        audit: Audit of the run.
        size: Number of labels.
        seed: Seed of a new draw, by default a random one.
        redraw: Draw anew from what is undecided, by the ranking in use. Decisions on labels of earlier draws then
            count as known, but no longer stand for others.
        decided: Ids of labels that people have decided already, which a new draw leaves out.

    Raises:
        SettingsError: `size` is not positive, or `seed` is negative.
        DataError: The sample in use was drawn from other data.
        StoreBusyError: Another process is drawing a sample of the run.
        StoreError: The sample cannot be read or written.
    """
    _require_draw(size, seed)
    folder = audit.run / FOLDER
    with writing(folder):
        folder.mkdir(exist_ok=True)
    busy = f"another process is drawing a sample of {audit.run}: wait for it, or stop it"
    with acquire_lock(folder / "lock", busy, wait=_BUSY_SECONDS):
        sample = None if redraw else load_sample(audit)
        if sample is None:
            new = draw_sample(audit, size, seed=seed, decided=decided)
            new = replace(new, number=_last_number(audit.run) + 1)
        else:
            new = sample.enlarged(size)
        if new is not sample:
            _write(new, folder / str(new.number))
    return new


def most_uncertain(audit: Audit, count: int, left_out: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the ids of the labels whose log odds of being wrong are nearest to 0, the nearest first, [count].

    A decision on them changes the numbers of an audit most: at both ends of the ranking it says what is known already.
    In simulated reviews (docs/benchmarks/learning.md) half of the decisions on these, in place of the most suspicious
    ones, halved the error of the number of wrong labels. Labels that cannot be judged come last.

    Args:
        audit: Audit of the run.
        count: Number of labels; all that are there if they are fewer.
        left_out: Whether each label is left out, [n] by its id.
    """
    distance = np.abs(audit.column("log_odds_wrong").astype(np.float64))
    distance = np.where(audit.is_judged, distance, np.inf)
    ids = audit.rows[np.argsort(distance, kind="stable")]
    return np.asarray(ids[~left_out[ids]][:count])


def _require_draw(size: int, seed: int | None) -> None:
    if size < 1:
        raise SettingsError(f"`size` is the number of labels to draw, at least 1, not {size}")
    if seed is not None and seed < 0:
        raise SettingsError(f"`seed` must be 0 or more, not {seed}")


def _deviation(audit: Audit) -> NDArray[np.float64]:
    """Return the standard deviation of each label being wrong, [n], in the order of the ranking."""
    if audit.has_probabilities:
        probability = audit.column("probability_wrong").astype(np.float64)
        known = ~np.isnan(probability)
        # A label that was not judged is as often wrong as the others.
        probability = np.where(known, probability, probability[known].mean() if known.any() else 0.5)
    else:
        probability = 0.5 * (1 - np.arange(audit.n_labels) / audit.n_labels) ** 3
    return np.maximum(np.sqrt(probability * (1 - probability)), LEAST_DEVIATION)


def _flagged(audit: Audit) -> NDArray[np.bool_]:
    return audit.column("suspect").astype(bool) & audit.has_cut


def _strata(deviation: NDArray[np.float64], flagged: NDArray[np.bool_], size: int) -> NDArray[np.int16]:
    """Return the stratum of each label, [n], in the order of the ranking: equal sums of deviation, cut at the flag."""
    wanted = min(MOST_STRATA, max(2, size // LEAST_PER_STRATUM))
    parts = [part for part in (np.flatnonzero(flagged), np.flatnonzero(~flagged)) if len(part)]
    total = deviation.sum()
    stratum, first = np.zeros(len(deviation), np.int16), 0
    for part in parts:
        n_strata = max(1, round(wanted * deviation[part].sum() / total))
        below = np.cumsum(deviation[part]) - deviation[part] / 2
        piece = np.minimum((n_strata * below / deviation[part].sum()).astype(int), n_strata - 1)
        _, piece = np.unique(piece, return_inverse=True)  # without empty strata
        stratum[part] = first + piece
        first += int(piece.max()) + 1
    return stratum


def _allocate(sizes: NDArray[np.int64], size: int) -> tuple[int, ...]:
    """Return the number to draw from each stratum: equally many, and all of a stratum that has no more.

    No number falls when `size` grows.
    """
    drawn = np.zeros(len(sizes), np.int64)
    left = min(size, int(sizes.sum()))
    while left:
        open_strata = np.flatnonzero(drawn < sizes)
        if left < len(open_strata):
            drawn[open_strata[:left]] += 1
            break
        step = min(left // len(open_strata), int((sizes - drawn)[open_strata].min()))
        drawn[open_strata] += step
        left -= step * len(open_strata)
    return tuple(drawn.tolist())


def _digest_of_labels(audit: Audit) -> str:
    return hashlib.blake2b(audit.by_id("given_label").astype("<i8").tobytes(), digest_size=16).hexdigest()


def _last_number(run: Path) -> int:
    with suppress(FileNotFoundError):
        numbers = [int(path.name) for path in (run / FOLDER).iterdir() if path.name.isdecimal() and _is_complete(path)]
        return max(numbers, default=0)
    return 0


def _is_complete(folder: Path) -> bool:
    return (folder / _FACTS).exists()


def _write(sample: ReviewSample, folder: Path) -> None:
    with writing(folder):
        folder.mkdir(exist_ok=True)
    strata = folder / _STRATA
    if not _is_complete(folder):
        table = pa.table({"stratum": sample.stratum, "order": sample.order, "rank": sample.rank})
        write_atomically(strata, lambda path: write_parquet(table, path))
    facts = {
        "seed": sample.seed,
        "draws": [list(drawn) for drawn in sample.draws],
        "fingerprint": sample.fingerprint,
        "labels_digest": sample.labels_digest,
        "strata_sha256": sha256(strata),
    }
    write_json(folder / _FACTS, sealed(facts))


def _read(folder: Path, number: int) -> ReviewSample:
    try:
        facts = unsealed(read_json(folder / _FACTS))
        if sha256(folder / _STRATA) != facts["strata_sha256"]:
            raise ValueError(f"{_STRATA} was altered")
        table = read_parquet(folder / _STRATA)
        return ReviewSample(
            int(facts["seed"]),
            table["stratum"].to_numpy(),
            table["order"].to_numpy(),
            table["rank"].to_numpy(),
            tuple(tuple(map(int, drawn)) for drawn in facts["draws"]),
            facts["fingerprint"],
            facts["labels_digest"],
            number,
        )
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException) as error:
        raise StoreDamagedError(
            f"the sample in {folder} is broken ({error}): restore it, or draw one anew (`redraw=True`)"
        ) from error
