"""What one ranking yields is one version: complete, or not there."""

import errno
import os
import shutil
import signal
from pathlib import Path

import pytest

from gwaudit.core.errors import StoreBusyError, StoreDamagedError, StoreError
from gwaudit.store import results
from gwaudit.store.results import publishing, require_intact, results_of
from helpers.forking import PROCESSES

FILES = {"audit.parquet": "rows", "audit.json": "{}", "suspects.csv": "key,decision\na,\n", "cleaned/drop/ids.txt": "1"}


def publish(run, mark, names=tuple(FILES)):
    with publishing(run) as folder:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(FILES[name] + mark)


def shown(run, names=tuple(FILES)):
    return {(run / name).read_text().removeprefix(FILES[name]) for name in names}


def versions(run):
    return [path for path in (run / "results").iterdir() if path.is_dir() and not path.is_symlink()]


def refuse(*arguments, **options):
    raise OSError(1, "Operation not permitted")


@pytest.fixture
def run(tmp_path):
    publish(tmp_path / "run", "first")
    return tmp_path / "run"


def test_the_names_in_the_run_show_the_version_in_use(run):
    assert shown(run) == {"first"}
    publish(run, "second", ["audit.parquet", "audit.json"])
    assert shown(run, ["audit.parquet", "audit.json"]) == {"second"}
    assert not (run / "suspects.csv").is_symlink(), "a file that the new version does not have is not shown"
    require_intact(results_of(run))
    assert len(versions(run)) == 2, "the version before is kept for its readers"


def test_a_failure_leaves_the_version_before(run):
    def fail():
        with publishing(run) as folder:
            (folder / "audit.json").write_text("half")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert shown(run) == {"first"}
    assert not list((run / "results").glob(".*.partial"))


def test_the_same_content_is_the_same_version(run):
    before = results_of(run)
    publish(run, "first")
    assert results_of(run) == before
    assert len(versions(run)) == 1


def test_an_update_keeps_the_other_files(run):
    with publishing(run, update=True) as folder:
        (folder / "report.html").write_text("page")
    assert shown(run) == {"first"}
    assert (run / "report.html").read_text() == "page"


def test_a_damaged_version_is_named_and_not_updated(run):
    (results_of(run) / "audit.parquet").write_text("other")
    with pytest.raises(StoreDamagedError, match=r"audit\.parquet is missing or was altered: rank"):
        require_intact(results_of(run))
    with pytest.raises(StoreDamagedError), publishing(run, update=True):
        pass
    publish(run, "first")
    assert shown(run) == {"first"}


@pytest.mark.parametrize("how", ["in place", "replaced"])
def test_a_file_that_somebody_filled_in_is_kept(run, how):
    text = "key,decision\na,drop\n"
    if how == "replaced":
        (run / "suspects.csv").unlink()
    (run / "suspects.csv").write_text(text)
    require_intact(results_of(run))
    for mark in ("second", "third"):
        publish(run, mark)
        assert shown(run) == {mark}
    assert (run / "replaced" / "suspects.csv").read_text() == text


def test_results_of_earlier_versions_give_way(tmp_path):
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(FILES[name] + "old")
    assert results_of(tmp_path) == tmp_path
    publish(tmp_path, "new")
    assert shown(tmp_path) == {"new"}
    assert (tmp_path / "replaced" / "suspects.csv").read_text() == FILES["suspects.csv"] + "old"


def test_one_process_publishes_at_a_time(run, monkeypatch):
    monkeypatch.setattr(results, "WAIT", 0.1)
    with publishing(run) as folder:
        (folder / "audit.json").write_text("{}")
        with pytest.raises(StoreBusyError, match="being written by another process"), publishing(run):
            pass


def test_a_folder_without_links_has_the_same_results(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "symlink", refuse)
    for mark in ("first", "second"):
        publish(tmp_path / "run", mark)
        assert shown(tmp_path / "run") == {mark}
    assert (results_of(tmp_path / "run") / "audit.json").read_text() == "{}second"


