"""Find a text in the cell that a spreadsheet program made of it.

Spreadsheet programs take texts for numbers, dates or truth values, and write these back in another form: `007` becomes
`7`, `1.10` `1.1`, `MAR1` `1-Mar`, `1-2` `2-Jan` or `01. Feb`, `1E5` `1.00E+05`; of a long number the last digits are
lost. Some changes leave the value as it was; others can only be recognised, to say what has happened.
"""

import calendar
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import TypeVar

from gwaudit.core.spreadsheets import from_cell

# The beginnings of the months in English, German, French, Spanish, Italian and Dutch.
_MONTHS = (
    "jan ene gen", "feb fév fev", "mar mär mrz maa", "apr avr abr", "may mai mag mei", "jun juin giu", "jul juil lug",
    "aug aoû ago", "sep set", "oct okt ott out", "nov", "dec dez déc dic",
)  # fmt: skip
_MONTH_OF = {begin: month for month, begins in enumerate(_MONTHS, start=1) for begin in begins.split()}
_MONTH_NAMES = {name.casefold() for name in calendar.month_name} | {"januar", "februar", "märz", "oktober", "dezember"}
_TRUTH = {"true": True, "wahr": True, "vrai": True, "verdadero": True, "vero": True, "waar": True} | {
    "false": False, "falsch": False, "faux": False, "falso": False, "onwaar": False,
}  # fmt: skip
_SPACES = str.maketrans(dict.fromkeys("\u00a0\u202f\u2009", " "))
_SYMBOLS = {0x2400 + code: chr(code) for code in range(32)} | {ord("＄"): "$"}

_GENERAL = re.compile(r"-?(0|[1-9]\d*)([.,]\d*[1-9])?", re.ASCII)  # as a spreadsheet writes a number by itself
_SCIENTIFIC = re.compile(r"-?\d([.,]\d+)?E[+-]\d+", re.ASCII | re.IGNORECASE)
_DATE_WRITTEN = re.compile(r"[^\W\d_]|\d{4}|\d\D+\d+\D+\d")  # with the name of a month, or with a year
_ERROR = re.compile(r"#(NAME\?|REF!|VALUE!|DIV/0!|N/A|NULL!|NUM!)", re.IGNORECASE)
_DAY_OF_MONTH = re.compile(r"\d{1,2}[-. ]{1,2}([^\W\d]{3,4})(?:[-. ]\d{2,4})?")
_LONGEST = 60  # characters of a text that a spreadsheet takes for a number or a date
_LARGE = Decimal(10) ** 11  # larger numbers are written in scientific notation
_EPOCH = date(1899, 12, 30)  # day 0 of spreadsheets
_SERIAL_NUMBERS = range(20_000, 80_000)  # the days from 1954 to 2119, as numbers

Meaning = tuple[object, ...]
_K = TypeVar("_K")


def whole_numbers(cell: str) -> set[int]:
    """Return the whole numbers that a cell may stand for: a comma and a point may both separate thousands or decimals.

    Example:
        >>> sorted(whole_numbers("1,000")), sorted(whole_numbers("12.0")), sorted(whole_numbers("1E+05"))
        ([1, 1000], [12], [100000])
    """
    return {int(number) for number in _numbers(cell.strip()) if number == number.to_integral_value()}


def may_become(text: str, cell: str) -> bool:
    """Return whether a spreadsheet program may have made a cell of another text.

    Example:
        >>> may_become("1.10", "1.1"), may_become("MAR1", "1-Mar"), may_become("cat", "dog")
        (True, True, False)
    """
    return text.strip() != cell.strip() and not _meanings(text).isdisjoint(_meanings_of_cell(cell))


def changed_by_spreadsheet(cell: str, texts: Iterable[str]) -> str:
    """Return ` (a spreadsheet program may have changed 'TEXT' ...)` with the text that a cell was, or "" without one.

    Example:
        >>> changed_by_spreadsheet("7", ["007", "cat"])
        " (a spreadsheet program may have changed '007': import its column as text)"
    """
    meanings = _meanings_of_cell(cell)
    if not meanings:
        return ""
    text = next((text for text in texts if text.strip() != cell.strip() and meanings & _meanings(text)), None)
    return "" if text is None else f" (a spreadsheet program may have changed {text!r}: import its column as text)"


def looks_changed(text: str) -> bool:
    """Return whether a text is an error, a date or a rounded number as spreadsheet programs write it.

    Example:
        >>> [looks_changed(text) for text in ("#NAME?", "1.23E+11", "1-Mar", "cat", "1-2")]
        [True, True, True, False, False]
    """
    plain = text.strip()
    if _ERROR.fullmatch(plain) or _SCIENTIFIC.fullmatch(plain):
        return True
    word = _DAY_OF_MONTH.fullmatch(plain)
    return word is not None and bool({word[1][:3].casefold(), word[1][:4].casefold()} & _MONTH_OF.keys())


