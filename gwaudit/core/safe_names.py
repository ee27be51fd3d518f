"""Write class names so that other systems can hold them (folders, XML, databases), and keep them distinct."""

import re
from collections.abc import Callable, Sequence

_NOT_JSON = re.compile("[\x00\ud800-\udfff]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_FOLDER = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_VARIABLE = re.compile(r"\$(?=[\w\[\].{}])")
_FOLDER_BYTES = 200  # file systems take 255
_TAG_CHARACTERS = 64


def json_text(text: str) -> str:
    """Return a text that databases accept in JSON: NUL becomes the symbol `␀`, an unpaired surrogate `�`."""
    return _NOT_JSON.sub(_symbol, text)


def xml_text(text: str) -> str:
    """Return a text that XML 1.0 accepts: control characters become the symbols `␀` to `␟`, non-characters `�`."""
    return _NOT_XML.sub(_symbol, text)


def folder_name(class_name: str) -> str:
    """Return a class name as a folder name on any system: separators, control and reserved characters become `_`."""
    name = _NOT_FOLDER.sub("_", class_name).strip(" .")
    return name.encode()[:_FOLDER_BYTES].decode(errors="ignore").strip(" .") or "_"


def choice_names(class_names: Sequence[str]) -> list[str]:
    """Return the class names as distinct choices of Label Studio.

    Its configuration is XML and reads `$name` as a variable: control characters become symbols, `$` in front of a word
    becomes `＄`, and an empty name becomes `_`.
    """
    return distinct_names(class_names, lambda name: _VARIABLE.sub("＄", xml_text(name)) or "_")


def tag_names(class_names: Sequence[str]) -> list[str]:
    """Return distinct class names for CVAT: at most 64 characters, no white space at the ends, `_` for an empty one."""
    return distinct_names(class_names, _tag_name, longest=_TAG_CHARACTERS)


def distinct_names(
    names: Sequence[str],
    written: Callable[[str], str],
    *,
    alike: Callable[[str], str] = str,
    longest: int | None = None,
) -> list[str]:
    """Return the class names as a system can hold them, all distinct.

    Names that the system can hold stay unchanged. If a changed name is taken already, the class index is appended.

    Args:
        names: C distinct names.
        written: returns a name as the system can hold it.
        alike: returns the form by which the system compares names, such as lower case.
        longest: the largest number of characters of a name; None for no limit.

    Example:
        >>> distinct_names(["a/b", "a_b", "cat"], folder_name)
        ['a_b (0)', 'a_b', 'cat']
    """
    shown = [written(name)[:longest] for name in names]
    taken: set[str] = set()
    for name, text in zip(names, shown, strict=True):
        if text == name:
            taken.add(alike(text))
    kept: set[str] = set()
    for label, (name, text) in enumerate(zip(names, shown, strict=True)):
        if text == name and alike(text) not in kept:
            kept.add(alike(text))
            continue
        times = 0
        candidate = text
        while alike(candidate) in taken:
            suffix = f" ({label})" if times == 0 else f" ({label}.{times})"
            candidate = text[: None if longest is None else longest - len(suffix)] + suffix
            times += 1
        shown[label] = candidate
        taken.add(alike(candidate))
    return shown


def _tag_name(name: str) -> str:
    text = xml_text(name).strip() or "_"
    return text if len(text) <= _TAG_CHARACTERS else text[: _TAG_CHARACTERS - 1].rstrip() + "…"


def _symbol(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "�"
