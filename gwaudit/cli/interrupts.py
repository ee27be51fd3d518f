"""End on Ctrl-C without a traceback whenever it comes, also while modules are imported."""

import _thread
import os
import signal
import threading
from types import FrameType

INTERRUPTED = 130
"""Exit code of a command that was interrupted."""

_PAUSE = 0.05  # seconds


def end_at_once() -> None:
    """Let Ctrl-C end this process at once, as long as no command has begun; leave it ignored where it is."""
    if signal.getsignal(signal.SIGINT) in (signal.default_int_handler, _raise_between_imports):
        signal.signal(signal.SIGINT, _end)


def raise_between_imports() -> None:
    """Let Ctrl-C raise KeyboardInterrupt from now on, but not within an import.

    An extension module that Python interrupts while it is initialised ends the process by abort(), or reports another
    error.
    """
    if signal.getsignal(signal.SIGINT) is _end:
        signal.signal(signal.SIGINT, _raise_between_imports)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(INTERRUPTED)


def _raise_between_imports(number: int, frame: FrameType | None) -> None:
    if not _is_importing(frame):
        raise KeyboardInterrupt
    again = threading.Timer(_PAUSE, _interrupt_main_thread)
    again.daemon = True
    again.start()


def _interrupt_main_thread() -> None:
    if hasattr(signal, "pthread_kill"):  # also ends a call that waits, which interrupt_main() does not
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    else:
        _thread.interrupt_main()


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False
