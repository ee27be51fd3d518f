"""Define the commands that make runs, rank them and show them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gwaudit.cli.command import app, command
from gwaudit.cli.options import (
    AT_URLS,
    AsJson,
    Engine,
    NewRun,
    NoVerify,
    Output,
    Resume,
    Root,
    Run,
    Runs,
    Strict,
    Truth,
    TruthKey,
)
from gwaudit.cli.show.audit import print_audit, print_evaluations, print_noise, print_verdict
from gwaudit.cli.show.console import out, print_facts, print_json, printable
from gwaudit.cli.show.questions import print_questions
from gwaudit.cli.show.run import print_run, print_trajectories, print_trajectory
from gwaudit.cli.show.stages import StageDisplay
from gwaudit.cli.show.training import TrainingDisplay
from gwaudit.core.presets import RefinementSettings
from gwaudit.core.settings import DataSettings, RankingSettings, TrainingSettings

if TYPE_CHECKING:  # for its type alone
    from gwaudit.pipeline.results import AuditResult

EXIT_CODES = {"use the order": 3, "do not use": 4}
"""Exit codes of `--strict`, by the verdict on the run."""


@command(app, "demo")
def demo_command(
    output: NewRun = None,
    seed: Annotated[int, typer.Option(help="Seed of the label errors and of the training.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Audit the digits of scikit-learn with label errors made on purpose: under a minute, nothing to download."""
    from gwaudit.pipeline.demo import demo

    with TrainingDisplay(quiet=as_json) as display:
        result = demo(output, seed, progress=display)
    _report(result, as_json)


