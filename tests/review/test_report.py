"""The report says what the run holds, in one file that needs nothing else, whatever the data are called."""

import base64
import html
import io
import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from PIL import Image

from gwaudit import RankingSettings, TrajectoryStore, rank
from gwaudit.analysis.monitor import group_readings
from gwaudit.core.errors import DataError, SettingsError, StoreError
from gwaudit.core.settings import DataSettings
from gwaudit.data.loading import load_dataset
from gwaudit.pipeline.report import write_report
from gwaudit.review.report.contents import collect_report_data
from gwaudit.review.report.figures import draw_figures
from gwaudit.review.report.page import render_page, write_page
from gwaudit.review.report.thumbnails import thumbnail
from gwaudit.store.store import SIGNALS
from helpers.audits import make_audit
from helpers.command import FAST, gwaudit
from helpers.hostile_data import with_hostile_names
from helpers.making import make_tree
from helpers.recorded_runs import make_run, ranked_run, with_a_fifth_wrong


@pytest.fixture(scope="module")
def digits():
    dataset = load_dataset("digits")
    return with_a_fifth_wrong(dataset)


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    with make_run(tmp_path_factory.mktemp("report") / "run", digits) as store:
        yield store


@pytest.fixture(scope="module")
def data(run, digits):
    return collect_report_data(rank(run), run, digits)


def facts_of(page):
    """What the page's scripts read."""
    return json.loads(re.search(rb'id="facts"[^>]*>(.*?)</script>', page, re.S).group(1))


def test_an_audit_writes_its_report(tmp_path):
    done = gwaudit("audit", "digits", "--add-noise", "0.1", "--output", tmp_path / "run", *FAST)
    assert str(tmp_path / "run" / "report.html") in done.stdout
    page = (tmp_path / "run" / "report.html").read_bytes()
    suspects = pd.read_csv(tmp_path / "run" / "suspects.csv")
    shown = [s for s in facts_of(page)["samples"] if s["category"] == "suspect"]
    assert [s["id"] for s in shown] == suspects["sample_id"].tolist()
    assert [s["key"] for s in shown] == suspects["key"].tolist()


def test_names_in_backticks_are_shown_as_code(data):
    page = render_page(replace(data, warnings=("give `label_column`, not `<b>`", "a lone ` stays"))).decode()
    assert "give <code>label_column</code>, not <code>&lt;b&gt;</code>" in page
    assert "a lone ` stays" in page


class TestContents:
    def test_trajectories_are_those_of_the_store(self, data, run):
        whole = pd.concat(
            [run.read_epoch(e, ["alignment"]).to_pandas().assign(epoch=e) for e in run.epochs], ignore_index=True
        )
        category = data.audit.frame.set_index("sample_id")["category"]
        expected = whole.assign(group=whole["sample_id"].map(category)).groupby(["group", "epoch"])["alignment"]
        groups = data.trajectories.by_group[data.trajectories.by_group["group"].isin(category.unique())]
        groups = groups.set_index(["group", "epoch"]).sort_index()
        np.testing.assert_allclose(groups["mean"], expected.mean(), rtol=1e-5)
        np.testing.assert_allclose(groups["lower"], expected.quantile(0.25), rtol=1e-5)
        np.testing.assert_allclose(groups["upper"], expected.quantile(0.75), rtol=1e-5)

    def test_a_sample_shows_its_own_trajectory(self, data, run):
        for sample in data.samples[::50]:
            own = run.trajectory(sample["id"])["alignment"].to_numpy()
            np.testing.assert_allclose(sample["trajectory"], own, rtol=1e-2)

    def test_phases_are_early_middle_and_late(self, data):
        assert [phase.name for phase in data.trajectories.phases] == ["early", "middle", "late"]
        epochs = [phase.epoch for phase in data.trajectories.phases]
        assert epochs == sorted(set(epochs))
        for phase in data.trajectories.phases:
            assert np.sum(phase.density * np.diff(phase.edges)) == pytest.approx(1)

    def test_prototypes_are_the_best_aligned_of_their_class(self, data):
        frame = data.audit.frame
        for label, samples in data.prototypes.items():
            best = frame[(frame["given_label"] == label) & ~frame["suspect"]].nlargest(4, "mean_alignment")
            assert [s["key"] for s in samples] == best["key"].tolist()

    def test_the_gallery_has_so_many_suspects_and_others_to_compare(self, run, digits):
        shown = collect_report_data(rank(run), run, digits, top=10).samples
        assert sum(s["category"] == "suspect" for s in shown) == 10
        assert {s["category"] for s in shown} > {"suspect", "fine"}
        assert [s["rank"] for s in shown] == sorted(s["rank"] for s in shown)

    def test_changed_data_are_refused(self, run, digits):
        other = digits.with_labels(np.roll(digits.labels, 1))
        with pytest.raises(DataError, match="no longer those of the audit"):
            collect_report_data(rank(run), run, other)

    def test_without_data_or_truth_there_is_still_a_report(self, run):
        data = collect_report_data(rank(run), run, None)
        assert data.modality == "keys"
        assert "precision-recall" not in draw_figures(data)
        assert b"Against the true labels" not in render_page(data)


