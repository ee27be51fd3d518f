"""A place that cannot be read or written is refused at once, with its reason, and nothing is made there."""

import os

import pytest

from gwaudit.core.errors import StoreError, StoreExistsError
from gwaudit.core.outputs import require_file, require_folder, require_new
from helpers.command import gwaudit
from helpers.making import few_digits
from helpers.recorded_runs import ranked_run

A_FILE = "is a file, not a folder"
ALL = (require_new, require_folder, require_file)


@pytest.fixture
def place(tmp_path):
    """A folder with a file, a folder, a pipe, and links to them, to nothing and to itself."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, target in (("to-file", "file"), ("to-folder", "folder"), ("to-nothing", "nothing"), ("loop", "loop")):
        (tmp_path / name).symlink_to(target)
    return tmp_path


@pytest.mark.parametrize(
    ("check", "name", "reason"),
    [
        *[(require_new, name, "exists") for name in ("file", "empty", "folder", "pipe", "to-file", "to-folder")],
        *[(require_folder, name, "is a file, where a folder") for name in ("file", "empty", "pipe", "to-file")],
        *[(require_file, name, "is a folder, where a file") for name in ("folder", "to-folder")],
        (require_file, "pipe", "a device or a pipe"),
        *[(check, "to-nothing", "a link to a place that does not exist") for check in (require_new, require_folder)],
        *[(check, "loop", "a link that leads to itself") for check in ALL],
        *[(check, "file/below", A_FILE) for check in ALL],
        *[(check, "file/below/deep", A_FILE) for check in ALL],
        *[(check, f"missing/{'n' * 256}", "Choose a shorter name") for check in ALL],
    ],
)
def test_a_place_that_cannot_be_written_is_refused_with_its_reason(place, check, name, reason):
    with pytest.raises(StoreError, match=reason):
        check(place / name)
    assert not (place / "missing").exists()


@pytest.mark.parametrize("check", ALL)
def test_a_new_place_may_lie_in_folders_that_do_not_exist(place, check):
    check(place / "a" / "b" / "new")
    assert not (place / "a").exists()


def test_a_folder_that_cannot_be_written_to(place, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *arguments, **options: False)  # root may write everywhere
    for check in ALL:
        with pytest.raises(StoreError, match=r"Permission denied\. Choose a folder that you may write to"):
            check(place / "new")


def test_a_file_is_written_where_its_link_leads(place):
    assert require_file(place / "file") == place / "file"
    assert require_file(place / "to-file") == place / "file"
    assert require_file(place / "to-nothing") == place / "nothing"
    with pytest.raises(StoreExistsError):
        require_new(place / "to-nothing")


@pytest.mark.parametrize(
    ("arguments", "bad"),
    [
        (["audit", "digits", "-o"], "empty"),
        (["train", "digits", "-o"], "to-nothing"),
        (["audit", "digits", "--resume", "-o"], "file"),
        (["demo", "-o"], "loop"),
        (["report", "{run}", "-o"], "folder"),
        (["monitor", "{run}", "-o"], "folder"),
        (["export", "{run}", "--to", "csv", "-o"], "folder"),
        (["export", "{run}", "--to", "ids", "-o"], "file"),
        (["plot", "{run}", "--to"], "file"),
        (["apply", "{run}", "{run}/suspects.csv", "-o"], "to-nothing"),
        (["apply", "{run}", "{run}/suspects.csv", "-o"], "n" * 300),
    ],
)
def test_every_command_refuses_its_output_before_it_begins(place, run, arguments, bad):
    before = sorted(place.iterdir())
    done = gwaudit(*(argument.format(run=run) for argument in arguments), place / bad)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, "nothing was read before"
    assert bad in done.stderr
    assert sorted(place.iterdir()) == before
    assert (place / "file").read_text() == "mine"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "run"
    ranked_run(run, dataset=few_digits(20))
    return run


@pytest.mark.parametrize(
    "arguments",
    [
        ["report"],
        ["evaluate"],
        ["noise"],
        ["rank"],
        ["export", "--to", "csv", "-o", "out.csv"],
        ["compare", "{run}"],
        ["monitor"],
        ["evaluate", "{run}", "--truth"],
        ["monitor", "{run}", "--groups"],
    ],
)
@pytest.mark.parametrize("name", ["file", "folder", "pipe", "to-nothing", "loop", "typo", "n" * 300])
def test_every_command_refuses_what_is_no_run_or_no_file_and_makes_nothing_there(place, run, arguments, name):
    before = sorted(path for path in place.rglob("*"))
    verb, *others = arguments
    given = [argument.format(run=run) for argument in others]
    is_last = not given or given[-1].startswith("--") or verb == "compare"
    done = gwaudit(verb, *([*given, place / name] if is_last else [place / name, *given]))
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert sorted(path for path in place.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["decisions.csv", "audit.json", "run.json", "epochs/table.csv", "audit.parquet", "mine.csv"]
)
@pytest.mark.parametrize("through", ["path", "link"])
def test_no_output_takes_the_place_of_a_file_in_a_run(run, tmp_path, name, through):
    (run / "mine.csv").write_text("kept")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    output = run / name
    if through == "link":
        output = tmp_path / "link"
        output.symlink_to(run / name)
    for arguments in (
        ["monitor", run, "-o"],
        ["sample", run, "--size", 5, "-o"],
        ["noise", run, "--questions"],
        ["report", run, "-o"],
    ):
        done = gwaudit(*arguments, output)
        assert done.returncode == 2, done.stdout
        assert f"lies in the run {run}" in done.stderr.replace("\n", " ")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    (run / "mine.csv").unlink()


def test_a_new_file_and_the_page_of_the_run_may_lie_in_its_folder(run):
    assert gwaudit("report", run).returncode == 0
    assert gwaudit("monitor", run, "-o", run / "epochs.csv").returncode == 0
    (run / "epochs.csv").unlink()
    for _ in range(2):
        done = gwaudit("report", run, "-o", run / "report.html")
        assert done.returncode == 0, done.stderr
    assert (run / "report.html").is_symlink(), "the page is still one with the ranking that it shows"
