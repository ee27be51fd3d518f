"""`gwaudit sql` shows what a run has committed, as the rest of the package reads it, and changes nothing."""

import json
import os
import shutil
import signal
import sys
import threading

import numpy as np
import pandas as pd
import pytest

from gwaudit import TrajectoryStore, rank
from gwaudit.analysis.sample_statistics import sample_statistics
from gwaudit.core.errors import MissingExtraError, QueryError, StoreDamagedError
from gwaudit.pipeline.sql import run_query
from gwaudit.store.block_files import SIGNALS
from gwaudit.store.store import FINAL_PASS
from helpers.command import gwaudit
from helpers.version_1 import write_version_1

N, EPOCHS = 50, 4
CLASSES = ["cat", "=dog"]


def signals_of(random, n):
    return {name: random.integers(0, 2, n) if dtype.kind == "i" else random.normal(0, 1, n).astype(dtype)
            for name, dtype in SIGNALS.items()}  # fmt: skip


def write_run(path, given_labels, **settings):
    """A run with gaps, an evaluation pass, and the files of a killed attempt; row 3 was never recorded."""
    random = np.random.default_rng(0)
    with TrajectoryStore.create(
        path, given_labels=given_labels, class_names=CLASSES, block_rows=20, **settings
    ) as store:
        for epoch in range(EPOCHS):
            ids = np.setdiff1d(np.flatnonzero(random.random(store.n_rows) < 0.8), [3])
            metrics = {FINAL_PASS: 0.0} if epoch == EPOCHS - 1 else {"gwa": 0.1}
            store.append_epoch(epoch, ids, signals_of(random, len(ids)), metrics=metrics)
        killed = store.begin_epoch(EPOCHS)
        killed.write_block(0, signals_of(random, 20))
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A ranked run, in a folder whose name is a pattern of file names."""
    path = tmp_path_factory.mktemp("runs [a-c]*'") / "photos"
    write_run(path, np.arange(N) % 2, keys=[f"k{sample}" for sample in range(N)])
    rank(TrajectoryStore.open(path)).save(path)
    return path


def rows(run, query, **settings):
    with run_query(run, query, **settings) as result:
        return [row for batch in result.batches for row in batch.to_pylist()]


def copied(run, folder):
    return shutil.copytree(run, folder / "copy", symlinks=True)


def test_the_statistics_of_each_sample_are_those_of_the_ranking(run):
    expected = sample_statistics(TrajectoryStore.open(run), range(EPOCHS - 1))
    query = """
        select sample_id, avg(alignment) as mean_alignment, avg((alignment < 0)::int) as share_negative
        from epochs group by sample_id order by sample_id
    """
    found = pd.DataFrame(rows(run, query)).set_index("sample_id")
    assert 3 not in found.index
    assert len(found) == N - 1
    for column in found:
        np.testing.assert_allclose(found[column], expected[column][found.index], rtol=1e-6)


def test_every_signal_of_a_recorded_epoch_is_shown(run):
    store = TrajectoryStore.open(run)
    for view, epoch in [("epochs", 1), ("evaluation_passes", EPOCHS - 1)]:
        found = pd.DataFrame(rows(run, f"select * from {view} where epoch = {epoch + 1} order by sample_id"))
        recorded = store.read_epoch(epoch).to_pandas().dropna().reset_index(drop=True)
        pd.testing.assert_frame_equal(found.drop(columns="epoch"), recorded, check_dtype=False)
    assert rows(run, "select distinct epoch from epochs order by epoch") == [{"epoch": n} for n in (1, 2, 3)]


def test_samples_and_classes_have_names(run):
    found = rows(run, "select * from samples where sample_id in (0, 31) order by sample_id")
    assert found == [
        {"sample_id": 0, "key": "k0", "given_label": 0, "given_name": "cat", "split": "train"},
        {"sample_id": 31, "key": "k31", "given_label": 1, "given_name": "=dog", "split": "train"},
    ]
    assert [row["class_name"] for row in rows(run, "select * from classes")] == CLASSES


def test_the_ranking_is_shown_without_the_numbers_that_its_verdict_withholds(run, recwarn):
    audit = rank(TrajectoryStore.open(run))
    assert not audit.has_probabilities
    found = pd.DataFrame(rows(run, "select * from audit order by rank"))
    assert list(found) == list(audit.frame)
    assert list(found["key"]) == list(audit.frame["key"])
    np.testing.assert_array_equal(found["log_odds_wrong"].astype(float), audit.frame["log_odds_wrong"])
    assert found["probability_wrong"].isna().all()
    assert audit.verdict.level in str(recwarn.pop(UserWarning).message)


def test_decisions_are_those_that_a_ranking_would_use(run, tmp_path):
    decided = copied(run, tmp_path)
    assert rows(decided, "select * from decisions") == []
    (decided / "decisions.csv").write_text("key,decision,label\nk4,relabel,=dog\nk6,keep,\nk7,relabel,cow\n")
    with pytest.warns(UserWarning, match="decide nothing because of a problem: 1"):
        found = rows(decided, "select * from decisions order by sample_id")
    assert [(row["key"], row["given_name"], row["decision"], row["new_name"]) for row in found] == [
        ("k4", "cat", "relabel", "=dog"),
        ("k6", "cat", "keep", None),
    ]


def test_a_multi_label_run_has_a_row_for_each_sample_and_class(tmp_path):
    run = write_run(tmp_path / "tags", np.arange(N).reshape(25, 2) % 2)
    found = rows(run, "select * from samples where sample_id = 12")
    assert [(row["class_id"], row["class_name"], row["given_name"]) for row in found] == [
        (0, "cat", "absent"),
        (1, "=dog", "present"),
    ]
    ids = "select distinct sample_id * 2 + class_id as row from epochs order by row"
    assert [row["row"] for row in rows(run, ids)] == [row for row in range(N) if row != 3]


def test_decisions_on_multi_label_data_name_the_class(tmp_path):
    run = write_run(tmp_path / "tags", np.arange(N).reshape(25, 2) % 2)
    rank(TrajectoryStore.open(run)).save(run)
    (run / "decisions.csv").write_text("sample_id,class_name,decision\n4,=dog,relabel\n4,cat,keep\n")
    found = rows(run, "select class_id, class_name, given_name, decision, new_name from decisions order by class_id")
    assert [tuple(row.values()) for row in found] == [
        (0, "cat", "absent", "keep", None),
        (1, "=dog", "present", "relabel", "absent"),
    ]


def test_a_run_of_version_1_has_the_names_of_today(tmp_path):
    random = np.random.default_rng(0)
    epochs = [signals_of(random, 6) for _ in range(3)]
    write_version_1(tmp_path / "old", np.zeros((3, 2), int), CLASSES, epochs, final_sweeps=1)
    found = rows(tmp_path / "old", "select * from epochs where epoch = 2 and sample_id = 1 and class_id = 1")
    assert found[0]["alternative_alignment"] == epochs[1]["alternative_alignment"][3]
    assert len(rows(tmp_path / "old", "from evaluation_passes")) == 6
    assert rows(tmp_path / "old", "select key from samples where class_name = 'cat' limit 1") == [{"key": "key 0"}]


def test_a_run_at_a_url_is_queried(tmp_path, monkeypatch):
    monkeypatch.setenv("GWAUDIT_CACHE", str(tmp_path / "cache"))
    write_run("memory://bucket/sql", np.arange(N) % 2)
    for folder in (tmp_path / "cache").rglob("epochs"):
        shutil.rmtree(folder)
    assert rows("memory://bucket/sql", "select count(*) as n from epochs")[0]["n"] > 2 * N


def test_damage_is_refused_before_a_row_is_shown(run, tmp_path):
    damaged = copied(run, tmp_path)
    file = next(damaged.glob("epochs/epoch-00001/*/block-000001.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(StoreDamagedError, match="block-000001"):
        rows(damaged, "select count(*) from epochs")
    assert len(rows(damaged, "select * from samples")) == N
    (damaged / "results" / "current" / "audit.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreDamagedError, match="rank the run again"):
        rows(damaged, "select * from audit")


def test_files_that_are_not_compared_are_counted_and_their_damage_is_an_error(run, tmp_path):
    damaged = copied(run, tmp_path)
    with pytest.warns(UserWarning, match="9 files of the run were read without"):
        rows(damaged, "select * from epochs", verify=False)
    next(damaged.glob("epochs/epoch-00001/*/block-000001.parquet")).write_bytes(b"no Parquet")
    with pytest.raises(StoreDamagedError, match=r"show` with `verify`"):
        rows(damaged, "select * from epochs", verify=False)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("copy epochs to 'x.csv'", "not COPY"),
        ("explain analyze copy epochs to 'x.csv'", "not EXPLAIN"),
        ("create table samples as select 1", "not CREATE"),
        ("select * from epochs; select * from samples", "not 2 statements"),
        ("", "not 0 statements"),
        ("select '\udcff' from epochs", "not UTF-8"),
        ("pivot audit on category using count(*)", "PIVOT needs its values"),
        ("set memory_limit = '9GB'", "not SET"),
        ("select 1", "names none of the views of a run, which are epochs,"),
        ("selec * from epochs", "Parser Error: syntax error"),
        ("select nothing from epochs", "nothing"),
        ("select key::int from samples", "Could not convert string 'k"),
        ("select sum(sample_id) * 1e30::decimal(38, 0) from samples", "more than 64 bits"),
        ("select * from epochs, read_csv('{run}/run.json')", "Permission Error"),
        ("select * from epochs, '{run}/audit.parquet'", "Permission Error"),
        ("select * from epochs, glob('/*')", "Permission Error"),
        ("select * from samples, secret_frame", "secret_frame does not exist"),
    ],
)
def test_a_query_that_fails_or_would_do_more_than_read_the_views_is_refused(run, query, reason):
    secret_frame = pd.DataFrame({"secret": [1]})  # DuckDB looks for variables of Python
    with pytest.raises(QueryError, match=reason):
        rows(run, query.format(run=str(run).replace("'", "''")))
    assert len(secret_frame) == 1


def test_a_view_that_the_run_has_not_is_named_by_what_is_missing(tmp_path):
    run = write_run(tmp_path / "run", np.arange(N) % 2)
    done = gwaudit("sql", run, "select * from AUDIT")
    assert (done.returncode, done.stdout) == (2, "")
    assert "holds no audit: rank the run first" in done.stderr
    assert rows(run, "select count(*) as audit from samples") == [{"audit": N}]
    assert "check the path" in gwaudit("sql", tmp_path / "none", "select * from epochs").stderr
    for command in ("status", "report"):  # a folder that is no run cannot be ranked
        assert "holds no audit, and no run (no run.json): check the path" in gwaudit(command, tmp_path).stderr


def test_without_duckdb_the_extra_is_named(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(MissingExtraError, match=r"gwaudit\[sql\]"):
        rows(run, "select * from epochs")


def test_a_terminal_shows_the_first_rows_and_columns_and_counts_the_others(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = gwaudit("sql", run, "select * from audit order by rank")
    assert done.returncode == 0, done.stderr
    assert "... and 10 more rows; --output FILE.csv writes all" in done.stdout
    assert "more columns, as " in done.stdout
    assert "log_odds_wrong" in gwaudit("sql", run, "select rank, log_odds_wrong from audit").stdout
    assert "NULL" in gwaudit("sql", run, "select null as nothing from classes").stdout
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_json_has_all_rows(run):
    query = "select sample_id, sum(predicted_label) as n, 0.5::decimal(3, 1) as x, 'nan'::double as y, key, key, " \
        "date '2026-01-31' as day from epochs join samples using (sample_id) group by all order by all"  # fmt: skip
    done = gwaudit("sql", run, query, "--json")
    found = json.loads(done.stdout)
    assert len(found) == N - 1
    assert list(found[0]) == ["sample_id", "n", "x", "y", "key", "key_1", "day"]
    assert found[0] | {"n": 0} == {
        "sample_id": 0, "n": 0, "x": 0.5, "y": None, "key": "k0", "key_1": "k0", "day": "2026-01-31",
    }  # fmt: skip
    assert all(isinstance(row["n"], int) for row in found)
    assert json.loads(gwaudit("sql", run, "select * from samples where false", "--json").stdout) == []


def test_files_have_all_rows(run, tmp_path):
    query = "select -sample_id as negative, given_name, if(sample_id > 1, given_label, null) as label, " \
        "if(sample_id > 1, sample_id > 2, null) as late from samples order by sample_id"  # fmt: skip
    for name in ("a.csv", "a.parquet"):
        done = gwaudit("sql", run, query, "--output", tmp_path / name)
        assert f"{N} rows" in done.stdout, done.stderr
    written = (tmp_path / "a.csv").read_text("utf-8-sig").splitlines()
    assert written[:3] == ['"negative","given_name","label","late"', '0,"cat","",""', '-1,"\'=dog","",""']
    assert written[3:5] == ['-2,"cat",0,False', '-3,"\'=dog",1,True']
    frame = pd.read_parquet(tmp_path / "a.parquet")
    assert list(frame["negative"]) == list(range(0, -N, -1))
    gwaudit("sql", run, "select * from samples where false", "--output", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text("utf-8-sig") == '"sample_id","key","given_label","given_name","split"\n'


def test_a_file_elsewhere_than_outside_the_run_is_refused(run, tmp_path):
    for file, reason in [
        (run / "audit.parquet", "lies in the run"),
        (run / "new.csv", "lies in the run"),
        (tmp_path / "a.xlsx", "--output takes a file whose name ends with .csv or .parquet"),
    ]:
        done = gwaudit("sql", run, "select * from samples", "--output", file)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr
    assert pd.read_parquet(run / "audit.parquet").shape[0] == N
    assert not (run / "new.csv").exists()


def test_lists_structs_and_missing_texts_are_whole_in_a_csv_file(run, tmp_path):
    query = "select list(sample_id order by sample_id) as ids, {'k': min(key)} as first, null::varchar as no, " \
        "map{1: date '2026-01-31'} as days from samples"  # fmt: skip
    gwaudit("sql", run, query, "--output", tmp_path / "a.csv")
    row = pd.read_csv(tmp_path / "a.csv", keep_default_na=False).iloc[0]
    assert json.loads(row["ids"]) == list(range(N))
    assert json.loads(row["first"]) == {"k": "k0"}
    assert json.loads(row["days"]) == [[1, "2026-01-31"]]
    assert row["no"] == ""


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("a.csv", "select union_value(k := 1) as either from samples"),
        ("a.parquet", "select interval 1 day as long from samples"),
    ],
)
def test_a_type_that_a_file_cannot_hold_is_refused_with_the_way_on(run, tmp_path, name, query):
    done = gwaudit("sql", run, query, "--output", tmp_path / name)
    assert done.returncode == 2
    assert "make it a text in the query" in done.stderr
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_a_query_that_runs(run):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    interrupt.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            rows(run, "select count(*) from range(100000000000), epochs")
    finally:
        interrupt.join()
        signal.signal(signal.SIGINT, before)
