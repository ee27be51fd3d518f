"""Every page of docs/, the README and CONTRIBUTING.md: its code runs, its commands exist, it is short and plain.

The pages are found, not listed, so a new page is tested without a word here.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest
import typer

from gwaudit.cli.app import app
from helpers.pages import PAGES, ROOT, blocks, command_lines, gwaudit_calls, page_name, without_blocks

MOST_WORDS = 1500

# Pages whose programs need more than an empty folder, and the tests that run them.
RUN_BY_OTHERS = {
    "docs/benchmarks/refinement.md": "tests/docs/test_benchmark_pages.py",
    "docs/benchmarks/relabelling.md": "tests/docs/test_benchmark_pages.py",
    "docs/howto/handover.md": "tests/docs/test_handover_page.py",
    "docs/howto/large-runs.md": "tests/docs/test_large_runs_page.py",
}

PROGRAMS = [
    pytest.param(page, program, id=f"{page_name(page)}-{number}")
    for page in PAGES
    for number, program in enumerate(blocks(page, "python"))
    if page_name(page) not in RUN_BY_OTHERS
]
every_page = pytest.mark.parametrize("page", PAGES, ids=page_name)


@cache
def leaf_commands():
    """Every command by its words, with the options that it has."""
    found = {}

    def walk(command, words):
        if hasattr(command, "commands"):
            for name, child in command.commands.items():
                walk(child, (*words, name))
        else:
            options = {name for p in command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("-")}
            found[words] = options | {"--help"}

    walk(typer.main.get_command(app), ())
    return found


def command_of(arguments):
    return next((words for words in leaf_commands() if tuple(arguments[: len(words)]) == words), None)


@pytest.mark.parametrize(("page", "program"), PROGRAMS)
def test_each_program_runs_by_itself(page, program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "__main__"}
    exec(compile(program, page_name(page), "exec"), namespace)
    if re.search(r"AlignmentRecorder\(|AlignmentCallback\(|record_alignment\(", program):
        assert_whole_epochs(namespace["store"])


def assert_whole_epochs(store):
    assert len(store.epochs) >= 3
    assert [(store.commit(epoch).missing, store.commit(epoch).repeated) for epoch in store.epochs].count((0, 0)) >= 3


@pytest.mark.parametrize(("page", "test_file"), RUN_BY_OTHERS.items())
def test_the_other_programs_are_run_by_the_test_that_is_named(page, test_file):
    assert blocks(ROOT / page, "python"), f"{page} has no program: leave it out of RUN_BY_OTHERS"
    assert Path(page).name in (ROOT / test_file).read_text("utf-8")


@every_page
def test_every_block_names_its_language(page):
    fences = re.findall(r"^```(\w*)$", page.read_text("utf-8"), re.MULTILINE)
    assert set(fences[::2]) <= {"python", "sh", "text", "toml"}, page_name(page)
    assert set(fences[1::2]) <= {""}, page_name(page)


@every_page
def test_the_commands_shown_exist_with_their_options(page):
    for arguments in gwaudit_calls(page):
        command = command_of(arguments)
        assert command or arguments == ["--version"], f"{page_name(page)}: gwaudit {arguments}"
        used = {argument.partition("=")[0] for argument in arguments if re.match(r"--?[a-z]", argument)}
        assert used <= leaf_commands()[command], f"{page_name(page)}: gwaudit {arguments}"


@every_page
def test_the_commands_and_options_named_in_the_text_exist(page):
    every_option = set().union(*leaf_commands().values())
    for span in re.findall(r"`([^`\n]+)`", without_blocks(page)):
        words = span.split()
        if words[0] == "gwaudit" and len(words) > 1 and words[1].islower():
            in_group = any(command[0] == words[1] for command in leaf_commands())
            assert in_group, f"{page_name(page)}: `{span}`"
        if words[0].startswith("--") or words[0] == "gwaudit":
            options = {word.rstrip(",").partition("=")[0] for word in words if word.startswith("--")}
            assert options <= every_option, f"{page_name(page)}: `{span}`"


@every_page
def test_the_scripts_shown_exist(page):
    shown = [words[1] for words in command_lines(page) if words[0] == "python" and words[1].startswith("docs/")]
    assert [script for script in shown if not (ROOT / script).is_file()] == []


@every_page
def test_a_page_is_short(page):
    prose = [line for line in without_blocks(page).splitlines() if not line.startswith("|")]
    words = len(" ".join(prose).split())
    assert words <= MOST_WORDS, f"{page_name(page)} has {words} words: split it, a question or a task a page"


@pytest.mark.parametrize("script", sorted((ROOT / "docs").glob("*.py")), ids=lambda path: path.name)
def test_a_script_of_the_docs_says_how_to_run_it(script):
    assert ast.get_docstring(ast.parse(script.read_text("utf-8")))


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").iterdir()), ids=lambda path: path.name)
def test_a_picture_is_used(picture):
    assert any(f"images/{picture.name}" in page.read_text("utf-8") for page in PAGES)
