"""Arguments and options that several commands take."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gwaudit.core.errors import SettingsError
from gwaudit.core.settings import split_commas

Run = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="The run's folder, new unless --resume.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the run's last whole epoch, or start it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Detector = Annotated[
    str,
    typer.Option(
        "--detector",
        "--score",
        help="combined, alignment_gap, alignment, margin (AUM), or probability (for runs with final sweeps, and the "
        "default there).",
        rich_help_panel="Ranking",
    ),
]
Window = Annotated[
    tuple[int, int] | None,
    typer.Option(
        help="First and last epoch to average over, counted from 1. By default the last half.",
        rich_help_panel="Ranking",
    ),
]
Cut = Annotated[
    float | None,
    typer.Option(
        help="Suspects score above this: log odds of being wrong, 0 is even. By default the highest F1 to expect.",
        rich_help_panel="Ranking",
    ),
]
Top = Annotated[
    int | None, typer.Option(help="Flag exactly so many, whatever their scores.", rich_help_panel="Ranking")
]
Precision = Annotated[
    float | None,
    typer.Option(
        help="Flag as many as can be with this share of them expected to be wrong, as 0.9.", rich_help_panel="Ranking"
    ),
]
Budget = Annotated[
    int | None, typer.Option(help="Flag at most so many, the most suspicious ones.", rich_help_panel="Ranking")
]
PerClass = Annotated[
    bool,
    typer.Option(
        "--per-class",
        help="Fit what wrong looks like for each given class: where classes differ in size, difficulty or errors.",
        rich_help_panel="Ranking",
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(help="True labels, row for row: .npy, .csv or CIFAR-N's .pt. By default the data's."),
]
TruthKey = Annotated[str | None, typer.Option(help="Which labels of that file.")]
Shown = Annotated[int, typer.Option(help="Show so many suspects, the most suspicious ones.")]


def ranking_settings(
    detector: str,
    window: tuple[int, int] | None,
    cut: float | None,
    top: int | None,
    precision: float | None,
    budget: int | None,
    per_class: bool,
) -> Any:
    """What the options of a ranking come to."""
    from gwaudit.core.settings import RankingSettings

    return RankingSettings(
        detector=detector,
        window="auto" if window is None else (window[0] - 1, window[1] - 1),
        cut="auto" if cut is None else cut,
        top=top,
        precision=precision,
        budget=budget,
        per_class=per_class,
    )


def seeds_of(text: str) -> list[int]:
    """The seeds that stand between commas.

    Raises:
        SettingsError: they are no whole numbers.
    """
    if not all(seed.isdecimal() for seed in split_commas(text)):
        raise SettingsError(f"--seeds takes whole numbers with commas between, not {text!r}")
    return [int(seed) for seed in split_commas(text)]
