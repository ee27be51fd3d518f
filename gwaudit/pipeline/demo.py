"""Audit the digits of scikit-learn with one label in ten made wrong on purpose (`demo`)."""

from itertools import count
from pathlib import Path

from gwaudit.core.settings import DataSettings, TrainingSettings
from gwaudit.pipeline.audit import audit
from gwaudit.pipeline.results import AuditResult
from gwaudit.training.progress import Progress


def demo(run: Path | str | None = None, seed: int = 0, *, progress: Progress | None = None) -> AuditResult:
    """Audit digits with 10 % label errors, most of them between digits that look alike.

    The training has twenty epochs of the smallest network: well under a minute on two cores.

    Args:
        run: the folder of the run; by default the first of gwaudit-demo, gwaudit-demo-1, ... that does not exist.
        seed: the seed of the label errors and of the training.
        progress: receives the progress of the training.

    Raises:
        StoreError: the run cannot be written.
    """
    data = DataSettings("digits", add_noise=0.1, add_noise_seed=seed)
    training = TrainingSettings(
        epochs=20, batch_size=64, learning_rate=0.1, label_smoothing=0.0, clip_norm=None, seed=seed
    )
    return audit(data, _new_folder() if run is None else run, training, progress=progress)


def _new_folder() -> Path:
    folders = (Path(f"gwaudit-demo-{number}" if number else "gwaudit-demo") for number in count())
    return next(folder for folder in folders if not folder.exists())
