"""The pages of the documentation, with the commands and programs that they show."""

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def page_name(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


def without_blocks(page):
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def command_lines(page):
    """The lines of a page's shell blocks, each as a list of words, without comments."""
    lines = [line for block in blocks(page, "sh") for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def gwaudit_calls(page):
    """The arguments of each call of gwaudit in a page's shell blocks, also within another command (torchrun)."""
    calls = []
    for words in command_lines(page):
        programs = [i for i, word in enumerate(words) if Path(word).name == "gwaudit"]
        if programs:
            calls.append(words[programs[-1] + 1 :])
    return calls
