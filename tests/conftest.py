"""What several test files need: the real data, where it is at hand."""

import os
from pathlib import Path

import pytest

os.environ["KERAS_BACKEND"] = "torch"  # before anything imports keras
os.environ["COLUMNS"] = "120"  # of a terminal that is none
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: one thread each, also for the processes that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with CIFAR-10 and CIFAR-N; GWAUDIT_DATA names another place."""
    folder = Path(os.environ.get("GWAUDIT_DATA", SHARED))
    if not (folder / "cifar10").is_dir():
        message = f"needs CIFAR-10 and CIFAR-N under {folder} (set GWAUDIT_DATA to where they are)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return folder
