"""A review is served to its user alone, and what was decided is on the disk whatever happens next."""

import errno
import fcntl
import json
import os
import shlex
import signal
import socket
import struct
import threading
import urllib.error
import urllib.parse
import urllib.request
import webbrowser
from pathlib import Path

import pandas as pd
import pytest

from gwaudit import rank
from gwaudit.core.errors import DataError, StoreBusyError, StoreDamagedError
from gwaudit.data.loading import load_dataset
from gwaudit.review.decision_log import DecisionLog, LoggedDecision
from gwaudit.review.server import ReviewServer, serve_review
from helpers.command import gwaudit, start_gwaudit
from helpers.hostile_data import with_hostile_names
from helpers.recorded_runs import make_run
from helpers.serving import serving


@pytest.fixture
def audit(tmp_path):
    with make_run(tmp_path / "run", with_hostile_names(load_dataset("digits"))) as store:
        ranked = rank(store)
        ranked.save(tmp_path / "run")
        return ranked


@pytest.fixture
def server(audit):
    with DecisionLog(audit) as log, ReviewServer(log, b"the page") as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(url, request=None, **headers):
    """The status and what came back."""
    data = None if request is None else json.dumps(request).encode()
    headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=100) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def send(server, changes, since=0):
    status, body = ask(server.url + "decisions", {"since": since, "changes": changes})
    assert status == 200, body
    return json.loads(body)


KEEP = {"decision": "keep", "label": None}


class TestWhoMayAsk:
    def test_the_token_opens_the_page(self, server):
        assert ask(server.url) == (200, b"the page")

    @pytest.mark.parametrize("path", ["/", "/decisions", "/x/", "/../decisions.csv"])
    def test_without_the_token_there_is_nothing(self, server, path):
        root = f"http://127.0.0.1:{server.server_port}"
        assert ask(root + path)[0] == 404
        assert ask(root + path, {"since": 0, "changes": [[1, KEEP]]})[0] == 404
        assert server.log.decisions == {}

    def test_another_name_for_this_address_is_refused(self, server):
        assert ask(server.url, Host="evil.example")[0] == 404

    def test_what_a_form_of_another_site_can_send_is_refused(self, server):
        status, _ = ask(server.url + "decisions", {"since": 0, "changes": [[1, KEEP]]}, Content_Type="text/plain")
        assert status == 415
        assert server.log.decisions == {}

    def test_it_listens_on_this_machine_alone(self, server):
        assert server.server_address[0] == "127.0.0.1"