@command(
    app,
    "audit",
    "For example: gwaudit audit photos/ -o runs/photos --epochs 50; with CIFAR-N: "
    "gwaudit audit cifar10/ --labels CIFAR-10_human.pt --label-key worse_label -o runs/worse",
)
def audit_command(
    data: DataSettings,
    training: TrainingSettings,
    refinement: RefinementSettings,
    ranking: RankingSettings,
    output: Output,
    resume: Resume = False,
    engine: Engine = "local",
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Train once, rank the suspects, evaluate them where the truth is known, and write the results."""
    from gwaudit.pipeline.audit import audit

    with TrainingDisplay(quiet=as_json) as display:
        result = audit(data, output, training, ranking, refinement, resume=resume, engine=engine, progress=display)
    _report(result, as_json, strict=strict)


@command(app, "train", "For example: gwaudit train photos/ -o runs/photos; then gwaudit rank runs/photos")
def train_command(
    data: DataSettings, training: TrainingSettings, output: Output, resume: Resume = False, as_json: AsJson = False
) -> None:
    """Train once and record the trajectories, without ranking."""
    from gwaudit.pipeline.audit import load_and_train

    with TrainingDisplay(quiet=as_json) as display:
        _, result = load_and_train(data, output, training, resume=resume, progress=display)
    facts = {
        "run": str(result.run),
        "epochs": result.epochs,
        "chosen_epoch": result.selected.epoch + 1,
        "reason": result.selected.reason,
        "seconds": round(result.seconds, 1),
    }
    if as_json:
        print_json(facts)
    else:
        print_facts("recorded", ((name.replace("_", " "), str(value)) for name, value in facts.items()))


@command(app, "rank", "For example: gwaudit rank runs/photos --top 200")
def rank_command(
    run: Run,
    ranking: RankingSettings,
    decisions: Annotated[
        list[Path] | None,
        typer.Option(
            help="File with decisions to calibrate on, or its URL, besides decisions.csv of the run; may be repeated.",
            show_default=False,
        ),
        AT_URLS,
    ] = None,
    no_verify: NoVerify = False,
    engine: Engine = "local",
    root: Root = None,
    strict: Strict = False,
    as_json: AsJson = False,
) -> None:
    """Rank a recorded run, or rank it again, calibrated on decisions; write its suspects and the cleaned data."""
    from gwaudit.pipeline.rank import rank_again

    with StageDisplay() as display:
        result = rank_again(
            run,
            ranking,
            decisions=decisions or (),
            verify=not no_verify,
            engine=engine,
            root=root,
            progress=display,
        )
    _report(result, as_json, strict=strict)


@command(app, "evaluate", "For example: gwaudit evaluate runs/worse runs/aggre")
def evaluate_command(
    runs: Runs,
    truth: Truth = None,
    truth_key: TruthKey = None,
    root: Root = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate ranked runs against the true labels, a row per run; the result is kept in each run."""
    from gwaudit.core.url_outputs import shown_inside
    from gwaudit.pipeline.evaluate import evaluate_run
    from gwaudit.pipeline.results import EVALUATION_FILE

    with StageDisplay() as display:
        evaluations = {str(run): evaluate_run(run, truth, truth_key, root=root, progress=display) for run in runs}
    if as_json:
        print_json({run: evaluation.to_dict() for run, evaluation in evaluations.items()})
    else:
        print_evaluations(evaluations)
        for run in runs:
            _print_written(shown_inside(run, run / EVALUATION_FILE))


@command(app, "show", "For example: gwaudit show runs/photos --sample cat/0012.jpg")
def show_command(
    run: Run,
    sample: Annotated[str | None, typer.Option(help="Id or key of a sample: show its trajectory.")] = None,
    label: Annotated[
        str | None,
        typer.Option("--class", help="Name of a class, for multi-label data: show its trajectory."),
    ] = None,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Compare every file of the samples, of the epochs and checkpoints of all rounds and of the results "
            "with its checksum.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the state of a run and the verdict on it, or the trajectory of one of its samples."""
    from gwaudit.analysis.audit import recorded_verdict
    from gwaudit.pipeline.stages import note_unfinished
    from gwaudit.store.store import TrajectoryStore

    with TrajectoryStore.open(run) as store:
        if verify:
            from gwaudit.pipeline.verify import verify_run

            verify_run(run)
        with StageDisplay() as display:
            note_unfinished(store, display)
        if sample is None:
            verdict = recorded_verdict(run)
            if as_json:
                commits = [store.commit(epoch) for epoch in store.epochs]
                epochs = [
                    {"epoch": c.epoch + 1, "missing": c.missing, "repeated": c.repeated} | c.metrics for c in commits
                ]
                facts = {"run": str(run), "samples": store.n_samples, "settings": store.settings, "epochs": epochs}
                print_json({**facts, "verdict": None if verdict is None else verdict.to_dict()})
            else:
                print_run(store)
                if verify:
                    out.print("Verified: every file has its checksum.", highlight=False)
                if verdict is not None:
                    print_verdict(verdict)
            return
        sample_id = store.find(sample)
        of_all_classes = store.is_multi_label and label is None
        if as_json:
            read = store.trajectories(sample_id) if of_all_classes else store.trajectory(sample_id, label)
            read = read.reset_index()
            read["epoch"] += 1  # as everywhere on the command line
            read = read.astype({name: "Int64" for name in read.columns if name.endswith("_label")})
            rows = read.astype(object).where(read.notna(), None).to_dict("records")
            print_json({"sample_id": sample_id, "key": sample, "trajectory": rows})
        elif of_all_classes:
            print_trajectories(store, sample_id, store.keys()[sample_id])
        else:
            given = int(store.given_labels()[store.layout.find_row(sample_id, label)])
            print_trajectory(store, sample_id, store.keys()[sample_id], given, label)


@command(app, "noise", "For example: gwaudit noise runs/photos")
def noise_command(
    run: Run,
    questions: Annotated[
        Path | None,
        typer.Option(
            help="CSV file to write the questions for the labelling guideline to, or its URL; fill it in for `gwaudit "
            "apply --guidelines`.",
            show_default=False,
        ),
        AT_URLS,
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(
            help="CSV file with a column key (or sample_id) and columns of groups, such as annotator or batch; or the "
            "name of a column of the source.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the classes with the most wrong labels, the most frequent errors, and questions to settle once."""
    from gwaudit.analysis.audit import Audit
    from gwaudit.analysis.guidelines import (
        GroupQuestion,
        group_questions,
        guideline_questions,
        require_pairs_of_classes,
    )
    from gwaudit.analysis.noise import class_health, confusions, worst_first
    from gwaudit.core.url_outputs import shown_output, written_file
    from gwaudit.pipeline.groups import groups_of_run
    from gwaudit.review.decision_files import require_no_answers
    from gwaudit.review.guideline_answers import write_questions

    with written_file(questions, with_earlier=True) as file:
        if file is not None and questions is not None:
            require_no_answers(file, shown_output(questions))
        audit = Audit.load(run)
        if file is not None:
            require_pairs_of_classes(audit)
        asked = guideline_questions(audit)
        of_groups: tuple[GroupQuestion, ...] = ()
        if groups is not None:
            with StageDisplay() as display:
                of_groups = group_questions(audit, groups_of_run(run, groups, display))
        if file is not None:
            write_questions(asked, file)
    facts: dict[str, Any] = {"run": str(run)}
    if questions is None or audit.has_probabilities:  # questions need the order alone
        audit.require_probabilities()
        health, confused = worst_first(class_health(audit)), confusions(audit)
        facts |= {"classes": health.reset_index().to_dict("records"), "confusions": confused.to_dict("records")}
        if not as_json:
            print_noise(health, confused)
    if as_json:
        facts |= {"questions": [asdict(q) for q in asked], "group_questions": [asdict(q) for q in of_groups]}
        print_json(facts)
    else:
        print_questions(asked, of_groups)
        if questions is not None:
            _print_written(shown_output(questions))


def _print_written(path: Path | str) -> None:
    print(f"Written: {printable(str(path))}")


def _report(result: "AuditResult", as_json: bool, *, strict: bool = False) -> None:
    if as_json:
        print_json(result.to_dict())
    else:
        print_audit(result)
    if strict and not result.audit.verdict.is_trusted:
        raise typer.Exit(EXIT_CODES[result.audit.verdict.level])
