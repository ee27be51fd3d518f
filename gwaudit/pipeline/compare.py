"""Two runs side by side: what a round of corrections changed, or how far two seeds agree.

Samples are matched by their keys, as ids shift where samples were dropped. Where the truth is known it scores; nothing
else here sees it.
"""

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.monitor import selected_epoch
from gwaudit.core.errors import DataError, StoreDamagedError
from gwaudit.core.files import write_text
from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.pipeline.audit import data_of_run, load_data
from gwaudit.store.store import TrajectoryStore
from gwaudit.training.trainer import predict

TEST_FILE = "test.json"
"""Where a run keeps its accuracy on test data."""


@dataclass(frozen=True)
class RunFacts:
    """A ranked run in numbers; None where something is not known.

    Attributes:
        run: its folder.
        samples: how many.
        suspects: how many are flagged.
        expected_wrong: wrong labels to expect in all.
        epoch: the chosen one, from 1, that the next three are of.
        directional_alignment: E.
        dispersion: K.
        gwa: GWA; None where the alignments are two-humped.
        accuracy_on_given: share of the given labels that the last epoch predicted while it trained.
        test_accuracy: under the weights of the chosen epoch, where it was measured.
        label_accuracy: share of the given labels that are right, where the truth is known.
        average_precision: of the ranking, where the truth is known and some labels are wrong.
    """

    run: str
    samples: int
    suspects: int
    expected_wrong: float
    epoch: int
    directional_alignment: float | None
    dispersion: float | None
    gwa: float | None
    accuracy_on_given: float | None
    test_accuracy: float | None
    label_accuracy: float | None
    average_precision: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """A run before and one after.

    Attributes:
        before, after: each by itself.
        common, gone, new: samples in both, in the first alone, in the second alone.
        labels_changed: of the common samples.
        suspects_corrected: suspects of the first run whose label changed, and that are none any more.
        suspects_dropped: suspects of the first run whose sample is gone.
        suspects_cleared: suspects of the first run that are none any more under the same label.
        suspects_stayed: suspects of both runs.
        suspects_new: suspects of the second run alone, in samples of both.
        suspects_added: suspects of the second run in samples that the first did not have.
        jaccard: of the common samples, suspects of both runs among those of either; NaN without any.
        rank_correlation: Spearman's, of the scores of the common samples.
        frame: a row a common sample: `key`, `before` and `after` (given class), `log_odds_before`, `log_odds_after`,
            `suspect_before`, `suspect_after`.
    """

    before: RunFacts
    after: RunFacts
    common: int
    gone: int
    new: int
    labels_changed: int
    suspects_corrected: int
    suspects_dropped: int
    suspects_cleared: int
    suspects_stayed: int
    suspects_new: int
    suspects_added: int
    jaccard: float
    rank_correlation: float
    frame: pd.DataFrame

    def to_dict(self) -> dict[str, Any]:
        """As JSON can hold it, NaN apart; the frame's new suspects by their keys."""
        facts = {name: value for name, value in vars(self).items() if name != "frame"}
        return {**facts, "before": asdict(self.before), "after": asdict(self.after), "new_suspects": self.new_suspects}

    @property
    def new_suspects(self) -> list[str]:
        """Keys of the common samples that only the second run suspects, the most suspicious first."""
        new = self.frame[self.frame["suspect_after"] & ~self.frame["suspect_before"]]
        keys: list[str] = new.sort_values("log_odds_after", ascending=False, kind="stable")["key"].tolist()
        return keys


def compare(before: Path | str, after: Path | str) -> Comparison:
    """Compare two ranked runs of the same data, corrected or not.

    Args:
        before: Folder of the run before the corrections.
        after: Folder of the run after them, or of the other seed.

    Raises:
        StoreNotFoundError: one is not ranked.
        DataError: they have no sample in common, or are of data whose keys are but row numbers that have shifted.
    """
    audits = Audit.load(before), Audit.load(after)
    samples = [_samples(audit) for audit in audits]
    _require_own_keys(audits)
    both = samples[0].merge(samples[1], on=["key", "copy"], suffixes=("_before", "_after"))
    if both.empty:
        raise DataError(f"{before} and {after} have no sample in common: their keys are all different")
    changed = both["given_before"] != both["given_after"]
    was, is_ = both["suspect_before"], both["suspect_after"]
    n_before, n_after = (int(sample["suspect"].sum()) for sample in samples)
    either = int((was | is_).sum())
    ranks = both[["log_odds_before", "log_odds_after"]].rank()
    varied = (ranks.nunique() > 1).all()
    return Comparison(
        before=_facts(audits[0]),
        after=_facts(audits[1]),
        common=len(both),
        gone=len(samples[0]) - len(both),
        new=len(samples[1]) - len(both),
        labels_changed=int(changed.sum()),
        suspects_corrected=int((was & ~is_ & changed).sum()),
        suspects_dropped=n_before - int(was.sum()),
        suspects_cleared=int((was & ~is_ & ~changed).sum()),
        suspects_stayed=int((was & is_).sum()),
        suspects_new=int((~was & is_).sum()),
        suspects_added=n_after - int(is_.sum()),
        jaccard=float((was & is_).sum() / either) if either else float("nan"),
        rank_correlation=float(ranks["log_odds_before"].corr(ranks["log_odds_after"])) if varied else float("nan"),
        frame=both.rename(columns={"given_before": "before", "given_after": "after"}).drop(columns="copy"),
    )


