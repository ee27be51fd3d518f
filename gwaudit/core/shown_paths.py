"""Show the URL that a user gave in place of the path of its local copy."""

_URLS: dict[str, str] = {}


def show_as(path: str, url: str) -> None:
    """Let `with_urls` show a path, and what lies below it, as a URL.

    Args:
        path: The absolute path of a local copy.
        url: The URL, without passwords and queries.
    """
    _URLS[path] = url


def with_urls(text: str) -> str:
    """Return a text with URLs in place of the paths of local copies.

    Example:
        >>> show_as("/cache/runs/3f9c/photos", "s3://bucket/runs/photos")
        >>> with_urls("/cache/runs/3f9c/photos/run.json is missing")
        's3://bucket/runs/photos/run.json is missing'
    """
    for path in sorted(_URLS, key=len, reverse=True):
        text = text.replace(path, _URLS[path])
    return text


def path_at(url: str) -> str | None:
    """Return the path of what is shown at a URL, below a local copy; None where there is no copy.

    Example:
        >>> show_as("/cache/runs/3f9c/photos", "s3://bucket/runs/photos")
        >>> path_at("s3://bucket/runs/photos/decisions.csv")
        '/cache/runs/3f9c/photos/decisions.csv'
    """
    for path, shown in _URLS.items():
        if url == shown or url.startswith(f"{shown}/"):
            return path + url.removeprefix(shown)
    return None