@pytest.mark.parametrize("failing", [0, 1, 2])
def test_a_link_that_a_full_disk_prevents_is_an_error_and_no_sign_that_there_are_none(tmp_path, monkeypatch, failing):
    made, symlink = [], os.symlink

    def fail_once(*arguments, **options):
        made.append(arguments)
        if len(made) == failing + 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        symlink(*arguments, **options)

    monkeypatch.setattr(os, "symlink", fail_once)
    with pytest.raises(StoreError, match="No space left"):
        publish(tmp_path / "run", "first")
    publish(tmp_path / "run", "first")
    assert shown(tmp_path / "run") == {"first"}
    assert (tmp_path / "run" / "results" / "current").is_symlink()
    assert (tmp_path / "run" / "audit.json").is_symlink()


def test_where_the_version_in_use_is_named_by_a_text_no_link_leads_into_it(tmp_path, monkeypatch):
    symlink = os.symlink

    def refuse_first(target, path, *options):  # as where links between files can be made, and none to folders
        if Path(path).name.startswith(".current"):
            refuse()
        symlink(target, path, *options)

    monkeypatch.setattr(os, "symlink", refuse_first)
    publish(tmp_path / "run", "first")
    assert shown(tmp_path / "run") == {"first"}


def test_a_link_that_a_killed_process_left_half_made_is_deleted(run):
    left = run / ".audit.json.0123abcd.partial"
    left.symlink_to(Path("results", "current", "audit.json"))
    other = run / ".decisions.csv.0123abcd.partial"
    other.write_text("of a review at work")
    publish(run, "second")
    assert not left.is_symlink()
    assert other.exists()


def test_links_that_lead_nowhere_give_way_to_copies(run, monkeypatch):
    monkeypatch.setattr(os, "symlink", refuse)
    publish(run, "second")  # a run with links, where links are followed and cannot be made
    assert shown(run) == {"second"}
    assert not [path for path in run.iterdir() if path.is_symlink()]


def publish_until_killed(run, stop, mark, sender):
    """Publish, killed before a step on the file system by its number, or send the number of steps."""
    count = 0

    def killing(function):
        def call(*arguments, **options):
            nonlocal count
            if count == stop:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1
            return function(*arguments, **options)

        return call

    for name in ("rename", "replace", "unlink", "symlink", "mkdir", "fsync", "rmdir", "open", "remove", "link"):
        setattr(os, name, killing(getattr(os, name)))
    publish(run, mark)
    sender.send(count)


def test_a_kill_before_any_step_leaves_one_version_whole(run, tmp_path):
    receiver, sender = PROCESSES.Pipe(duplex=False)

    def start(target, stop, mark):
        process = PROCESSES.Process(target=publish_until_killed, args=(Path(target), stop, mark, sender))
        process.start()
        process.join()
        return process.exitcode

    assert start(shutil.copytree(run, tmp_path / "whole", symlinks=True), -1, "second") == 0
    steps = receiver.recv()
    assert steps > 20
    target = shutil.copytree(run, tmp_path / "killed", symlinks=True)
    for stop in range(0, steps, max(1, steps // 9)):
        assert start(target, stop, f"kill-{stop}") == -signal.SIGKILL
        require_intact(results_of(target))
        assert len(shown(target)) == 1
    publish(target, "last")
    assert shown(target) == {"last"}
    assert not list((target / "results").glob(".*.partial"))


def zipped_without_links(run, to):
    """Return a run that was packed and unpacked by a program that stores no links."""
    archive = shutil.make_archive(str(to / "copy"), "zip", run)
    shutil.unpack_archive(archive, to / "copied")
    assert list((to / "copied" / "results" / "current").iterdir()) == []
    return to / "copied"


def test_a_copy_without_links_shows_the_version_that_was_in_use(run, tmp_path):
    for mark in ("second", "third"):
        publish(run, mark)
    in_use = results_of(run).name
    copied = zipped_without_links(run, tmp_path)
    (copied / "suspects.csv").write_text("key,decision\na,drop\n")  # filled in
    assert results_of(copied).name == in_use
    require_intact(results_of(copied))
    with publishing(copied, update=True) as folder:
        (folder / "report.html").write_text("new")
    assert (copied / "results" / "current").is_symlink()
    assert (copied / "audit.json").read_text() == "{}third"


def test_a_copy_of_which_no_version_is_whole_is_damage_until_it_is_ranked_again(run, tmp_path):
    copied = zipped_without_links(run, tmp_path)
    (copied / "audit.json").write_text("altered")
    with pytest.raises(StoreDamagedError, match=r"an empty folder, as after a copy without links: rank the run again"):
        results_of(copied)
    publish(copied, "second")
    assert shown(copied) == {"second"}
    require_intact(results_of(copied))
