"""Save and restore the state of a training, and check that a run can be resumed.

A checkpoint `epoch-NNNNN.safetensors` holds the epoch's number, the settings, and the states of the model, the
optimizer and the moving average of the weights. A run keeps the checkpoint of its last epoch, and `best.safetensors`, a
copy of the one of the epoch that the selection rule chose.
"""

import hashlib
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from timm.utils import ModelEmaV3
from torch import Tensor, nn

from gwaudit.core.errors import SettingsError, StoreDamagedError, StoreError, StoreVersionError
from gwaudit.core.files import delete, write_atomically
from gwaudit.core.origins import fetch
from gwaudit.core.outputs import require_folder
from gwaudit.core.settings import ALIGNMENTS, DataSettings, ResolvedTrainingSettings, TrainingSettings
from gwaudit.data.dataset import LabeledDataset
from gwaudit.data.summary import summarise
from gwaudit.store.manifest import require_free
from gwaudit.store.store import TrajectoryStore
from gwaudit.store.working_copies import names_at_origin
from gwaudit.training.device import DtypeChoice
from gwaudit.training.head_choice import HeadChoice
from gwaudit.training.preprocessing import Preprocessing
from gwaudit.training.tensor_files import SUFFIX, read_tensors, write_tensors


@dataclass(frozen=True)
class TrainingState:
    """Hold the state that a checkpoint saves and restores.

    Attributes:
        model: The trained model.
        optimizer: Its optimizer, with momentum and learning rates.
        ema: Exponential moving average of the weights, or None.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    ema: ModelEmaV3 | None


def best_checkpoint(store: TrajectoryStore) -> Path:
    """Return the path of the checkpoint of the epoch that the selection rule chose."""
    return store.checkpoints / f"best{SUFFIX}"


def epoch_checkpoint(store: TrajectoryStore, epoch: int) -> Path:
    """Return the path of the checkpoint of an epoch, counted from 0."""
    return store.checkpoints / f"epoch-{epoch:05d}{SUFFIX}"


def save_checkpoint(store: TrajectoryStore, state: TrainingState, epoch: int, settings: TrainingSettings) -> None:
    """Write the checkpoint of an epoch atomically.

    Args:
        store: The run.
        state: The state to save.
        epoch: The epoch, counted from 0, after which the state is saved.
        settings: The settings of the training.

    Raises:
        StoreError: The file cannot be written.
    """
    path = epoch_checkpoint(store, epoch)
    values = {
        "run_id": store.run_id,
        "epoch": epoch,
        "settings": settings.to_dict(),
        "model": state.model.state_dict(),
        "optimizer": state.optimizer.state_dict(),
        "ema": None if state.ema is None else state.ema.module.state_dict(),
    }
    try:
        write_atomically(path, lambda temporary: write_tensors(temporary, values))
    except SafetensorError as error:  # a full disk, among others
        raise StoreError(
            f"cannot write the checkpoint {path}: {str(error).splitlines()[0]}. Free disk space and continue "
            "the run with `resume=True`; the epochs committed before are intact"
        ) from error


def restore_checkpoint(
    store: TrajectoryStore, state: TrainingState, device: torch.device, *, epoch: int | None = None
) -> None:
    """Read a checkpoint into a state.

    Args:
        store: The run.
        state: The state to restore; it is changed in place.
        device: The device to read the tensors to.
        epoch: The epoch, counted from 0; None for the one that the selection rule chose.

    Raises:
        StoreDamagedError: The file is missing or damaged, or belongs to another run, epoch, model or optimizer.
        StoreVersionError: An earlier version of gwaudit wrote it.
    """
    path = best_checkpoint(store) if epoch is None else epoch_checkpoint(store, epoch)
    values = _read_checkpoint(store, path, epoch, device)
    try:
        state.model.load_state_dict(values["model"])
        state.optimizer.load_state_dict(_in_layout_of_parameters(state.optimizer, values["optimizer"]))
        if state.ema is not None:
            state.ema.module.load_state_dict(values["ema"])
    except (RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error


def verify_checkpoints(store: TrajectoryStore) -> None:
    """Compare every checkpoint of a run with its checksum, one after the other.

    Args:
        store: The run.

    Raises:
        StoreDamagedError: A file is damaged, or belongs to another run or epoch.
    """
    names = {path.name for path in store.checkpoints.glob(f"*{SUFFIX}")} | names_at_origin(store.checkpoints)
    for name in sorted(names):
        if kind := re.fullmatch(rf"(?:best|epoch-(\d+)){re.escape(SUFFIX)}", name):
            path = store.checkpoints / name
            try:
                _read_checkpoint(store, path, None if kind[1] is None else int(kind[1]), torch.device("cpu"))
            except StoreDamagedError:
                if path.exists():  # otherwise a training that goes on has deleted it
                    raise


def _read_checkpoint(store: TrajectoryStore, path: Path, epoch: int | None, device: torch.device) -> dict[str, Any]:
    """Return the content of a checkpoint of a run, and of an epoch unless that is None."""
    fetch(path, anew=True)
    if not path.exists() and (earlier := path.with_suffix(".pt")).exists():
        raise StoreVersionError(
            f"{earlier} was written by an earlier version of gwaudit, whose checkpoints are pickles and are not read: "
            f"rank the epochs that are recorded (gwaudit rank {store.path}), or train again in another folder"
        )
    try:
        values = read_tensors(path, device)
        if values.get("run_id", store.run_id) != store.run_id:
            raise ValueError("it belongs to another run")
        if epoch not in (None, values["epoch"]):
            raise ValueError(f"it belongs to epoch {values['epoch']}")
    except (OSError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    return values


def _damaged(path: Path, error: Exception) -> StoreDamagedError:
    return StoreDamagedError(
        f"the checkpoint {path} is missing or damaged ({str(error).splitlines()[0]}): restore the file, or start a new "
        "run"
    )


def _in_layout_of_parameters(optimizer: torch.optim.Optimizer, saved: dict[str, Any]) -> dict[str, Any]:
    """Return a saved state of an optimizer with integer keys and tensors in the memory format of their parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    state = {}
    for number, entries in saved["state"].items():
        parameter = parameters[int(number)]
        state[int(number)] = {
            name: torch.empty_like(parameter, dtype=value.dtype).copy_(value)
            if isinstance(value, Tensor) and value.shape == parameter.shape
            else value
            for name, value in entries.items()
        }
    return {**saved, "state": state}


