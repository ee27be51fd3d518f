"""The commands under `gwaudit benchmark`: what gwaudit costs, what it finds, when to stop, what decisions are worth."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.cli.arguments import AsJson, seeds_of
from gwaudit.cli.command import benchmark, command
from gwaudit.cli.show.terminal import TrainingDisplay, print_facts
from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.core.json import to_json
from gwaudit.core.settings import DataSettings, TrainingSettings, split_commas

Kept = Annotated[Path, typer.Option("--output", "-o", help="Keeps runs and results; what is done there stays done.")]


@command(benchmark, "overhead")
def overhead_command(
    pairs: Annotated[int, typer.Option(help="Pairs of steps, with and without recording.")] = 200,
    as_json: AsJson = False,
) -> None:
    """What recording costs a training step: the CIFAR network, and a head of ViT-S size."""
    from gwaudit.benchmarks.cost.overhead import overhead

    _print_benchmark("recording", overhead(pairs=pairs), as_json)


@command(benchmark, "ranking")
def ranking_command(
    samples: Annotated[int, typer.Option(help="Samples of the synthetic run.")] = 1_280_000,
    epochs: Annotated[int, typer.Option(help="Its epochs.")] = 90,
    classes: Annotated[int, typer.Option(help="Its classes.")] = 1000,
    folder: Annotated[Path | None, typer.Option(help="Where to make it; by default where temporary files go.")] = None,
    as_json: AsJson = False,
) -> None:
    """How long ranking takes, and how much memory: 115 million rows by default."""
    from gwaudit.benchmarks.cost.ranking import ranking

    result = ranking(samples=samples, epochs=epochs, classes=classes, folder=folder)
    _print_benchmark("ranking", result, as_json)


@command(
    benchmark,
    "detection",
    "For example: gwaudit benchmark detection cifar10/ --labels CIFAR-10_human.pt "
    "--sets worse_label,aggre_label,instance-20 -o runs/detection",
)
def detection_command(
    source: Annotated[str, typer.Argument(help="The data, with their right labels: as for audit.", show_default=False)],
    training: TrainingSettings,
    output: Kept,
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
    from gwaudit.benchmarks.detection.benchmark import detection, markdown
    from gwaudit.benchmarks.detection.figures import write_figures
    from gwaudit.pipeline.audit import load_data

    with TrainingDisplay(quiet=as_json) as display:
        rows = detection(
            load_data(DataSettings(source), display),
            output,
            split_commas(sets),
            training,
            trainings=split_commas(trainings),
            seeds=seeds_of(seeds),
            labels=labels,
            progress=display,
        )
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))
    try:
        write_figures(rows, output)
    except MissingExtraError as error:
        print(error, file=sys.stderr)


@command(
    benchmark,
    "stopping",
    "For example: gwaudit benchmark stopping cifar10/ --labels CIFAR-10_human.pt "
    "--sets clean,aggre_label,random_label1,worse_label -o runs/stopping",
)
def stopping_command(
    source: Annotated[str, typer.Argument(help="Images, with their right labels: as for audit.", show_default=False)],
    settings: StoppingSettings,
    output: Kept,
    labels: Annotated[Path | None, typer.Option(help="The label file: CIFAR-N's .pt, or .csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Stopping rules side by side: which epoch each chooses, what that costs, and whether alignment tells accuracy."""
    from gwaudit.benchmarks.stopping.benchmark import stopping

    with TrainingDisplay(quiet=as_json) as display:
        measurements = stopping(source, output, settings, labels=labels, progress=display)
    _report_stopping(measurements, output, settings.patience, as_json)


@command(benchmark, "stopping-report", "For example: gwaudit benchmark stopping-report runs/stopping")
def stopping_report_command(
    folder: Annotated[Path, typer.Argument(help="Holds the stopping.json of that benchmark.", show_default=False)],
    patience: Annotated[int, typer.Option(help="Epochs that a choice has to stand before a rule stops.")] = 5,
    as_json: AsJson = False,
) -> None:
    """The tables and figures of the stopping benchmark again, from its stopping.json alone."""
    from gwaudit.benchmarks.stopping.benchmark import read_measurements

    measurements = read_measurements(folder)
    if not measurements:
        raise SettingsError(f"{folder} holds no stopping.json: make one with gwaudit benchmark stopping")
    _report_stopping(measurements, folder, patience, as_json)


def _report_stopping(measurements: Any, folder: Path, patience: int, as_json: bool) -> None:
    from gwaudit.benchmarks.stopping.analysis import as_frame
    from gwaudit.benchmarks.stopping.figures import write_figures
    from gwaudit.benchmarks.stopping.tables import markdown, write_tables

    write_tables(measurements, folder, patience=patience)
    if as_json:
        print(to_json(as_frame(measurements, patience=patience).to_dict("records")))
    else:
        print(markdown(measurements, patience=patience))
    try:
        write_figures(measurements, folder)
    except MissingExtraError as error:
        print(error, file=sys.stderr)


