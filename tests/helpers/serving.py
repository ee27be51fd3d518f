"""Serve a review within a block."""

import threading
from contextlib import contextmanager


@contextmanager
def serving(server):
    """Let a server answer within the block."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
