"""Share one recorded run, its page and a server of it between the tests of the page."""

import pytest

from gwaudit import rank
from gwaudit.data.loading import load_dataset
from gwaudit.review.decision_log import DecisionLog
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.page import render_page, write_page
from gwaudit.review.server import ReviewServer
from helpers.hostile_data import with_hostile_names
from helpers.recorded_runs import make_run, with_a_fifth_wrong
from helpers.serving import serving


@pytest.fixture(scope="session")
def dataset():
    digits = load_dataset("digits")
    return with_hostile_names(with_a_fifth_wrong(digits))


@pytest.fixture(scope="session")
def data(dataset, tmp_path_factory):
    with make_run(tmp_path_factory.mktemp("page") / "run", dataset) as store:
        ranked = rank(store)
        ranked.save(store.path)
        return collect_report_data(ranked, store, dataset)


@pytest.fixture(scope="session")
def report(data, tmp_path_factory):
    return write_page(data, tmp_path_factory.mktemp("file") / "report.html")


@pytest.fixture
def server(data):
    with DecisionLog(data.audit) as log, ReviewServer(log, render_page(data, served=True)) as server, serving(server):
        yield server
        log.path.unlink(missing_ok=True)