def keep_best(store: TrajectoryStore, epoch: int) -> None:
    """Copy the checkpoint of the chosen epoch to `best.safetensors`, if it is the last one committed.

    An earlier epoch was copied when it was the last one.

    Args:
        store: The run.
        epoch: The epoch that the selection rule chose, counted from 0.

    Raises:
        StoreError: The copy cannot be written.
    """
    if epoch == len(store.training_epochs) - 1:
        source = epoch_checkpoint(store, epoch)
        write_atomically(best_checkpoint(store), lambda temporary: shutil.copyfile(source, temporary))


def delete_other_checkpoints(store: TrajectoryStore, epoch: int) -> None:
    """Delete the checkpoints of all epochs but this one; `best.safetensors` stays.

    Those at the URL of a run too, which a process on another machine may have left.
    """
    names = {path.name for path in store.checkpoints.glob(f"epoch-*{SUFFIX}")}
    names |= {name for name in names_at_origin(store.checkpoints) if re.fullmatch(rf"epoch-\d+{SUFFIX}", name)}
    for name in names - {epoch_checkpoint(store, epoch).name}:
        delete(store.checkpoints / name)


def require_place(run: Path, *, resume: bool) -> None:
    """Raise an error where no run can be made, or resumed.

    Args:
        run: Folder of the run.
        resume: Whether the folder may hold a run, which is to be resumed.

    Raises:
        StoreExistsError: The folder holds a run, and `resume` is False; or it holds something else.
        StoreError: It cannot be written to.
    """
    require_folder(run)
    if not (resume and (run / "run.json").exists()):
        require_free(run)


