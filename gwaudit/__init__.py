"""gwaudit finds wrong labels from one ordinary training run, by gradient-weight alignment."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Where each public name lives. Resolved on first use, so that the command line answers `--help` without
# waiting for torch.
_PUBLIC = {
    "AlignmentRecorder": "gwaudit.recording.recorder",
    "Audit": "gwaudit.analysis.audit",
    "DataSettings": "gwaudit.core.settings",
    "GwauditError": "gwaudit.core.errors",
    "LabeledDataset": "gwaudit.data.dataset",
    "RankingSettings": "gwaudit.core.settings",
    "RefinementSettings": "gwaudit.core.settings",
    "TrainingSettings": "gwaudit.core.settings",
    "WithSampleIds": "gwaudit.data.sample_ids",
    "TrajectoryStore": "gwaudit.store.store",
    "apply_decisions": "gwaudit.pipeline.apply",
    "audit": "gwaudit.pipeline.audit",
    "compare": "gwaudit.pipeline.compare",
    "evaluate": "gwaudit.analysis.evaluation",
    "head_alignment": "gwaudit.recording.alignment",
    "load_dataset": "gwaudit.data.loading",
    "rank": "gwaudit.analysis.ranking",
    "shared_store": "gwaudit.recording.distributed",
    "train": "gwaudit.training.trainer",
}

__all__ = ["__version__", *sorted(_PUBLIC)]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'gwaudit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
