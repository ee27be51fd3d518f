"""Leave out fsync, which is half the time of a small run: only a machine that loses power would need it.

The processes that a test starts inherit `GWAUDIT_TEST_WITHOUT_SYNC`; they find `tests/sitecustomize.py` on their path.
"""

import os

VARIABLE = "GWAUDIT_TEST_WITHOUT_SYNC"


def leave_out_sync():
    """Let fsync do nothing in this process, if the variable is set."""
    if os.environ.get(VARIABLE):
        os.fsync = lambda descriptor: None
