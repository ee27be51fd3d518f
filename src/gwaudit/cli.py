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
from gwaudit.errors import (
    BrokenRowsError,
    GwauditError,
    MissingExtraError,
    SettingsError,
    UnresolvedDecisionsError,
)
from gwaudit.options import takes_settings
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
    print_trajectories,
    print_trajectory,
    serve_review,
)
from gwaudit.terminal_relabelling import print_applied, print_comparison, print_problems

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
Truth = Annotated[
    Path | None,
    typer.Option(help="True labels, row for row: .npy, .csv or CIFAR-N's .pt. By default the data's."),
]
TruthKey = Annotated[str | None, typer.Option(help="Which labels of that file.")]
Shown = Annotated[int, typer.Option(help="Show so many suspects, the most suspicious ones.")]


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
                if isinstance(error, UnresolvedDecisionsError):
                    print_problems(error.problems, err)
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
    truth: Truth = None,
    truth_key: TruthKey = None,
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


@_command(
    app,
    "export",
    "For example: gwaudit export runs/photos --to label-studio --output review; "
    "gwaudit export runs/photos --to imagefolder --action drop --output photos-clean",
)
def export_command(
    run: Run,
    to: Annotated[
        str,
        typer.Option(
            help="To look at: csv, label-studio, cvat, fiftyone, cleanlab. To train on: ids, hf (Parquet for Hugging "
            "Face), imagefolder (a folder a class).",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The new folder or file.", show_default=False)],
    action: Annotated[
        str | None,
        typer.Option(help="Of what to train on: drop the suspects, the default, or relabel them to their suggestion."),
    ] = None,
    top: Annotated[
        int | None, typer.Option(help="Of what to look at: the first so many of the ranking, suspects or not.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Of what to look at: all samples.")] = False,
    copy: Annotated[
        bool,
        typer.Option(
            "--copy",
            help="Copy image files, rather than link them (imagefolder, fiftyone) or embed them (label-studio).",
        ),
    ] = False,
) -> None:
    """Write suspects for people and their tools to check, or the data set without or with corrected suspects."""
    from gwaudit.handover.formats import Options
    from gwaudit.pipeline import export
    from gwaudit.ranking import Audit

    options = Options(action, top, everything, copy)  # type: ignore[arg-type]  # checked there
    out.print(str(export(Audit.load(run), to, output, options)), highlight=False, soft_wrap=True)


@_command(app, "apply", "For example: gwaudit apply runs/photos decisions.csv -o photos-corrected")
def apply_command(
    run: Run,
    decisions: Annotated[
        list[Path],
        typer.Argument(
            help="What people decided: decisions.csv, a relabelled suspects.csv, Label Studio's JSON or CSV; several "
            "where several people or rounds decided.",
            show_default=False,
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for corrected labels and split.")],
    format: Annotated[str, typer.Option(help="Of the split: one that export has.")] = "ids",
    undecided: Annotated[str, typer.Option(help="Suspects that nobody decided about: keep, drop or relabel.")] = "keep",
    force: Annotated[bool, typer.Option("--force", help="Apply what is sound, and list what does not add up.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="With imagefolder: copy files rather than link them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Apply what people decided about suspects: corrected labels, a cleaned split, a log of the changes."""
    from dataclasses import asdict

    from gwaudit.relabelling import apply_decisions

    with TrainingDisplay(quiet=as_json) as display:
        applied = apply_decisions(
            run,
            decisions,
            output,
            format=format,
            undecided=undecided,  # type: ignore[arg-type]  # checked there
            force=force,
            copy=copy,
            progress=display,
        )
    if not as_json:
        print_applied(applied, undecided)
        return
    facts = {
        "run": str(run),
        "decided": applied.decisions.counts(),
        "undecided": applied.corrections.counts["undecided"],
        "changes": len(applied.corrections.changes),
        "samples_left": len(applied.corrections.split.ids),
        "notes": list(applied.corrections.notes),
        "problems": [asdict(problem) for problem in applied.problems],
        "files": [str(path) for path in applied.files],
        "next_command": applied.next_command,
    }
    print(_json(facts))


@_command(app, "compare", "For example: gwaudit compare runs/photos runs/photos-round-2")
def compare_command(
    before: Annotated[Path, typer.Argument(help="A ranked run.", show_default=False)],
    after: Annotated[Path, typer.Argument(help="A ranked run of the same or corrected data.", show_default=False)],
    test_split: Annotated[
        str | None, typer.Option(help="Measure both on this split of their source first, under its right labels.")
    ] = None,
    test_source: Annotated[
        str | None, typer.Option(help="Test data of their own, in the form of the runs' source.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a round of corrections changed, or how far two seeds agree: suspects, accuracy, GWA."""
    from gwaudit.comparison import compare, measure_test_accuracy

    if test_split is not None or test_source is not None:
        for run in (before, after):
            measure_test_accuracy(run, test_split or "test", test_source)
    comparison = compare(before, after)
    if as_json:
        print(_json(comparison.to_dict()))
    else:
        print_comparison(comparison)


@_command(app, "show", "For example: gwaudit show runs/photos --sample cat/0012.jpg")
def show_command(
    run: Run,
    sample: Annotated[str | None, typer.Option(help="A sample's id or key: show its trajectory.")] = None,
    label: Annotated[
        str | None, typer.Option("--class", help="Of which class, where samples have any number of them.")
    ] = None,
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
                samples = store.n_samples // store.rows_per_sample
                print(_json({"run": str(run), "samples": samples, "settings": store.settings, "epochs": epochs}))
            else:
                print_run(store)
            return
        sample_id = store.find(sample)
        of_all_classes = store.label_names is not None and label is None
        if as_json:
            read = store.trajectories(sample_id) if of_all_classes else store.trajectory(sample_id, label)
            rows = read.reset_index().to_dict("records")
            print(_json({"sample_id": sample_id, "key": sample, "trajectory": rows}))
        elif of_all_classes:
            print_trajectories(store, sample_id, store.keys()[sample_id])
        else:
            given = int(store.given_labels()[store.row(sample_id, label)])
            print_trajectory(store, sample_id, store.keys()[sample_id], given, label)


@_command(app, "report", "For example: gwaudit report runs/photos --top 3000")
def report_command(
    run: Run,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file. By default report.html in the run's folder.")
    ] = None,
    top: Shown = 1000,
    truth: Truth = None,
    truth_key: TruthKey = None,
) -> None:
    """Write the report on a ranked run: one HTML file to look at, to decide in and to send."""
    from gwaudit.pipeline import report_contents
    from gwaudit.report import write_report

    contents = report_contents(run, top=top, truth=truth, truth_key=truth_key)
    out.print(str(write_report(contents, output or run / "report.html")), highlight=False, soft_wrap=True)


@_command(app, "review", "For example: gwaudit review runs/photos; then gwaudit apply runs/photos ...")
def review_command(
    run: Run,
    top: Shown = 1000,
    port: Annotated[int, typer.Option(help="0 for any that is free.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in the browser.")] = True,
) -> None:
    """Decide on the suspects in the browser; every decision is kept in the run's decisions.csv as it is made."""
    from gwaudit.pipeline import report_contents
    from gwaudit.report import DecisionLog, ReviewServer, render_page

    contents = report_contents(run, top=top)
    with DecisionLog(contents.audit) as log, ReviewServer(log, render_page(contents, served=True), port) as server:
        serve_review(server, browser=browser)


@_command(app, "plot", "For example: gwaudit plot runs/photos --to figures --figure noise-matrix --format pdf")
def plot_command(
    run: Run,
    to: Annotated[Path, typer.Option(help="A new folder for the figures.")],
    format: Annotated[str, typer.Option(help="pdf, svg or png.")] = "pdf",
    figure: Annotated[list[str] | None, typer.Option(help="Which; may be given several times. By default all.")] = None,
    truth: Truth = None,
    truth_key: TruthKey = None,
) -> None:
    """Write the report's figures as files, for papers and slides."""
    from gwaudit.pipeline import report_contents
    from gwaudit.report import write_figures

    contents = report_contents(run, top=0, truth=truth, truth_key=truth_key)
    for path in write_figures(contents, to, format=format, names=figure or ()):  # type: ignore[arg-type]  # checked there
        out.print(str(path), highlight=False, soft_wrap=True)


@_command(app, "noise", "For example: gwaudit noise runs/photos")
def noise_command(run: Run, as_json: AsJson = False) -> None:
    """Show which labels stand for which, and how each class fares, as a ranked run estimates it."""
    from gwaudit.noise import class_health, confused_pairs, worst_first
    from gwaudit.ranking import Audit

    audit = Audit.load(run)
    health, pairs = worst_first(class_health(audit)), confused_pairs(audit)
    if as_json:
        classes = health.reset_index().to_dict("records")
        print(_json({"run": str(run), "classes": classes, "pairs": pairs.to_dict("records")}))
    else:
        print_noise(health, pairs)


def _json(facts: Any) -> str:
    """JSON proper: NaN becomes null."""
    return json.dumps(_without_nan(facts), indent=1)


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and value != value else value


@_command(benchmark, "overhead")
def overhead_command(
    pairs: Annotated[int, typer.Option(help="Pairs of steps, with and without recording.")] = 200,
    as_json: AsJson = False,
) -> None:
    """What recording costs a training step: the CIFAR network, and a head of ViT-S size."""
    from gwaudit.benchmarks.overhead import overhead

    _print_benchmark("recording", overhead(pairs=pairs), as_json)


@_command(benchmark, "ranking")
def ranking_command(
    samples: Annotated[int, typer.Option(help="Samples of the synthetic run.")] = 1_280_000,
    epochs: Annotated[int, typer.Option(help="Its epochs.")] = 90,
    classes: Annotated[int, typer.Option(help="Its classes.")] = 1000,
    folder: Annotated[Path | None, typer.Option(help="Where to make it; by default where temporary files go.")] = None,
    as_json: AsJson = False,
) -> None:
    """How long ranking takes, and how much memory: 115 million rows by default."""
    from gwaudit.benchmarks.ranking import ranking

    result = ranking(samples=samples, epochs=epochs, classes=classes, folder=folder)
    _print_benchmark("ranking", result, as_json)


@_command(
    benchmark,
    "detection",
    "For example: gwaudit benchmark detection cifar10/ --labels CIFAR-10_human.pt "
    "--sets worse_label,aggre_label,instance-20 -o runs/detection",
)
def detection_command(
    source: Annotated[str, typer.Argument(help="The data, with their right labels: as for audit.", show_default=False)],
    training: TrainingSettings,
    output: Annotated[Path, typer.Option("--output", "-o", help="Keeps runs and rows; what is done there stays done.")],
    sets: Annotated[
        str,
        typer.Option(
            help="Label sets: clean, symmetric-20, pair-30, instance-40, long-tail-10 (any percentage), keys of the "
            "label file."
        ),
    ] = "clean,symmetric-20,instance-20",
    trainings: Annotated[
        str,
        typer.Option(
            help="plain (one run: gwaudit and all that reads from it), folds (five, for confident learning), "
            "threshold (two, for AUM's threshold samples), fast, quality (gwaudit's presets, with their refinement)."
        ),
    ] = "plain",
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings and of what is planted.")] = "0",
    labels: Annotated[Path | None, typer.Option(help="The label file: CIFAR-N's .pt, or .csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Detectors of wrong labels side by side: same labels, network and epochs."""
    from dataclasses import asdict

    from gwaudit.benchmarks.detection import detection, markdown
    from gwaudit.benchmarks.figures import write_figures
    from gwaudit.pipeline import load_data

    with TrainingDisplay(quiet=as_json) as display:
        rows = detection(
            load_data(DataSettings(source), display),
            output,
            _listed(sets),
            training,
            trainings=_listed(trainings),
            seeds=_seeds(seeds),
            labels=labels,
            progress=display,
        )
    print(_json([asdict(row) for row in rows]) if as_json else markdown(rows))
    try:
        write_figures(rows, output)
    except MissingExtraError as error:
        print(error, file=sys.stderr)


@_command(
    benchmark,
    "relabelling",
    "For example: gwaudit benchmark relabelling cifar10/ --labels CIFAR-10_human.pt --label-key worse_label "
    "--decisions 2000 -o runs/relabelling",
)
def relabelling_command(
    data: DataSettings,
    training: TrainingSettings,
    output: Annotated[Path, typer.Option("--output", "-o", help="Keeps runs and rows; what is done there stays done.")],
    decisions: Annotated[int, typer.Option(help="Samples that the reviewer looks at.")] = 2000,
    test_split: Annotated[str, typer.Option(help="Split of the source to test on.")] = "test",
    hold_out: Annotated[
        float | None, typer.Option(help="Test on this share of the samples instead, which is not trained on.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings and of the random order.")] = "0",
    as_json: AsJson = False,
) -> None:
    """What so many decisions of a reviewer are worth, in the tool's order and at random: labels, test accuracy."""
    from dataclasses import asdict

    from gwaudit.benchmarks.relabelling import markdown, relabelling, split_off
    from gwaudit.comparison import held_out_split
    from gwaudit.pipeline import load_data

    with TrainingDisplay(quiet=as_json) as display:
        dataset = load_data(data, display)
        if hold_out is None:
            test = held_out_split(data, test_split)
        else:
            dataset, test = split_off(dataset, hold_out)
        rows = relabelling(dataset, test, output, training, decisions=decisions, seeds=_seeds(seeds), progress=display)
    print(_json([asdict(row) for row in rows]) if as_json else markdown(rows))


def _seeds(text: str) -> list[int]:
    if not all(seed.isdecimal() for seed in _listed(text)):
        raise SettingsError(f"--seeds takes whole numbers with commas between, not {text!r}")
    return [int(seed) for seed in _listed(text)]


@_command(benchmark, "pairs", "For example: gwaudit benchmark pairs -o runs/pairs")
def pairs_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder for the runs.")],
    questions: Annotated[
        Path | None, typer.Option(help="Instead of digits: a CSV with columns text and category, as BANKING77's.")
    ] = None,
    encoder: Annotated[str, typer.Option(help="What embeds the questions.")] = DataSettings("").encoder,
    seeds: Annotated[str, typer.Option(help="Of what is planted and of the training.")] = "0",
    as_json: AsJson = False,
) -> None:
    """Planted errors where samples have any number of classes: how many of the missing and superfluous are found."""
    from dataclasses import asdict

    from gwaudit.benchmarks.pairs import composed_digits, markdown, pairs, tagged_questions

    rows = []
    for seed in _seeds(seeds):
        if questions is None:
            dataset = composed_digits(seed=seed)
            training = TrainingSettings(epochs=20, batch_size=128, learning_rate=0.1, head="mlp", seed=seed)
        else:
            dataset, training = tagged_questions(questions, encoder), TrainingSettings(seed=seed)
        rows += pairs(dataset, output, training)
    print(_json([asdict(row) for row in rows]) if as_json else markdown(rows))


def _listed(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _print_benchmark(title: str, result: Any, as_json: bool) -> None:
    from dataclasses import asdict

    facts = asdict(result)
    if as_json:
        print(_json(facts))
    else:
        shown = ((n.replace("_", " "), f"{v:,.4g}" if isinstance(v, float) else str(v)) for n, v in facts.items())
        print_facts(title, shown)