class TestFigures:
    def test_each_is_drawn_and_valid(self, data):
        figures = draw_figures(data)
        assert set(figures) == {
            "expected-wrong", "noise-matrix", "mean-trajectories", "true-trajectories", "alignment-phases",
            "epoch-moments", "class-alignment", "precision-recall", "calibration",
        }  # fmt: skip
        for figure in figures.values():
            go.Figure(json.loads(figure.to_json()))  # plotly checks every name and value

    def test_classes_are_followed_as_the_monitor_does(self, data, run):
        e = group_readings(run)["directional_alignment"].unstack("epoch")
        names = list(data.audit.class_names)
        np.testing.assert_allclose(data.trajectories.by_class, e.loc[names].to_numpy(), rtol=1e-5)
        figure = draw_figures(data)["class-alignment"]
        assert {*figure.layout.yaxis.ticktext} == {*names}
        last = np.asarray(figure.data[0].z)[:, -2:].mean(axis=1)
        assert last[0] < last[-1]

    def test_calibration_is_the_share_that_is_wrong(self, data, digits):
        frame = data.audit.frame
        table = data.calibration
        assert table["samples"].sum() == len(frame)
        wrong = frame["given_label"].to_numpy() != digits.true_labels[frame["sample_id"].to_numpy()]
        assert (table["wrong"] * table["samples"]).sum() == pytest.approx(wrong.sum())

    def test_of_many_classes_the_noisiest_are_drawn(self, tmp_path):
        dataset = load_dataset("digits")
        names = tuple(f"class {i}" for i in range(100))
        many = type(dataset)(**{**vars(dataset), "class_names": names, "labels": np.arange(len(dataset)) % 100})
        with make_run(tmp_path / "run", many) as store:
            figure = draw_figures(collect_report_data(rank(store), store, many))["noise-matrix"]
        assert len(figure.data[0].x) == 40


