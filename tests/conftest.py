"""What several test files need: the real data and a browser, where they are at hand."""

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from helpers.auto_dtype import VARIABLE, fix_auto_dtype
from helpers.chromium import own_tab, starting_chromium
from helpers.without_sync import VARIABLE as WITHOUT_SYNC
from helpers.without_sync import leave_out_sync

if TYPE_CHECKING:
    from helpers.object_server import ObjectServer

os.environ["KERAS_BACKEND"] = "torch"  # before anything imports keras
os.environ["COLUMNS"] = "120"  # of a terminal that is none
if "PYTEST_XDIST_WORKER" in os.environ:  # a worker a core: one thread each, also for the processes that it starts
    os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's `&` has it, for the processes started here too
    signal.signal(signal.SIGINT, signal.default_int_handler)

# What tests start as processes of their own finds the helpers, and this very copy of gwaudit.
_PATHS = [
    str(Path(__file__).resolve().parent),
    str(Path(__file__).resolve().parents[1]),
    os.environ.get("PYTHONPATH", ""),
]
os.environ["PYTHONPATH"] = os.pathsep.join(path for path in _PATHS if path)

CACHE = pytest.StashKey[str]()
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--dtype`: no verdict of a test may depend on the processor, so both dtypes must pass."""
    parser.addoption(
        "--dtype",
        choices=("float32", "bfloat16"),
        help="let the training dtype `auto` mean this one, in every process; by default what the processor is fast at",
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files of slow tests: what begins last should not be what takes longest."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_configure(config: pytest.Config) -> None:
    os.environ[WITHOUT_SYNC] = "1"
    leave_out_sync()
    if "PYTEST_XDIST_WORKER" not in os.environ:  # one cache for all workers and processes of a session
        config.stash[CACHE] = tempfile.mkdtemp(prefix="gwaudit-cache-")
        os.environ["GWAUDIT_CACHE"] = config.stash[CACHE]
    if dtype := config.getoption("--dtype"):
        os.environ[VARIABLE] = dtype
        fix_auto_dtype()


def pytest_unconfigure(config: pytest.Config) -> None:
    if CACHE in config.stash:
        shutil.rmtree(config.stash[CACHE], ignore_errors=True)


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


@pytest.fixture(scope="session")
def objects() -> Iterator["ObjectServer"]:
    """An S3-compatible server with the bucket `bucket`, which `s3://` reaches."""
    for library in ("moto", "s3fs"):
        pytest.importorskip(library, reason="needs the test extra")
    from helpers.object_server import serving_objects

    with serving_objects() as server:
        yield server


@pytest.fixture(scope="session")
def chromium() -> tuple[str, str]:
    """Where Chromium and its driver are."""
    driver = shutil.which("chromedriver")
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if driver is None or browser is None:
        message = "needs Chromium and its driver (Debian's packages chromium and chromium-driver)"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return browser, driver


@pytest.fixture
def browser(request, tmp_path, chromium):
    """Chromium, without a window; what it downloads lies in `tmp_path` (the parameter "phone" makes it a phone's).

    The tests of a process share one, as it takes a second to start; each has a tab of its own, and nothing stored.
    """
    if getattr(request, "param", None) == "phone":
        with starting_chromium(*chromium, phone=True) as window:
            yield window
        return
    window = request.getfixturevalue("shared_browser")
    with own_tab(window, tmp_path):
        yield window


@pytest.fixture(scope="session")
def shared_browser(chromium):
    with starting_chromium(*chromium) as window:
        yield window
