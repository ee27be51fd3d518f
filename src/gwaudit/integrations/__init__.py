"""The recorder inside other libraries' training loops, one module a library, which imports it when it is imported.

from gwaudit.integrations.lightning import AlignmentCallback
from gwaudit.integrations.transformers import record_alignment
"""


def not_installed(library: str, extra: str) -> ImportError:
    """What to raise where a library is missing."""
    return ImportError(f"{library} is not installed: pip install 'gwaudit[{extra}]'")