class TestDecisions:
    def test_they_are_on_the_disk_when_the_answer_comes(self, server, audit):
        send(server, [[3, {"decision": "relabel", "label": 1}], [5, KEEP]])
        table = pd.read_csv(server.log.path, encoding="utf-8-sig", keep_default_na=False)
        assert list(table.columns) == ["sample_id", "key", "given_name", "decision", "label", "data_fingerprint"]
        assert table["sample_id"].tolist() == [3, 5]
        assert table["decision"].tolist() == ["relabel", "keep"]
        assert table["label"].tolist() == ["'" + audit.class_names[1], ""]  # a formula, which no spreadsheet may run

    def test_two_tabs_do_not_lose_each_others_work(self, server):
        first, second = send(server, []), send(server, [])
        first = send(server, [[1, KEEP]], since=first["revision"])
        second = send(server, [[2, {"decision": "drop", "label": None}]], since=second["revision"])
        assert dict(second["changes"])[1] == KEEP
        first = send(server, [[2, None]], since=first["revision"])
        assert send(server, [], since=second["revision"])["changes"] == [[2, None]]
        assert set(server.log.decisions) == {1}

    def test_a_tab_of_an_earlier_server_receives_everything(self, server):
        send(server, [[1, KEEP]])
        assert dict(send(server, [], since=99)["changes"]) == {1: KEEP}

    @pytest.mark.parametrize(
        "change",
        [
            [10**9, KEEP],
            [-1, KEEP],
            ["1", KEEP],
            [1, {"decision": "maybe", "label": None}],
            [1, {"decision": "relabel", "label": 99}],
            [1, {"decision": "relabel", "label": None}],
            [1, {"decision": "relabel", "label": True}],
            [True, KEEP],
            [1, {"decision": ["keep"], "label": None}],
            [1, "keep"],
            [1, {}],
            7,
        ],
    )
    def test_what_is_no_decision_changes_nothing(self, server, change):
        status, _ = ask(server.url + "decisions", {"since": 0, "changes": [[2, KEEP], change]})
        assert status == 400
        assert server.log.decisions == {}
        assert not server.log.path.exists()

    def test_many_tabs_at_once_all_count(self, server):
        threads = [threading.Thread(target=send, args=(server, [[i, KEEP]])) for i in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert set(server.log.decisions) == set(range(40))
        assert len(pd.read_csv(server.log.path)) == 40


class TestOddRequests:
    @pytest.mark.parametrize("body", [
        b"[" * 100_000, b'{"since": ' + b"[" * 100_000, b'{"since": 1e999, "changes": []}', b'{"since": 0}', b"",
        b'{"since": true, "changes": []}', b'{"since": ' + b"9" * 10_000 + b', "changes": []}', b"\xff",
        b'{"since": 0, "changes": 7}',
    ])  # fmt: skip
    def test_is_refused_without_a_traceback(self, server, body, capfd):
        request = urllib.request.Request(server.url + "decisions", body, {"Content-Type": "application/json"})
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(request, timeout=100)
        assert error.value.code == 400
        assert capfd.readouterr().err == ""

    def test_a_connection_that_ends_early_prints_nothing(self, server, capfd):
        path = urllib.parse.urlsplit(server.url).path
        head = f"POST {path}decisions HTTP/1.1\r\nHost: localhost:{server.server_port}\r\nContent-Length: 99\r\n\r\n"
        for _ in range(3):
            with socket.create_connection(server.server_address) as connection:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # ends in a reset
                connection.sendall(head.encode())
        send(server, [[1, KEEP]])  # the server goes on
        assert capfd.readouterr().err == ""


class TestAFileThatIsChangedByHand:
    def test_its_decisions_reach_the_pages_and_the_next_ones_are_added(self, server):
        seen = send(server, [[1, KEEP], [2, KEEP]])["revision"]
        table = pd.read_csv(server.log.path, dtype=str, keep_default_na=False)
        table.loc[0, "decision"] = "drop"
        table.iloc[:1].to_csv(server.log.path, index=False, sep=";")
        answer = send(server, [[3, KEEP]], since=seen)
        assert dict(answer["changes"]) == {1: {"decision": "drop", "label": None}, 2: None, 3: KEEP}
        assert pd.read_csv(server.log.path)["decision"].tolist() == ["drop", "keep"]

    def test_a_page_that_decides_nothing_receives_them_too(self, server):
        seen = send(server, [[1, KEEP]])["revision"]
        server.log.path.write_text("sample_id,decision\n5,drop\n")
        assert dict(send(server, [], since=seen)["changes"]) == {1: None, 5: {"decision": "drop", "label": None}}

    @pytest.mark.parametrize("text", ["", "sample_id,decision\n1,dorp\n", "a,b\n1,2\n"])
    def test_one_that_cannot_be_read_is_not_overwritten(self, server, text):
        send(server, [[1, KEEP]])
        server.log.path.write_text(text)
        status, reason = ask(server.url + "decisions", {"since": 0, "changes": [[2, KEEP]]})
        assert status == 507
        assert b"decisions.csv" in reason
        assert server.log.path.read_text() == text

    def test_one_that_was_deleted_is_written_again(self, server):
        send(server, [[1, KEEP]])
        server.log.path.unlink()
        send(server, [[2, KEEP]])
        assert pd.read_csv(server.log.path)["sample_id"].tolist() == [1, 2]


def test_the_browser_is_given_a_private_file_and_not_the_token(server, monkeypatch):
    opened = []

    def look(address):
        path = Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))
        opened.append((address, path, path.stat().st_mode & 0o777, path.read_text()))

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setattr(server, "serve_forever", lambda: None)
    serve_review(server, browser=True)
    [(address, path, mode, page)] = opened
    assert server.token not in address
    assert mode == 0o600
    assert f"url={server.url}" in page
    assert not path.exists(), "when the review ends"


