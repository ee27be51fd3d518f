"""gwaudit finds wrong labels from one ordinary training run, by gradient-weight alignment."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name lives. Resolved on first use, so that the command line answers `--help` without
# waiting for torch.
_PUBLIC = {
    "AlignmentRecorder": "gwaudit.recorder",
    "Audit": "gwaudit.ranking",
    "DataSettings": "gwaudit.settings",
    "GwauditError": "gwaudit.errors",
    "LabeledDataset": "gwaudit.datasets",
    "RankingSettings": "gwaudit.ranking",
    "RefinementSettings": "gwaudit.settings",
    "TrainingSettings": "gwaudit.settings",
    "TrajectoryStore": "gwaudit.store",
    "apply_decisions": "gwaudit.relabelling",
    "audit": "gwaudit.pipeline",
    "compare": "gwaudit.comparison",
    "evaluate": "gwaudit.evaluation",
    "head_alignment": "gwaudit.alignment",
    "load_dataset": "gwaudit.datasets",
    "rank": "gwaudit.ranking",
    "shared_store": "gwaudit.distributed",
    "train": "gwaudit.training",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'gwaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
