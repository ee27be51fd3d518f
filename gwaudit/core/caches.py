"""Find the folder of a cache: what can be computed again, kept for the next run."""

import os
from pathlib import Path


def cache_folder(kind: str, chosen: str | Path | None = None) -> Path:
    """Return the folder of a cache, which need not exist.

    Args:
        kind: Name of the cache: "images", "latents".
        chosen: The folder above it; by default the one that the environment variable `GWAUDIT_CACHE` names, else
            `gwaudit` in the user's cache folder.
    """
    if above := chosen or os.environ.get("GWAUDIT_CACHE"):
        return Path(above) / kind
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gwaudit" / kind
