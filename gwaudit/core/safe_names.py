"""Class names as other systems can hold them (folders, XML, databases), each another one."""

import re
from collections.abc import Callable, Sequence

_NOT_JSON = re.compile("[\x00\ud800-\udfff]")
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_NOT_FOLDER = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*\ud800-\udfff]')
_VARIABLE = re.compile(r"\$(?=[\w\[\].{}])")
_FOLDER_BYTES = 200  # of the 255 that file systems take


def json_text(text: str) -> str:
    """A text as databases hold it that keep JSON: NUL becomes its picture `␀`, half a surrogate pair `�`."""
    return _NOT_JSON.sub(_picture, text)


def xml_text(text: str) -> str:
    """A text as XML 1.0 holds it: control characters become their pictures `␀` to `␟`, non-characters `�`."""
    return _NOT_XML.sub(_picture, text)


def folder_name(class_name: str) -> str:
    """A class name as a folder's name on any system: separators, control and reserved characters become `_`."""
    name = _NOT_FOLDER.sub("_", class_name).strip(" .")
    return name.encode()[:_FOLDER_BYTES].decode(errors="ignore").strip(" .") or "_"


def choice_names(class_names: Sequence[str]) -> list[str]:
    """The classes' names as choices in Label Studio, whose configuration is XML and reads `$name` as a variable.

    Control characters become their pictures, `$` in front of a word `＄`, an empty name `_`.
    """
    return distinct_names(class_names, lambda name: _VARIABLE.sub("＄", xml_text(name)) or "_")


def distinct_names(
    names: Sequence[str],
    written: Callable[[str], str],
    *,
    alike: Callable[[str], str] = str,
    longest: int | None = None,
) -> list[str]:
    """The classes' names as some system writes them, each another one.

    Names that the system can hold stay as they are. Of the others, one that would be taken already gets its label
    behind it.

    Args:
        names: C different names.
        written: a name as the system can hold it.
        alike: names for which this gives the same are one to the system.
        longest: how many characters it can hold.

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


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else "�"
