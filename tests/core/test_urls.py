"""URLs are recognised, never taken for local folders, and shown without passwords."""

from pathlib import Path

import pytest

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.outputs import require_file, require_folder, require_new
from gwaudit.core.urls import is_url, path_of_file_url, reaching, redacted, require_local, restored_url, retrying
from gwaudit.store.working_copies import run_folder


@pytest.mark.parametrize("place", ["runs/x", "run:1/x", "hf:name", "/data/a.csv", "C:/data", "a b://c"])
def test_paths_are_no_urls(place: str) -> None:
    assert not is_url(place)
    require_local(place)
    require_local(Path(place))


@pytest.mark.parametrize("check", [require_new, require_folder, require_file])
@pytest.mark.parametrize("place", ["s3://bucket/x", Path("s3://bucket/x"), Path("gs:/bucket/x"), "https://u:p@h/x?t=1"])
def test_an_output_at_a_url_is_refused_and_makes_no_folder(check, place, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="is a URL") as caught:
        check(place)
    assert "u:p" not in str(caught.value)
    assert "t=1" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_path_made_of_a_url_is_restored() -> None:
    assert restored_url(Path("s3://bucket/x")) == "s3://bucket/x"
    assert restored_url(Path("exp:2/run")) == "exp:2/run"
    assert restored_url("s3://bucket//x") == "s3://bucket//x"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://u:p@host/a?sig=1 is gone", "https://***@host/a?*** is gone"),
        ("ftp://host/a", "ftp://host/a"),
        ("two: s3://k:s@b/x, 'https://h?t=2'", "two: s3://***@b/x, 'https://h?***'"),
    ],
)
def test_passwords_and_queries_are_left_out(text: str, shown: str) -> None:
    assert redacted(text) == shown


def test_a_file_url_is_a_path() -> None:
    assert path_of_file_url("file:///a%20b/c.csv") == Path("/a b/c.csv")
    assert path_of_file_url("s3://b/c.csv") is None


def test_errors_of_a_service_become_one_error_without_credentials() -> None:
    with pytest.raises(DataError, match=r"https://\*\*\*@h/a cannot be read: no route to https://h/a\?\*\*\*"):  # noqa: SIM117
        with reaching("https://u:p@h/a", "cannot be read", DataError):
            raise RuntimeError("no route to https://h/a?token=secret")


def test_a_call_is_repeated_only_where_its_failure_may_pass(monkeypatch) -> None:
    monkeypatch.setattr("gwaudit.core.urls.sleep", lambda seconds: None)
    calls: list[int] = []

    def failing(error: Exception, times: int) -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return len(calls)

    assert retrying(lambda: failing(ConnectionResetError("cut"), 2)) == 3
    calls.clear()
    with pytest.raises(PermissionError):
        retrying(lambda: failing(PermissionError("no"), 1))
    assert len(calls) == 1


def test_a_run_at_a_file_url_lies_where_the_url_says(tmp_path):
    assert run_folder(Path(tmp_path.as_uri())) == tmp_path
    assert run_folder(tmp_path.as_uri()) == tmp_path
    with pytest.raises(SettingsError, match="write file:///"):
        run_folder("file://tmp/run")