def measure_test_accuracy(run: Path | str, split: str = "test", source: str | None = None) -> float:
    """The accuracy of a run's model on test data, under the weights of its chosen epoch; kept in the run.

    Args:
        run: a finished run.
        split: of the run's own source, or of another.
        source: other data with their right labels, in the same form as the run's.

    Returns:
        Share of the samples whose label is predicted, in [0, 1].

    Raises:
        DataError: there is no such split, or it has other classes.
    """
    run = Path(run)
    with TrajectoryStore.open(run) as store:
        data = data_of_run(store)
    trained_on = load_data(data)
    test = held_out_split(data, split, source)
    accuracy = accuracy_on(run, trained_on, test)
    facts = {"source": source or data.source, "split": split, "samples": len(test), "accuracy": accuracy}
    write_text(run / TEST_FILE, json.dumps(facts, indent=1))
    return accuracy


def held_out_split(data: DataSettings, split: str = "test", source: str | None = None) -> LabeledDataset:
    """Another split of a source, or other data in its form, under their own labels.

    Raises:
        DataError: the source gives the same samples for both splits.
    """
    elsewhere = source or data.source
    test = load_data(replace(data, source=elsewhere, split=split, labels=None, label_key=None, add_noise=0.0))
    if source is None and list(test.keys) == list(
        load_data(replace(data, labels=None, label_key=None, add_noise=0.0)).keys
    ):
        raise DataError(f"{data.source} has no split {split!r} apart from {data.split!r}: name test data of its own")
    return test


def accuracy_on(run: Path, trained_on: LabeledDataset, test: LabeledDataset) -> float:
    """The share of the labels of a data set that a run's model predicts; classes are matched by name.

    Raises:
        DataError: the test data have a class that the run has not.
    """
    unknown = [name for name in test.class_names if name not in trained_on.class_names]
    if unknown:
        raise DataError(f"{test.name} has the class {unknown[0]!r}, which the run does not know: give --classes")
    place = np.array([trained_on.class_names.index(name) for name in test.class_names])
    predicted = predict(run, trained_on, test).argmax(1).numpy()
    return float((predicted == place[test.labels]).mean())


def _samples(audit: Audit) -> pd.DataFrame:
    frame = audit.frame[["key", "given_name", "log_odds_wrong", "suspect"]]
    frame = frame.rename(columns={"given_name": "given", "log_odds_wrong": "log_odds"})
    frame = frame.assign(suspect=frame["suspect"].astype(bool))
    frame = frame.iloc[np.argsort(audit.rows)].reset_index(drop=True)
    # Keys of one's own loop may repeat; those of pairs do, in the order of the classes.
    return frame.assign(copy=frame.groupby("key").cumcount())


def _require_own_keys(audits: tuple[Audit, Audit]) -> None:
    """Row numbers for keys shift when rows are dropped, unless they are of one source, whose rows keep theirs."""
    sources = [_source(audit.run) for audit in audits]
    if sources[0] is not None and sources[0] == sources[1]:
        return
    numbers = [audit.frame["key"].astype(str).str.extract(r"^(?:\w+/)?(\d+)$")[0] for audit in audits]
    if len(numbers[0]) == len(numbers[1]) or any(found.isna().any() for found in numbers):
        return
    if all((np.sort(found.astype(np.int64)) == np.arange(len(found))).all() for found in numbers):
        raise DataError(
            f"{audits[0].run} has {len(numbers[0]):,} samples, {audits[1].run} {len(numbers[1]):,}, and their keys are "
            "but row numbers, which no longer fit: give the table an id column, or audit the source with the "
            "labels.csv of gwaudit apply"
        )


def _source(run: Path) -> str | None:
    with TrajectoryStore.open(run) as store:
        source: str | None = (store.settings.get("data") or {}).get("source")
        return source


def _facts(audit: Audit) -> RunFacts:
    with TrajectoryStore.open(audit.run) as store:
        last = store.commit(store.training_epochs[-1]).metrics
        settings = TrainingSettings.from_dict(store.settings.get("training") or {})
        selected = selected_epoch(store, settings.select, total_epochs=settings.epochs)
        moments = store.commit(selected.epoch).metrics
    evaluation, test = _json(audit.run / "evaluation.json"), _json(audit.run / TEST_FILE)
    return RunFacts(
        run=str(audit.run),
        samples=len(audit.frame),
        suspects=len(audit.suspects),
        expected_wrong=float(audit.expected_wrong()[-1]),
        epoch=selected.epoch + 1,
        directional_alignment=_known(moments["directional_alignment"]),
        dispersion=_known(moments["dispersion"]),
        gwa=_known(moments["gwa"]),
        accuracy_on_given=_known(last.get("accuracy_on_given", math.nan)),
        test_accuracy=test.get("accuracy"),
        label_accuracy=1 - evaluation["n_wrong"] / evaluation["n"] if evaluation else None,
        average_precision=evaluation.get("average_precision"),
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise StoreDamagedError(f"{path} is broken ({error}): delete it, and rank the run again") from error
    return content


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value
