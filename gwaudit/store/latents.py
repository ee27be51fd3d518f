"""Keep the features of all samples beside a run, in float16, with a checksum.

RUN/
  latents/values.npy      [n, D] float16, row i of the sample with the id i
  latents/contents.json   its checksum and what was found with them; sealed, and written last
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gwaudit.core.errors import StoreDamagedError
from gwaudit.core.files import sha256, write_atomically
from gwaudit.core.json import read_json, sealed, unsealed, write_json

FOLDER = "latents"
MOST_SAMPLES = 100_000
"""Number of samples up to which a run keeps latents: all are compared with all others."""

_VALUES, _CONTENTS = "values.npy", "contents.json"


def has_latents(run: Path) -> bool:
    """Return whether a run keeps latents."""
    return (run / FOLDER / _CONTENTS).exists()


def write_latents(run: Path, values: NDArray[np.floating[Any]], found: Mapping[str, Any]) -> None:
    """Write the latents of a run; they are there as a whole or not at all.

    Args:
        run: Folder of the run.
        values: [n, D]; each sample is scaled to length 1, so that float16 holds it.
        found: What was found with them, as JSON can hold it.

    Raises:
        StoreError: A file cannot be written.
    """
    lengths = np.linalg.norm(values.astype(np.float32), axis=1, keepdims=True)
    scaled = (values / np.maximum(lengths, 1e-12)).astype(np.float16)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.save(file, scaled, allow_pickle=False)

    write_atomically(run / FOLDER / _VALUES, write)
    checksum = sha256(run / FOLDER / _VALUES)
    write_json(run / FOLDER / _CONTENTS, sealed({"values": checksum, "found": dict(found)}))


def read_latents(run: Path) -> tuple[NDArray[np.float32], dict[str, Any]] | None:
    """Return the latents of a run, [n, D] of length 1, and what was found with them; None where it keeps none.

    Raises:
        StoreDamagedError: A file is missing or was altered.
    """
    if not has_latents(run):
        return None
    values = run / FOLDER / _VALUES
    try:
        contents = unsealed(read_json(run / FOLDER / _CONTENTS))
        if sha256(values) != contents["values"]:
            raise ValueError("its checksum differs")
        return np.load(values, allow_pickle=False).astype(np.float32), dict(contents["found"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreDamagedError(
            f"{run / FOLDER} is damaged ({error}): restore it, or delete that folder, and the results show no "
            "nearest neighbours"
        ) from error
