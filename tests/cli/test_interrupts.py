"""Ctrl-C ends a command with exit code 130 and without a traceback, also while modules are imported."""

import signal
import subprocess
import sys
import time

FIRST_IMPORTS = """
import sys, time
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "gwaudit.cli.app":  # the first heavy module
            print("importing", flush=True)
            time.sleep(60)
sys.meta_path.insert(0, Watch())
from gwaudit.__main__ import main
main()
"""

SLOW_IMPORT = """
import signal, sys, time
sys.path.insert(0, {folder!r})
from gwaudit.cli.interrupts import end_at_once, raise_between_imports
end_at_once()
raise_between_imports()
try:
    import slow
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted after the import", slow.done, flush=True)
"""


def start(*command):
    """Start a process that takes Ctrl-C, as one of a terminal does."""

    def take_ctrl_c():
        signal.signal(signal.SIGINT, signal.default_int_handler)

    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=take_ctrl_c)


def test_ctrl_c_during_the_first_imports_is_quiet():
    with start(sys.executable, "-c", FIRST_IMPORTS) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate()
    assert err == ""
    assert process.returncode == 130


def test_an_import_is_not_interrupted_but_what_follows_is(tmp_path):
    (tmp_path / "slow.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(0.3)\ndone = True\n")
    with start(sys.executable, "-c", SLOW_IMPORT.format(folder=str(tmp_path))) as process:
        process.stdout.readline()
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate()
        assert time.monotonic() - began < 50, "a call that waits is interrupted too"
    assert out.splitlines() == ["interrupted after the import True"]
    assert err == ""
