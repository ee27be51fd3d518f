"""Other libraries are imported by nobody but their own integration, and asked for by name where they are missing."""

import importlib
import subprocess
import sys

import pytest

from gwaudit.core.errors import RecordingError
from gwaudit.recording._loop_recorder import require_one_process

LIBRARIES = ["lightning", "transformers", "keras"]


def test_gwaudit_itself_imports_none_of_them() -> None:
    code = (
        "import sys, gwaudit.training.trainer, gwaudit.recording._loop_recorder\n"
        f"print([name for name in {LIBRARIES} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_missing_library_is_named_with_the_extra_that_brings_it(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in {library, *(name for name in sys.modules if name.startswith(f"{library}."))}:
        monkeypatch.setitem(sys.modules, name, None)  # what makes an import fail
    monkeypatch.delitem(sys.modules, f"gwaudit.recording.{library}", raising=False)
    with pytest.raises(ImportError, match=rf"not installed: pip install 'gwaudit\[{library}\]'"):
        importlib.import_module(f"gwaudit.recording.{library}")


def test_several_processes_are_refused_with_what_to_do() -> None:
    require_one_process(1)
    with pytest.raises(RecordingError, match=r"2 processes train together.*devices=1"):
        require_one_process(2)