class TextIndex:
    """Find the texts that a cell was made from, in spite of the changes that spreadsheets and labelling tools make."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._exact: dict[str, list[int]] = defaultdict(list)
        for index, text in enumerate(texts):
            self._exact[text].append(index)
        # Made when a cell is no text: most files need neither.
        self._normalised: dict[str, list[int]] = {}
        self._by_number: dict[Decimal, list[int]] = {}
        self._by_meaning: dict[Meaning, list[int]] = {}

    def find(self, cell: str, *, escaped: bool = True) -> list[int]:
        """Return the indices of the texts that a cell stands for: equal, or equal normalised, or the same number.

        Args:
            cell: the cell.
            escaped: whether texts that a spreadsheet would run as a formula have an apostrophe in front.
        """
        for text in (from_cell(cell), cell) if escaped else (cell,):
            if indices := self._exact.get(text):
                return indices
        if not self._normalised:
            self._normalised = _groups((normalise(text), index) for index, text in enumerate(self.texts))
            self._by_number = _groups((n, index) for index, text in enumerate(self.texts) for n in _numbers(text))
        text = from_cell(cell) if escaped else cell
        if indices := self._normalised.get(normalise(text)):
            return indices
        return sorted({index for number in _numbers(text) for index in self._by_number.get(number, ())})

    def changed(self, cell: str) -> list[int]:
        """Return the indices of the texts, other than the cell, of which a spreadsheet may have made it."""
        if not self._by_meaning:
            self._by_meaning = _groups((m, index) for index, text in enumerate(self.texts) for m in _meanings(text))
        found = {index for meaning in _meanings_of_cell(cell) for index in self._by_meaning.get(meaning, ())}
        return sorted(index for index in found if self.texts[index].strip() != cell.strip())


def normalise(text: str) -> str:
    """Return a text without the differences in white space, case and accents that programs make.

    Labelling tools return control characters as their symbols (␀), and `$` as `＄`.
    """
    return " ".join(unicodedata.normalize("NFC", text.translate(_SYMBOLS)).casefold().split())


def _groups(pairs: Iterable[tuple[_K, int]]) -> dict[_K, list[int]]:
    groups: dict[_K, list[int]] = defaultdict(list)
    for key, index in pairs:
        groups[key].append(index)
    return groups


def _numbers(text: str) -> set[Decimal]:
    """Return the numbers that a text may be, under any country's decimal and thousands separators."""
    plain = text.translate(_SPACES).strip()
    if len(plain) > _LONGEST or not plain[-1:].isdecimal():
        return set()
    found = set()
    for decimal, thousands in ((r"\.", ", '’"), (",", ". '’")):
        match = re.fullmatch(
            rf"([+-]?)(\d+|\d{{1,3}}(?:[{thousands}]\d{{3}})+|(?={decimal}))(?:{decimal}(\d*))?(e[+-]?\d{{1,3}})?",
            plain, re.ASCII | re.IGNORECASE,
        )  # fmt: skip
        if match:
            sign, whole, part, exponent = match.groups()
            digits = re.sub(r"\D", "", whole) or "0"
            found.add(Decimal(f"{sign}{digits}.{part or 0}{exponent or ''}").normalize())
    return found


def _meanings(text: str) -> set[Meaning]:
    """Return everything that a spreadsheet program may take a text for."""
    plain = text.strip()
    if len(plain) > _LONGEST:
        return set()
    found: set[Meaning] = _dates(plain)
    if (truth := _TRUTH.get(plain.casefold())) is not None:
        found.add(("truth", truth))
    for number in _numbers(plain):
        found.add(("number", number))
        if "e" in plain.casefold() or abs(number) >= _LARGE:
            found |= {("rounded", Decimal(f"{number:.{digits - 1}E}").normalize()) for digits in (3, 6, 15)}
            digits = f"{number:f}".lstrip("-")
            found.add(("rounded", Decimal(digits[:15] + "0" * (len(digits) - 15)).normalize()))
    return found


def _meanings_of_cell(cell: str) -> set[Meaning]:
    """Return the meanings of a cell if a spreadsheet program writes numbers, dates or truth values so by itself."""
    plain = cell.strip()
    found = {meaning for meaning in _meanings(plain) if meaning[0] != "rounded"}
    numbers = _numbers(plain)
    if _SCIENTIFIC.fullmatch(plain) or (_GENERAL.fullmatch(plain) and any(abs(number) >= _LARGE for number in numbers)):
        found |= {("rounded", number) for number in numbers}
    elif not _GENERAL.fullmatch(plain):
        found = {meaning for meaning in found if meaning[0] != "number"}
    if not _DATE_WRITTEN.search(plain):
        found = {meaning for meaning in found if meaning[0] not in ("day", "month")}
    if plain.isdecimal() and len(plain) == 5 and int(plain) in _SERIAL_NUMBERS:
        day = _EPOCH + timedelta(days=int(plain))
        found |= {("day", day.month, day.day), ("month", day.year % 100, day.month)}
    return found


def _dates(text: str) -> set[Meaning]:
    """Return the days of a year, and the months, that a text may be: `MAR1` is 1 March, and March 2001."""
    if not re.fullmatch(r"[\w.,/ -]*\d[\w.,/ -]*", text):
        return set()
    parts = re.findall(r"\d+|[^\W\d_]+", text)
    words, numbers = [part for part in parts if not part.isdigit()], [int(part) for part in parts if part.isdecimal()]
    if len(words) > 1 or not 1 <= len(numbers) <= 3 or max(numbers) > 9999:
        return set()
    if words:
        word = words[0].casefold()
        month = _MONTH_OF.get(word[:3]) if len(word) <= 4 or word in _MONTH_NAMES else None
        return set() if month is None or len(numbers) > 2 else _of_month(month, numbers)
    if len(numbers) == 1 or re.search(r"\d\s+\d", text):
        return set()
    found: set[Meaning] = set()
    for position, month in enumerate(numbers):
        if 1 <= month <= 12:
            found |= _of_month(month, numbers[:position] + numbers[position + 1 :])
    return found


def _of_month(month: int, others: list[int]) -> set[Meaning]:
    """Return what other numbers make of a month: its days, and the month of a year."""
    days: set[Meaning] = {("day", month, number) for number in others if 1 <= number <= 31}
    return days | {("month", number % 100, month) for number in others}
