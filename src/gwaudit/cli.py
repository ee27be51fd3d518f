"""The command line: parses, calls, prints. What the commands do is in the modules that they call."""

import functools
import io
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

import gwaudit
from gwaudit.benchmark_commands import COMMANDS
from gwaudit.errors import BrokenRowsError, GwauditError
from gwaudit.options import takes_settings
from gwaudit.proper_json import to_json as _json
from gwaudit.settings import DataSettings, RefinementSettings, TrainingSettings
from gwaudit.terminal import (
    TrainingDisplay,
    err,
    out,
    print_audit,
    print_error,
    print_evaluations,
    print_facts,
    print_noise,
    print_rows,
    print_run,
    print_trajectory,
)

BAD_INPUT = 2
INTERRUPTED = 130
_GRACE = 15.0  # seconds

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Find the wrong labels in a data set from one ordinary training run.",
    epilog="Start with `gwaudit demo`; then `gwaudit audit FOLDER --output runs/mine`.",
)
benchmark = typer.Typer(no_args_is_help=True, help="Measure what gwaudit costs.")
app.add_typer(benchmark, name="benchmark")

Run = Annotated[Path, typer.Argument(help="The run's folder.", show_default=False)]
Output = Annotated[Path, typer.Option("--output", "-o", help="The run's folder, new unless --resume.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after the run's last whole epoch, or start it.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else.")]
Score = Annotated[
    str,
    typer.Option(
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


def main() -> None:
    """The console script. Of the processes that torchrun starts, the first speaks for all."""
    if int(os.environ.get("RANK", "0")) == 0:
        app()
        return
    told = io.StringIO()
    try:
        # A traceback is printed after this block, where standard error is itself again.
        with redirect_stdout(io.StringIO()), redirect_stderr(told):
            app()
    except SystemExit as end:
        if end.code:
            # torchrun ends all processes when one fails. Let that be the first, once it has told why; if it lives on,
            # the error is of this process alone.
            time.sleep(_GRACE)
            print(told.getvalue(), end="", file=sys.stderr)
        raise


def _command(group: typer.Typer, name: str, epilog: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a command: settings become options, the user's mistakes one line and exit code 2."""

    def register(command: Callable[..., None]) -> Callable[..., None]:
        inner = takes_settings(command)

        @functools.wraps(inner)
        def guarded(**values: Any) -> None:
            try:
                inner(**values)
            except GwauditError as error:
                print_error(str(error))
                if isinstance(error, BrokenRowsError) and len(error.rows) > 1:
                    print_rows(error.rows, err)
                raise typer.Exit(BAD_INPUT) from error
            except KeyboardInterrupt:
                print_error("interrupted; whole epochs are kept" + _how_to_resume(values))
                raise typer.Exit(INTERRUPTED) from None

        guarded.__signature__ = inner.__signature__  # type: ignore[attr-defined]
        guarded.__annotations__ = inner.__annotations__
        group.command(name, epilog=epilog or None)(guarded)
        return command

    return register


def _how_to_resume(values: dict[str, Any]) -> str:
    if "resume" not in values:
        return ""
    arguments = [argument for argument in sys.argv[1:] if argument != "--resume"]
    return f". Go on with: gwaudit {shlex.join([*arguments, '--resume'])}"


def _version(wanted: bool) -> None:
    if wanted:
        print(gwaudit.__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def _ranking(
    score: str,
    window: tuple[int, int] | None,
    cut: float | None,
    top: int | None,
    precision: float | None,
    budget: int | None,
    per_class: bool,
) -> Any:
    from gwaudit.ranking import RankingSettings

    return RankingSettings(
        score=score,  # type: ignore[arg-type]  # checked there
        window="auto" if window is None else (window[0] - 1, window[1] - 1),
        cut="auto" if cut is None else cut,
        top=top,
        precision=precision,
        budget=budget,
        per_class=per_class,
    )


def _report(result: Any, as_json: bool) -> None:
    if not as_json:
        print_audit(result)
        return
    from dataclasses import asdict

    facts = {
        "run": str(result.audit.run),
        **result.audit.summary(),
        "evaluation": None if result.evaluation is None else result.evaluation.to_dict(),
        "skipped": [asdict(s) for s in result.dataset.skipped],
        "files": [str(path) for path in result.files],
    }
    print(json.dumps(facts, indent=1))


@_command(app, "demo")
def demo_command(
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The run's folder. By default a new one here.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the planted errors and the training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Audit scikit-learn's digits with planted errors: under a minute, nothing to download."""
    from gwaudit.demo import demo_data, demo_training
    from gwaudit.pipeline import audit

    if output is None:
        numbers = (f"-{i}" if i else "" for i in range(10_000))
        output = next(path for path in (Path(f"gwaudit-demo{number}") for number in numbers) if not path.exists())
    with TrainingDisplay(quiet=as_json) as display:
        result = audit(demo_data(seed), output, demo_training(seed), progress=display)
    _report(result, as_json)


@_command(
    app,
    "audit",
    "For example: gwaudit audit photos/ -o runs/photos --epochs 50; with CIFAR-N: "
    "gwaudit audit cifar10/ --labels CIFAR-10_human.pt --label-key worse_label -o runs/worse",
)
def audit_command(
    data: DataSettings,
    training: TrainingSettings,
    refinement: RefinementSettings,
    output: Output,
    resume: Resume = False,
    score: Score = "auto",
    window: Window = None,
    cut: Cut = None,
    top: Top = None,
    precision: Precision = None,
    budget: Budget = None,
    per_class: PerClass = False,
    as_json: AsJson = False,
) -> None:
    """Train once, rank the suspected mislabels, score them where the truth is known, and write the results."""
    from gwaudit.pipeline import audit

    ranking = _ranking(score, window, cut, top, precision, budget, per_class)
    with TrainingDisplay(quiet=as_json) as display:
        result = audit(data, output, training, ranking, refinement, resume=resume, progress=display)
    _report(result, as_json)


@_command(app, "train", "For example: gwaudit train photos/ -o runs/photos; then gwaudit rank runs/photos")
def train_command(
    data: DataSettings, training: TrainingSettings, output: Output, resume: Resume = False, as_json: AsJson = False
) -> None:
    """Train once and record, without ranking."""
    from gwaudit.pipeline import load_and_train

    with TrainingDisplay(quiet=as_json) as display:
        _, result = load_and_train(data, output, training, resume=resume, progress=display)
    facts = {
        "run": str(result.run),
        "epochs": result.epochs,
        "chosen_epoch": result.choice.epoch + 1,
        "reason": result.choice.reason,
        "seconds": round(result.seconds, 1),
    }
    if as_json:
        print(json.dumps(facts, indent=1))
    else:
        print_facts("recorded", ((name.replace("_", " "), str(value)) for name, value in facts.items()))


@_command(app, "rank", "For example: gwaudit rank runs/photos --top 200")
def rank_command(
    run: Run,
    score: Score = "auto",
    window: Window = None,
    cut: Cut = None,
    top: Top = None,
    precision: Precision = None,
    budget: Budget = None,
    per_class: PerClass = False,
    as_json: AsJson = False,
) -> None:
    """Rank a recorded run (again), and write its suspects and cleaned splits."""
    from gwaudit.pipeline import data_of_run, finish, load_data
    from gwaudit.refinement import rank_run, rounds_of
    from gwaudit.store import TrajectoryStore

    ranking = _ranking(score, window, cut, top, precision, budget, per_class)
    with TrajectoryStore.open(run) as store:
        data = data_of_run(store)
    result = finish(rank_run(rounds_of(run), ranking), load_data(data))
    _report(result, as_json)


@_command(app, "evaluate", "For example: gwaudit evaluate runs/worse runs/aggre")
def evaluate_command(
    runs: Annotated[list[Path], typer.Argument(help="Ranked runs.", show_default=False)],
    truth: Annotated[
        Path | None,
        typer.Option(help="True labels, row for row: .npy, .csv or CIFAR-N's .pt. By default the data's."),
    ] = None,
    truth_key: Annotated[str | None, typer.Option(help="Which labels of that file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Score ranked runs against the true labels, a row each."""
    from gwaudit.evaluation import evaluate
    from gwaudit.pipeline import true_labels, write_evaluation
    from gwaudit.ranking import Audit

    evaluations = {}
    for run in runs:
        evaluations[str(run)] = evaluate(Audit.load(run), true_labels(run, truth, truth_key))
        write_evaluation(evaluations[str(run)], run)
    if as_json:
        print(json.dumps({run: evaluation.to_dict() for run, evaluation in evaluations.items()}, indent=1))
    else:
        print_evaluations(evaluations)


@_command(app, "export", "For example: gwaudit export runs/photos --to photos-clean --format imagefolder --action drop")
def export_command(
    run: Run,
    to: Annotated[Path, typer.Option(help="A new folder for the split, or the CSV's path.")],
    format: Annotated[str, typer.Option(help="csv (suspects), ids, parquet (Hugging Face) or imagefolder.")] = "csv",
    action: Annotated[str, typer.Option(help="drop the suspects, or relabel them to their suggestion.")] = "drop",
    top: Annotated[int | None, typer.Option(help="With csv: so many from the top, suspects or not.")] = None,
    copy: Annotated[bool, typer.Option("--copy", help="With imagefolder: copy files rather than link them.")] = False,
) -> None:
    """Write the suspects as CSV, or the data set without or with corrected suspects."""
    from gwaudit.export import write_suspects
    from gwaudit.pipeline import export_split, texts_of
    from gwaudit.ranking import Audit

    audit = Audit.load(run)
    if format == "csv":
        path = write_suspects(audit, to, top=top, texts=texts_of(run))
    else:
        path = export_split(audit, to, action=action, format=format, copy=copy)
    out.print(str(path), highlight=False, soft_wrap=True)


@_command(app, "show", "For example: gwaudit show runs/photos --sample cat/0012.jpg")
def show_command(
    run: Run,
    sample: Annotated[str | None, typer.Option(help="A sample's id or key: show its trajectory.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check every file against its checksum.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run, or the trajectory of one of its samples."""
    from gwaudit.store import TrajectoryStore

    with TrajectoryStore.open(run) as store:
        if verify:
            store.verify()
        if sample is None:
            if as_json:
                commits = [store.commit(epoch) for epoch in store.epochs]
                epochs = [
                    {"epoch": c.epoch + 1, "missing": c.missing, "repeated": c.repeated} | c.metrics for c in commits
                ]
                print(
                    _json({"run": str(run), "samples": store.n_samples, "settings": store.settings, "epochs": epochs})
                )
            else:
                print_run(store)
            return
        sample_id = store.find(sample)
        if as_json:
            rows = store.trajectory(sample_id).reset_index().to_dict("records")
            print(_json({"sample_id": sample_id, "key": sample, "trajectory": rows}))
        else:
            print_trajectory(store, sample_id, store.keys()[sample_id], int(store.given_labels()[sample_id]))


@_command(app, "noise", "For example: gwaudit noise runs/photos")
def noise_command(run: Run, as_json: AsJson = False) -> None:
    """Show which labels stand for which, and how each class fares, as a ranked run estimates it."""
    from gwaudit.noise import class_health, confused_pairs
    from gwaudit.ranking import Audit

    audit = Audit.load(run)
    health, pairs = class_health(audit).sort_values("share_wrong", ascending=False), confused_pairs(audit)
    if as_json:
        classes = health.reset_index().to_dict("records")
        print(_json({"run": str(run), "classes": classes, "pairs": pairs.to_dict("records")}))
    else:
        print_noise(health, pairs)


for name, command, epilog in COMMANDS:
    _command(benchmark, name, epilog)(command)