def create_or_resume(
    dataset: LabeledDataset,
    run: Path,
    settings: TrainingSettings,
    *,
    resume: bool,
    data: DataSettings | None = None,
    targets: Tensor | None = None,
    preprocessing: Preprocessing | None = None,
    heads: HeadChoice | None = None,
    dtype: DtypeChoice | None = None,
) -> TrajectoryStore:
    """Create the run of a training, or open the one that is to be resumed.

    Args:
        dataset: The data to train on, with the given labels.
        run: Folder of the run.
        settings: Settings of the training.
        resume: Whether to open the run if the folder holds one.
        data: How the data set was loaded, to be kept in the run.
        targets: [n, C] class distributions that are learned instead of the given labels, or None.
        preprocessing: Preprocessing of the images; None where the inputs are not images.
        heads: The heads that were tried, to be kept in the run; None where there was no choice.
        dtype: The number formats that were timed, to be kept in the run; None where there was no choice.

    Returns:
        The run, open for writing.

    Raises:
        StoreExistsError: The folder holds a run, and `resume` is False.
        SettingsError: The run was made with other settings, data, labels or targets.
    """
    require_place(run, resume=resume)
    digest = None if targets is None else hashlib.sha256(targets.numpy().tobytes()).hexdigest()
    if not (resume and (run / "run.json").exists()):
        return TrajectoryStore.create(
            run,
            given_labels=dataset.labels,
            class_names=dataset.class_names,
            keys=dataset.keys,
            split=dataset.split,
            settings={
                "training": settings.to_dict(),
                "data": None if data is None else data.to_dict(),
                "preprocessing": None if preprocessing is None else preprocessing.to_dict(),
                "heads": None if heads is None else heads.to_dict(),
                "dtype": None if dtype is None else asdict(dtype),
                "targets": digest,
                "reading": summarise(dataset, None if data is None else data.source).to_dict(),
                "modality": dataset.modality,
                "input_shape": list(dataset.input_shape),
                "has_texts": dataset.texts is not None,
            },
            fingerprint=dataset.fingerprint,
            alignment=settings.alignment,
        )
    store = TrajectoryStore.open(run, writable=True)
    try:
        _require_same_training(store, dataset, settings, digest, preprocessing)
    except BaseException:
        store.close()
        raise
    return store


def _require_same_training(
    store: TrajectoryStore,
    dataset: LabeledDataset,
    settings: TrainingSettings,
    targets_digest: str | None,
    preprocessing: Preprocessing | None,
) -> None:
    if store.alignment != settings.alignment:
        raise SettingsError(
            f"{store.path} was recorded with `alignment={store.alignment!r}` ({ALIGNMENTS[store.alignment]}), not "
            f"{settings.alignment!r} ({ALIGNMENTS[settings.alignment]}), and epochs of both cannot be mixed: resume "
            f"with `alignment={store.alignment!r}`, or start a new run"
        )
    before = {
        **ResolvedTrainingSettings().to_dict(),
        **store.settings.get("training", {}),
        "alignment": store.alignment,
    }
    for name, value in settings.to_dict().items():
        if before.get(name) != value:
            raise SettingsError(
                f"{store.path} was made with `{name}={before.get(name)!r}`, not {value!r}: "
                "resume with the same settings, or start a new run"
            )
    prepared = store.settings.get("preprocessing")
    if preprocessing is not None and (change := preprocessing.difference(prepared, settings.backbone)):
        raise SettingsError(
            f"{store.path} prepared its images with {change}: resume with the same settings and data, or start a "
            "new run"
        )
    if store.fingerprint != dataset.fingerprint:
        raise SettingsError(
            f"{store.path} was made from other data or labels: resume with the same data, or start a new run"
        )
    if store.settings.get("targets") != targets_digest:
        raise SettingsError(f"{store.path} learned other targets: resume with the same targets, or start a new run")