class TestPage:
    def test_hostile_names_are_text_everywhere(self, digits, tmp_path):
        dataset = with_hostile_names(digits)
        with make_run(tmp_path / "run", dataset) as store:
            page = render_page(collect_report_data(rank(store), store, dataset))
        assert b"<script>alert" not in page
        facts = facts_of(page)
        assert tuple(facts["classes"]) == dataset.class_names
        assert {s["key"] for s in facts["samples"]} <= set(dataset.keys)

    def test_nothing_is_asked_of_the_network(self, data):
        page = render_page(data).decode()
        markup = re.sub(r"<script.*?</script>|<style.*?</style>", "", page, flags=re.S)
        assert not re.findall(r"(?:src|href)=\"(?!#|data:)", markup)
        assert "connect-src 'none'" in html.unescape(page)

    def test_a_thousand_large_suspects_stay_below_15_mb(self, tmp_path):
        random = np.random.default_rng(0)
        for label in ("cat", "dog"):
            (tmp_path / "photos" / label).mkdir(parents=True)
            for i in range(505):  # noise is what compresses worst
                noise = random.integers(0, 256, (64, 64, 3), np.uint8)
                image = Image.fromarray(noise).resize((300, 300), Image.Resampling.BICUBIC)
                image.save(tmp_path / "photos" / label / f"{i}.jpg")
        dataset = load_dataset(tmp_path / "photos", image_size=256)
        with make_run(tmp_path / "run", dataset) as store:
            path = write_page(
                collect_report_data(rank(store, RankingSettings(top=1000)), store, dataset), tmp_path / "r.html"
            )
        assert 1_000_000 < path.stat().st_size <= 15_000_000

    def test_texts_and_features_are_shown_as_such(self, tmp_path):
        random = np.random.default_rng(0)
        np.savez(tmp_path / "f.npz", x=random.normal(size=(60, 5)), y=np.arange(60) % 3)
        dataset = load_dataset(tmp_path / "f.npz")
        with make_run(tmp_path / "run", dataset) as store:
            data = collect_report_data(rank(store), store, dataset)
        assert data.modality == "features"
        assert len(data.samples[0]["features"]) == 5
        islands = ["Dream", "Biscoe", "Dream", "Torgersen", None]
        frame = pd.DataFrame({"island": islands * 12, "bill": np.arange(60) % 7, "kind": list("xyz") * 20})
        frame.to_csv(tmp_path / "t.csv", index=False)
        table = load_dataset(tmp_path / "t.csv", label_column="kind")
        with make_run(tmp_path / "table", table) as store:
            data = collect_report_data(rank(store), store, table)
        shown = {sample["id"]: sample["text"] for sample in data.samples}
        assert all(text == f"island {islands[i % 5] or '–'}, bill {i % 7}" for i, text in shown.items())
        texts = [f"<b>text {i}</b>" * (500 if i == 0 else 1) for i in range(60)]
        spoken = type(dataset)(**{**vars(dataset), "texts": texts})
        with TrajectoryStore.open(tmp_path / "run") as store:
            data = collect_report_data(rank(store), store, spoken)
        assert data.modality == "texts"
        assert all(len(s["text"]) <= 2002 for s in data.samples)
        assert b"<b>text" not in render_page(data)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A panorama, of which a crop to a square is the middle third, and portraits, in two classes."""
    folder = tmp_path_factory.mktemp("wide")
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (folder / label).mkdir()
        for i in range(8):
            size = (300, 900) if i == 0 else (900, 300)  # height and width
            small = Image.fromarray(random.integers(0, 256, (6, 6, 3), np.uint8))
            small.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / label / f"{i}.jpg")
    return folder


class TestPictures:
    def collected(self, folder, run, **options):
        dataset = load_dataset(folder, **options)
        with make_run(run, dataset) as store:
            return collect_report_data(rank(store, RankingSettings(top=16)), store, dataset)

    def test_they_are_the_whole_originals_whatever_the_network_saw(self, photos, tmp_path):
        data = self.collected(photos, tmp_path / "run", image_size=32, fit="crop")
        assert len(data.samples) == 16
        for sample in data.samples:
            wide = sample["key"].endswith("0.jpg")
            shown = decoded(sample["image"])
            assert shown.size == ((900, 300) if wide else (300, 900))
            box = (1 / 3, 0, 2 / 3, 1) if wide else (0, 1 / 3, 1, 2 / 3)
            assert sample["seen"] == pytest.approx(box, abs=0.005)
        large = Image.open(io.BytesIO(data.large_picture(data.samples[0]["sample_id"])))
        assert max(large.size) == 900
        assert b"marks the part that the network saw" in render_page(data)

    def test_no_part_is_marked_where_the_network_saw_all(self, photos, tmp_path):
        data = self.collected(photos, tmp_path / "run", image_size=32, fit="pad")
        assert not any("seen" in sample for sample in data.samples)
        assert max(decoded(data.samples[0]["image"]).size) == 900
        assert b"<p>Pictures show the whole original" not in render_page(data)

    def test_a_photo_that_was_deleted_leaves_a_card_without_a_picture(self, photos, tmp_path):
        copy = shutil.copytree(photos, tmp_path / "photos")
        dataset = load_dataset(copy)
        with make_run(tmp_path / "run", dataset) as store:
            audit = rank(store, RankingSettings(top=16))
            (copy / "cat" / "3.jpg").unlink()
            data = collect_report_data(audit, store, dataset)
        shown = {sample["key"]: sample for sample in data.samples}
        assert ("missing" in shown["cat/3.jpg"]) or decoded(shown["cat/3.jpg"]["image"]).size == (224, 224)
        assert "image" in shown["cat/4.jpg"]


def decoded(uri):
    """Return the image of a data URI."""
    return Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))


def test_inputs_under_several_labels_are_shown_with_each_other_and_said_at_the_top(tmp_path):
    make_tree(tmp_path / "photos", per_class=100)
    shutil.copy(tmp_path / "photos" / "cat" / "007.png", tmp_path / "photos" / "dog" / "same.png")
    audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos")), suspects=[0, 1])
    page = write_report(audit.run).read_bytes()
    head = html.unescape(page.decode().split("<main>")[0])
    assert "different labels: 1, such as cat/007.png (cat), dog/same.png (dog)" in head
    others = {s["key"]: s["same_input"] for s in facts_of(page)["samples"] if "same_input" in s}
    assert others == {
        "cat/007.png": [{"key": "dog/same.png", "label": "dog"}],
        "dog/same.png": [{"key": "cat/007.png", "label": "cat"}],
    }
    assert b"2 of these samples have the same input" in page


def test_a_page_is_written_over_a_page_and_over_nothing_else(tmp_path):
    make_tree(tmp_path / "photos", per_class=100)
    audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos")), suspects=[0, 1])
    for _ in range(2):
        write_report(audit.run, tmp_path / "page.html")
    table = tmp_path / "labels.csv"
    table.write_text("id,label\n1,cat\n")
    with pytest.raises(StoreError, match=r"labels\.csv is not a page, and would be lost"):
        write_report(audit.run, table)
    assert table.read_text() == "id,label\n1,cat\n"


@pytest.mark.parametrize("top", [0, -3])
def test_a_page_of_no_samples_is_refused(tmp_path, top):
    make_tree(tmp_path / "photos", per_class=100)
    audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos")), suspects=[0, 1])
    with pytest.raises(SettingsError, match=f"`top` must be at least 1, not {top}"):
        write_report(audit.run, top=top)


def test_a_browser_keeps_the_decisions_on_runs_without_a_fingerprint_apart(tmp_path):
    names = []
    for run, labels in (("a", [0, 1, 0, 1]), ("b", [0, 1, 1, 0])):
        settings = {"given_labels": np.array(labels), "class_names": ["no", "yes"]}
        with TrajectoryStore.create(tmp_path / run, **settings) as store:
            signals = {name: np.zeros(4, kind) for name, kind in SIGNALS.items()}
            store.append_epoch(0, np.arange(4), signals, metrics={"gwa": 0.1})
        make_audit([*"0123"], labels, ["no", "yes"], run=tmp_path / run, fingerprint="").save(tmp_path / run)
        names.append(facts_of(write_report(tmp_path / run).read_bytes())["storage_name"])
    assert all(names)
    assert names[0] != names[1]


def test_a_thumbnail_of_a_small_image_is_the_image():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    content = base64.b64decode(thumbnail(image, 10_000).split(",")[1])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), np.asarray(image))


def test_a_thumbnail_keeps_to_its_size():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (400, 300, 3), np.uint8))
    for most in (3_000, 20_000):
        assert len(thumbnail(noise, most)) <= most * 4 / 3 + 40


def test_a_run_without_an_audit_is_refused_with_the_remedy(tmp_path):
    gwaudit("train", "digits", "--output", tmp_path / "run", *FAST)
    done = gwaudit("report", tmp_path / "run")
    assert done.returncode == 2
    assert "rank the run first" in done.stderr
