"""Call the Hugging Face hub once before a download, so that a machine without a network gets one error at once."""

from collections.abc import Iterator
from contextlib import contextmanager

_SECONDS = 10


@contextmanager
def only_cached_if_unreachable() -> Iterator[str]:
    """Let the block use only files that were downloaded before, where the hub cannot be reached.

    Otherwise the hub's client tries every file for half a minute, and prints each try.

    Yields:
        Why nothing is downloaded, as the first part of a sentence; empty where the hub can be reached.
    """
    from huggingface_hub import constants

    reason = _reason_unreachable()
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = bool(reason)
    try:
        yield reason
    finally:
        constants.HF_HUB_OFFLINE = before


def _reason_unreachable() -> str:
    from huggingface_hub import constants, get_session

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=_SECONDS)  # by the proxies of the environment, if any
    except Exception as error:  # of httpx or requests, whichever the client is built on
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        return f"{constants.ENDPOINT} cannot be reached ({first})"
    return ""