def reviewing(run):
    """A process that serves a review, and the address that it prints."""
    process = start_gwaudit("review", run, "--no-browser", environment={**os.environ, "COLUMNS": "200"})
    return process, process.read_line().split()[-1]


class TestResuming:
    def test_a_review_goes_on_where_it_was(self, audit):
        with DecisionLog(audit) as log:
            log.change({4: LoggedDecision("relabel", 2), 9: LoggedDecision("unsure")})
        with DecisionLog(audit) as log:
            assert log.decisions == {4: LoggedDecision("relabel", 2), 9: LoggedDecision("unsure")}

    def test_a_run_is_reviewed_once_at_a_time(self, audit):
        with DecisionLog(audit), pytest.raises(StoreBusyError, match="reviewed already"):
            DecisionLog(audit)
        DecisionLog(audit).__exit__()

    def test_a_file_system_without_locks_admits_one_review_too(self, audit, monkeypatch):
        def refuse(*arguments, **options):
            raise OSError(errno.ENOTSUP, "Operation not supported")

        monkeypatch.setattr(fcntl, "flock", refuse)
        self.test_a_review_goes_on_where_it_was(audit)
        self.test_a_run_is_reviewed_once_at_a_time(audit)

    def test_a_second_review_ends_before_it_loads_anything(self, audit, monkeypatch):
        monkeypatch.setattr("gwaudit.pipeline.report.load_report_data", lambda *_, **__: pytest.fail("loaded"))
        with DecisionLog(audit):
            done = gwaudit("review", audit.run, "--no-browser")
        assert done.returncode == 2
        assert "reviewed already" in done.stderr

    def test_a_file_that_is_no_decisions_is_not_overwritten(self, audit):
        path = audit.run / "decisions.csv"
        path.write_text("sample_id,key,given_name,decision,label\n1,a,b,burn,c\n")
        with pytest.raises(StoreDamagedError, match="no decisions on this run"):
            DecisionLog(audit)
        assert "burn" in path.read_text()

    def test_a_killed_server_loses_nothing(self, tmp_path):
        with make_run(tmp_path / "run", load_dataset("digits")) as store:
            rank(store).save(tmp_path / "run")
        for number in range(2):
            process, url = reviewing(tmp_path / "run")
            status, body = ask(url + "decisions", {"since": 0, "changes": [[number, KEEP]]})
            assert status == 200
            assert set(dict(json.loads(body)["changes"])) == set(range(number + 1))
            process.kill()
        assert len(pd.read_csv(tmp_path / "run" / "decisions.csv")) == 2

    def test_ctrl_c_ends_it_and_says_what_is_next(self, tmp_path):
        with make_run(tmp_path / "a run", load_dataset("digits")) as store:
            rank(store).save(store.path)
        process, url = reviewing(tmp_path / "a run")
        assert ask(url + "decisions", {"since": 0, "changes": [[1, KEEP]]})[0] == 200
        process.send_signal(signal.SIGINT)
        done = process.wait()
        output = done.stdout
        assert done.returncode == 0, done.stderr
        assert "1 keep" in output
        command = shlex.split(output[output.index("gwaudit apply") :])
        assert command[2] == str(tmp_path / "a run"), "quoted, to be pasted into a shell"


def test_pictures_are_served_under_the_token_alone(audit):
    def picture(sample_id):
        if sample_id == 7:
            raise DataError("image 7 can no longer be read")
        return b"picture %d" % sample_id

    with DecisionLog(audit) as log, ReviewServer(log, b"the page", picture=picture) as server, serving(server):
        assert ask(server.url + "picture/3") == (200, b"picture 3")
        assert ask(server.url + "picture/7") == (404, b"image 7 can no longer be read")
        assert ask(server.url + "picture/x")[0] == 404
        assert ask(f"http://127.0.0.1:{server.server_port}/another/picture/3")[0] == 404
