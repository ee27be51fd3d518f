"""Show the stages of a command, and notes on its data, on standard error."""

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Task as Stage
from rich.text import Text

from gwaudit.cli.errors import with_flags
from gwaudit.cli.show.bar import Bar
from gwaudit.cli.show.console import err


class StageDisplay(Bar):
    """Show the current stage and its time. A context manager, and a `pipeline.stages.StageProgress`.

    Nothing but the notes is shown where standard error is no terminal.
    """

    def __init__(self) -> None:
        super().__init__(
            Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                _StepsColumn(),
                TimeElapsedColumn(),
                console=err,
                transient=True,
                disable=not err.is_terminal,
            )
        )
        self._task = self._progress.add_task("", total=None, visible=False)
        self._stage = ""

    def on_stage(self, stage: str, done: int = 0, total: int | None = None) -> None:
        """Show a stage, and its steps where they are counted."""
        if stage != self._stage:
            self._progress.reset(self._task, description=stage, total=total, visible=True)
            self._stage = stage
        self._progress.update(self._task, total=total, completed=done)

    def on_note(self, note: str) -> None:
        """Print a note."""
        self._progress.console.print(escape(with_flags(note)), style="yellow", highlight=False, soft_wrap=True)


class _StepsColumn(MofNCompleteColumn):
    """Show the number of steps where it is known."""

    def render(self, task: Stage) -> Text:
        return Text() if task.total is None else super().render(task)
