"""Let the dtype `auto` mean one dtype, whatever the processor, so that the tests can be run for both.

`pytest --dtype float32` sets `GWAUDIT_TEST_DTYPE`, which processes that a test starts inherit: they find
`tests/sitecustomize.py` on their path, which calls `fix_auto_dtype` too.
"""

import importlib.util
import os
import sys
from importlib.abc import MetaPathFinder

VARIABLE = "GWAUDIT_TEST_DTYPE"
_MODULE = "gwaudit.training.device"


def fix_auto_dtype():
    """Replace the check for bfloat16 instructions when its module is imported; torch is not imported before."""
    if os.environ.get(VARIABLE):
        sys.meta_path.insert(0, _DeviceFinder())


class _DeviceFinder(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != _MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_fix(module):
            execute(module)
            module.is_fast_at_bfloat16 = lambda device: os.environ[VARIABLE] == "bfloat16"

        spec.loader.exec_module = execute_and_fix
        return spec
