"""Show the progress of a training on standard error."""

import time
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.bar import Bar
from gwaudit.cli.show.console import err
from gwaudit.cli.show.data import print_data

if TYPE_CHECKING:  # for their types alone: help does not wait for torch
    from gwaudit.analysis.verdict import Verdict
    from gwaudit.data.summary import DataSummary
    from gwaudit.training.device import DtypeChoice
    from gwaudit.training.head_choice import HeadChoice
    from gwaudit.training.progress import EpochReport, StepReport


_SECONDS_BETWEEN_LINES = 30.0  # without a terminal, where no bar is shown
_SECONDS_BETWEEN_EPOCHS = 1.0  # heads on features learn many epochs a second, and the run keeps all of them


class TrainingDisplay(Bar):
    """Show lines of epochs, and a bar with the remaining time. A context manager, and a `training.progress.Progress`.

    Args:
        quiet: show nothing.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet, self._last_line = quiet, time.monotonic()
        super().__init__(
            Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[facts]}"),
                TimeRemainingColumn(),
                console=err,
                transient=True,
                disable=quiet or not err.is_terminal,
            )
        )
        self._task = self._progress.add_task("training", total=None, facts="")

    def on_data(self, summary: "DataSummary") -> None:
        """Print what was read."""
        if not self._quiet:
            print_data(summary, self._progress.console)

    def on_dtype(self, choice: "DtypeChoice") -> None:
        """Print in which number format the network is computed, and why."""
        self._print(choice.describe())

    def on_heads(self, done: int, heads: int) -> None:
        """Show how many heads were tried."""
        self._progress.update(self._task, description="choosing a head", total=heads, completed=done, facts="")
        self._print_if_silent(f"choosing a head: {done:,} of {heads:,} tried")
        if done == heads:
            self._progress.reset(self._task, description="training", total=None)

    def on_head(self, choice: "HeadChoice") -> None:
        """Print which head is trained, and why."""
        self._print(choice.describe())

    def on_trees(self, done: int, folds: int) -> None:
        """Show for how many folds trees are fitted."""
        self._progress.update(self._task, description="trees", total=folds, completed=done, facts="")
        self._print_if_silent(f"trees: {done} of {folds} folds")
        if done == folds:
            self._progress.reset(self._task, description="training", total=None)

    def on_step(self, report: "StepReport") -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=f"epoch {report.epoch + 1}/{report.epochs}",
            total=report.epochs * report.steps,
            completed=report.epoch * report.steps + report.step + 1,
            facts=f"loss {report.loss:.3f}  {report.samples_per_second:,.0f} samples/s",
        )
        self._print_if_silent(
            f"epoch {report.epoch + 1}/{report.epochs}: {report.step + 1:,} of {report.steps:,} steps"
        )

    def on_epoch(self, report: "EpochReport") -> None:
        """Print the line of an epoch; of short ones the first, the last, and at most one a second."""
        summary, moments = report.summary, report.summary.moments
        seen = {0, report.epochs - 1}
        is_due = time.monotonic() - self._last_line >= _SECONDS_BETWEEN_EPOCHS
        if not (is_due or summary.epoch in seen or summary.missing or summary.repeated):
            return
        left = (report.epochs - summary.epoch - 1) * report.seconds
        extras = f"  missing {summary.missing}" if summary.missing else ""
        extras += f"  repeated {summary.repeated}" if summary.repeated else ""
        gwa = "bimodal" if moments.bimodal else f"{moments.gwa:+.4f}"
        self._print(
            f"epoch {summary.epoch + 1:>3}/{report.epochs}  loss {summary.mean_loss:.3f}  "
            f"GWA {gwa}  E {moments.directional_alignment:+.3f}  K {moments.dispersion:+.2f}  "
            f"{report.seconds:.1f} s  {report.samples_per_second:,.0f}/s  {_duration(left)} left{extras}"
        )

    def on_round(self, number: int, rounds: int, model: str) -> None:
        """Print the heading of a round of refinement."""
        self._print(f"refinement {number} of {rounds}: {model} learns from the errors found so far")

    def on_rounds_left_out(self, rounds: int, verdict: "Verdict") -> None:
        """Print why rounds of refinement are not trained, and what to do."""
        first = verdict.findings[0]
        which = "the round of refinement is" if rounds == 1 else f"the {rounds} rounds of refinement are"
        advice = with_flags(f"{first.reason}. {first.remedy}. With `force` they are trained all the same")
        self._print(f"{which} left out: {advice}")

    def on_features(self, done: int, samples: int) -> None:
        """Show how many samples the backbone has embedded."""
        self._progress.update(self._task, description="features", total=samples, completed=done, facts="")
        self._print_if_silent(f"features: {done:,} of {samples:,} samples")
        if done == samples:
            self._print(f"features of {samples:,} samples, kept for the next run")
            self._progress.reset(self._task, description="training", total=None)

    def on_images(self, done: int, images: int) -> None:
        """Show how many images are decoded."""
        self._progress.update(self._task, description="decoding images", total=images, completed=done, facts="")
        self._print_if_silent(f"decoding images: {done:,} of {images:,}")
        if done == images:
            self._progress.reset(self._task, description="training", total=None)

    def on_final_pass(self, seconds: float) -> None:
        """Print the line of an evaluation pass."""
        self._print(f"evaluated all samples under the final weights, {seconds:.1f} s")

    def _print_if_silent(self, line: str) -> None:
        """Print a line of progress where there is no bar, and nothing was printed for half a minute."""
        if not err.is_terminal and time.monotonic() - self._last_line > _SECONDS_BETWEEN_LINES:
            self._print(line)

    def _print(self, line: str) -> None:
        self._last_line = time.monotonic()
        if not self._quiet:
            self._progress.console.print(line, highlight=False, soft_wrap=True)


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