@command(benchmark, "related", "For example: gwaudit benchmark related digits -o runs/related")
def related_command(
    source: Annotated[str, typer.Argument(help="Images, with their right labels: as for audit.", show_default=False)],
    output: Kept,
    label_set: Annotated[str, typer.Option(help="As one of the stopping benchmark's sets.")] = "symmetric-40",
    model: Annotated[str, typer.Option(help="A small network: gradients of the whole of it are held.")] = "resnet9_16",
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 15,
    samples: Annotated[int, typer.Option(help="Training samples, drawn at random; 0 for all.")] = 1000,
    test_samples: Annotated[int, typer.Option(help="Test images, drawn at random; 0 for all.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Samples a batch.")] = 64,
    watched: Annotated[int, typer.Option(help="Samples whose gradients are compared, one with each other.")] = 64,
    labels: Annotated[Path | None, typer.Option(help="The label file: CIFAR-N's .pt, or .csv.")] = None,
    seed: Annotated[int, typer.Option(help="Of the training and the draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Alignment beside stiffness, full-network alignment and the direction to the final weights, in a small run."""
    from gwaudit.benchmarks.stopping.related import markdown, related

    settings = StoppingSettings(
        sets=label_set,
        models=model,
        epochs=epochs,
        samples=samples,
        test_samples=test_samples,
        batch_size=batch_size,
        seed=seed,
    )
    with TrainingDisplay(quiet=as_json) as display:
        rows = related(source, output, settings, watched=watched, labels=labels, progress=display)
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(
    benchmark,
    "validation-cost",
    "For example, on a GPU: gwaudit benchmark validation-cost --model vit_small_patch16_224 --image-size 224 "
    "--classes 1000 --batch-size 256",
)
def validation_cost_command(
    model: Annotated[str, typer.Option(help="Any network of timm's.")] = "resnet9_16",
    image_size: Annotated[int, typer.Option(help="Side of the images, in pixels.")] = 32,
    classes: Annotated[int, typer.Option(help="Of the head.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Images of a step.")] = 512,
    samples: Annotated[int, typer.Option(help="Of an epoch.")] = 50_000,
    share: Annotated[float, typer.Option(help="Of these, what validation would evaluate.")] = 0.01,
    pairs: Annotated[int, typer.Option(help="Of a recorded step and a validation batch.")] = 50,
    device: Annotated[str, typer.Option(help="cpu, cuda, ..., or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """What recording costs beside training, and beside a validation pass: paired, any network, any device."""
    from gwaudit.benchmarks.cost.validation_cost import validation_cost

    result = validation_cost(
        model=model,
        image_size=image_size,
        classes=classes,
        batch_size=batch_size,
        samples=samples,
        share=share,
        pairs=pairs,
        device=device,
    )
    _print_benchmark("recording and validation", result, as_json)


@command(
    benchmark,
    "relabelling",
    "For example: gwaudit benchmark relabelling cifar10/ --labels CIFAR-10_human.pt --label-key worse_label "
    "--decisions 2000 -o runs/relabelling",
)
def relabelling_command(
    data: DataSettings,
    training: TrainingSettings,
    output: Kept,
    decisions: Annotated[int, typer.Option(help="Samples that the reviewer looks at.")] = 2000,
    test_split: Annotated[str, typer.Option(help="Split of the source to test on.")] = "test",
    hold_out: Annotated[
        float | None, typer.Option(help="Test on this share of the samples instead, which is not trained on.")
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the trainings and of the random order.")] = "0",
    as_json: AsJson = False,
) -> None:
    """What so many decisions of a reviewer are worth, in the tool's order and at random: labels, test accuracy."""
    from gwaudit.benchmarks.relabelling import markdown, relabelling, split_off
    from gwaudit.pipeline.audit import load_data
    from gwaudit.pipeline.compare import held_out_split

    with TrainingDisplay(quiet=as_json) as display:
        dataset = load_data(data, display)
        if hold_out is None:
            test = held_out_split(data, test_split)
        else:
            dataset, test = split_off(dataset, hold_out)
        rows = relabelling(
            dataset, test, output, training, decisions=decisions, seeds=seeds_of(seeds), progress=display
        )
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(benchmark, "pairs", "For example: gwaudit benchmark pairs -o runs/pairs")
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
    from gwaudit.benchmarks.multilabel import composed_digits, markdown, pairs, tagged_questions

    rows = []
    for seed in seeds_of(seeds):
        if questions is None:
            dataset = composed_digits(seed=seed)
            training = TrainingSettings(epochs=20, batch_size=128, learning_rate=0.1, head="mlp", seed=seed)
        else:
            dataset, training = tagged_questions(questions, encoder), TrainingSettings(seed=seed)
        rows += pairs(dataset, output, training)
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


def _print_benchmark(title: str, result: Any, as_json: bool) -> None:
    facts = asdict(result)
    if as_json:
        print(to_json(facts))
    else:
        shown = ((n.replace("_", " "), f"{v:,.4g}" if isinstance(v, float) else str(v)) for n, v in facts.items())
        print_facts(title, shown)
