"""Find the folder of a cache: what can be computed again, kept for the next run."""

import os
from pathlib import Path

from gwaudit.core.errors import SettingsError
from gwaudit.core.urls import is_url, redacted


def cache_folder(kind: str, chosen: str | Path | None = None) -> Path:
    """Return the folder of a cache, which need not exist.

    Args:
        kind: Name of the cache: "images", "latents".
        chosen: The folder above it; by default the one that the environment variable `GWAUDIT_CACHE` names, else
            `gwaudit` in the user's cache folder.

    Raises:
        SettingsError: A URL is named, where the folder must be one of this machine.
    """
    if above := chosen or os.environ.get("GWAUDIT_CACHE"):
        if is_url(above):
            named = "`cache`" if chosen else "the environment variable GWAUDIT_CACHE"
            raise SettingsError(
                f"{named} names {redacted(str(above))}, and a cache lies on this machine: name a local folder"
            )
        return Path(above) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gwaudit" / kind
