"""Write the command that audits corrected data with the settings of the run before."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from gwaudit.analysis.audit import Audit
from gwaudit.analysis.detectors import select_detector
from gwaudit.analysis.sample_statistics import is_held_out
from gwaudit.core.presets import RECIPES, RefinementSettings
from gwaudit.core.settings import (
    DEFAULT_RESIZING,
    DataSettings,
    RankingSettings,
    ResolvedTrainingSettings,
    TrainingSettings,
)
from gwaudit.core.urls import redacted
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import url_of
from gwaudit.training.automatic_settings import as_typed, ran_on_photos, resolve
from gwaudit.training.rounds import rounds_of


def next_command(run: Path, audit: Audit, data: DataSettings, labels: Path | str) -> str:
    """Return the command that audits a run again under corrected labels.

    Args:
        run: the folder of the run.
        audit: its ranking.
        data: the data that were audited.
        labels: the file with the corrected labels, or its URL.

    Returns:
        A line for a shell, with every setting of the run that is not the default, and a new folder.
    """
    rounds = rounds_of(run)
    with TrajectoryStore.open(run) as store, TrajectoryStore.open(rounds[-1]) as last:
        training = ResolvedTrainingSettings.from_dict(store.settings["training"])
        modality = store.settings.get("modality", "images")
        typed = as_typed(
            training,
            store.n_samples,
            modality,
            multi_label=store.is_multi_label,
            photos=ran_on_photos(store),
            tried=(store.settings.get("heads") or {}).get("candidates"),
        )
        if store.settings.get("dtype") is None:  # the user set it
            typed["dtype"] = training.dtype
        auto = select_detector(
            "auto",
            final_passes=len(last.final_passes),
            multi_label=store.is_multi_label,
            held_out=is_held_out(store),
        )
    # The file has labels by key. Label noise was a trial on the labels of the source.
    data = replace(data, labels=str(labels), label_key=None, add_noise=0.0, add_noise_seed=0)
    data = replace(data, resizing=DEFAULT_RESIZING)  # the audit finds that of the weights again
    refinement = _refinement(rounds, training)
    options = [
        *_options(asdict(data), asdict(DataSettings(data.source))),
        *_options(typed, asdict(TrainingSettings())),
        *_options(asdict(refinement), asdict(RefinementSettings())),
        *_options(_typed(audit.settings, auto), asdict(RankingSettings())),
    ]
    return shlex.join(["gwaudit", "audit", redacted(data.source), *options, "--output", _next_run(run)])


def _options(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    options: list[str] = []
    for name, value in values.items():
        if value != defaults[name]:
            flag = name.replace("_", "-")
            if isinstance(value, bool):
                options.append(f"--{flag}" if value else f"--no-{flag}")
            else:
                options += [f"--{flag}", *(str(part) for part in (value if isinstance(value, tuple) else (value,)))]
    return options


def _typed(ranking: RankingSettings, auto: str) -> dict[str, Any]:
    """Return the settings of a ranking as a person types them: epochs counted from 1, `auto` where it was chosen so.

    Args:
        ranking: the settings; the detector is the one that was used.
        auto: the detector that `auto` stands for.
    """
    values = asdict(ranking)
    if ranking.detector == auto:
        values["detector"] = "auto"
    if not isinstance(ranking.window, str):
        values["window"] = tuple(epoch + 1 for epoch in ranking.window)
    return values


def _refinement(rounds: Sequence[Path], first: ResolvedTrainingSettings) -> RefinementSettings:
    """Return settings that train the rounds of a run as they were trained, as far as their own settings show it."""
    if len(rounds) == 1:
        return RefinementSettings()
    with TrajectoryStore.open(rounds[1]) as store:
        trained = ResolvedTrainingSettings.from_dict(store.settings["training"])
        n_samples, modality = store.n_samples, store.settings.get("modality", "images")
        photos = ran_on_photos(store)
    candidates = [RefinementSettings(refine=len(rounds) - 1, refine_as=recipe) for recipe in (None, *RECIPES)]
    for candidate in candidates:
        if resolve(candidate.training(first, 1), n_samples, modality, photos=photos) == trained:
            return candidate
    return replace(candidates[0], refine_model=trained.model, refine_epochs=trained.epochs)


def _next_run(run: Path) -> str:
    """Return the folder of the next run, or its URL where this one lies at a URL."""
    url = url_of(run)
    return str(_next_folder(run)) if url is None else f"{url.removesuffix(run.name)}{_next_folder(run).name}"


def _next_folder(run: Path) -> Path:
    base, _, number = run.name.rpartition("-round-")
    name, next_round = (base, int(number) + 1) if base and number.isdecimal() else (run.name, 2)
    while (folder := run.with_name(f"{name}-round-{next_round}")).exists():
        next_round += 1
    return folder
