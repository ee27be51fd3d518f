"""An audit arrives whole in the tools that people label with: read by their own libraries, whatever the names are.

FiftyOne and datumaro (which reads CVAT's formats) ask for other versions of libraries than gwaudit is tested with, so
that no test here imports them: their layouts are checked as published. docs/howto/handover.md says what else was run.
"""

import base64
import io
import json
import runpy
import sys
import types
import zipfile
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse
from xml.etree import ElementTree

import cleanlab.dataset
import numpy as np
import pandas as pd
import pytest
from cleanlab import Datalab
from cleanlab.classification import CleanLearning
from cvat_sdk import models
from cvat_sdk.api_client.exceptions import ApiValueError
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface
from lxml import etree
from PIL import Image
from sklearn.linear_model import LogisticRegression

from gwaudit.analysis.verdict import Verdict
from gwaudit.core.errors import DataError, SettingsError, StoreExistsError, VerdictError
from gwaudit.core.safe_names import choice_names, tag_names
from gwaudit.core.settings import DataSettings
from gwaudit.data.loading import load_dataset
from gwaudit.export import label_studio
from gwaudit.export.formats import FORMATS, ExportFormat, ExportOptions, write_export
from gwaudit.review.decisions import read_decisions, write_decisions
from helpers.audits import SUGGESTED, SUSPECTS, audit_of, make_decisions
from helpers.command import gwaudit
from helpers.hostile_data import HOSTILE, hostile_dataset
from helpers.making import Unreadable, make_tree, picture
from helpers.pages import ROOT
from helpers.recorded_runs import ranked_run

ALL = ExportOptions(all=True)


@pytest.fixture
def photos(tmp_path):
    make_tree(tmp_path / "photos", ("ant", "bee", "cat"), size=(20, 16))
    return load_dataset(tmp_path / "photos")


def tasks_of(folder):
    return [task for path in sorted(folder.glob("tasks*.json")) for task in json.loads(path.read_text())]


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


class TestLabelStudio:
    @pytest.mark.parametrize("modality", ["images", "texts", "features"])
    def test_its_own_library_takes_configuration_tasks_and_predictions(self, tmp_path, modality):
        dataset = hostile_dataset(modality)
        folder = write_export(audit_of(dataset), "label-studio", tmp_path / "review", ALL, dataset=dataset)
        interface = LabelInterface((folder / "config.xml").read_text("utf-8"))
        interface.validate()
        tasks = tasks_of(folder)
        assert len(tasks) == len(dataset)
        for task in tasks:
            assert interface.validate_task({"data": task["data"]})
            for prediction in task["predictions"]:
                assert interface.validate_prediction(prediction, return_errors=True) == []

    def test_the_controls_are_the_classes_and_a_decision(self, tmp_path):
        dataset = hostile_dataset()
        folder = write_export(audit_of(dataset), "label-studio", tmp_path / "review", dataset=dataset)
        interface = LabelInterface((folder / "config.xml").read_text("utf-8"))
        label, decision = interface.get_control("label"), interface.get_control("decision")
        assert list(label.labels) == choice_names(HOSTILE)
        assert list(decision.labels) == ["keep", "drop", "unsure"]
        assert {label.tag, decision.tag} == {"Choices"}
        assert label.attr["choice"] == "single"

    @pytest.mark.parametrize("shown", ["image", "text", "about"])
    def test_the_controls_are_beside_the_sample_however_high_it_is(self, shown):
        columns = ElementTree.fromstring(label_studio.labelling_config(["cat", "dog"], shown))
        assert columns.get("style").startswith("display: flex")
        sample, answers = columns
        assert sample.find(f"*[@name='{shown}']") is not None
        assert [choices.get("name") for choices in answers.iter("Choices")] == ["label", "decision"]

    @pytest.mark.parametrize("form", ["json", "json_min", "csv"])
    def test_a_decision_beside_the_preselected_class_comes_back_by_its_own_converter(self, photos, tmp_path, form):
        audit = audit_of(photos, suspects=[0, 1, 2, 3])
        folder = write_export(audit, "label-studio", tmp_path / "review", ALL, dataset=photos)
        words = {0: "drop", 1: "keep", 3: "unsure"}
        tasks = tasks_of(folder)
        for number, task in enumerate(tasks):
            [choice] = task["predictions"][0]["result"]
            word = words.get(task["data"]["sample_id"])
            decided = [] if word is None else [{**choice, "from_name": "decision", "value": {"choices": [word]}}]
            task |= {"id": number, "created_at": "", "updated_at": "", "annotations": []}
            if task["data"]["sample_id"] < 4:
                facts = {"id": number, "completed_by": 1, "lead_time": 1.5, "created_at": "", "updated_at": ""}
                task["annotations"] = [{**facts, "was_cancelled": False, "result": [choice, *decided]}]
        (tmp_path / "in").mkdir()
        (tmp_path / "in" / "project.json").write_text(json.dumps(tasks))
        converter = Converter((folder / "config.xml").read_text("utf-8"), str(tmp_path))
        arguments = (str(tmp_path / "in"), str(tmp_path / "out"))
        if form == "json_min":
            converter.convert_to_json_min(*arguments)
        elif form == "csv":
            converter.convert_to_csv(*arguments, sep=",", header=True)
        [file] = (tmp_path / ("in" if form == "json" else "out")).glob("*.*")
        decisions = read_decisions([file], audit)
        assert (decisions.problems, decisions.notes) == ((), ())
        assert decisions.frame["decision"].tolist() == ["drop", "keep", "relabel", "unsure"]

    def test_rows_of_a_table_are_shown_as_they_stand_there(self, tmp_path):
        islands = ("", "Dream", "Biscoe")
        rows = (f"{islands[i % 3]},{3000 + i * 37 % 97},{i * 7 % 5},{'ab'[i % 2]}" for i in range(40))
        (tmp_path / "birds.csv").write_text("\n".join(["island,mass,rank,label", *rows]))
        dataset = load_dataset(tmp_path / "birds.csv")
        audit = audit_of(dataset, suggested=1)
        tasks = tasks_of(write_export(audit, "label-studio", tmp_path / "review", ALL, dataset=dataset))
        shown = {task["data"]["sample_id"]: task["data"]["about"] for task in tasks}
        assert [shown[i]["island"] for i in (0, 1)] == ["–", "Dream"]
        assert [shown[i]["mass"] for i in (0, 1)] == ["3000", "3037"]
        assert shown[4]["column rank"] == "3", "beside the rank of the audit"
        assert not any(name.startswith("feature ") for name in shown[0])

    def test_choices_are_the_class_names_where_xml_can_hold_them(self):
        names = choice_names(HOSTILE)
        assert len(set(names)) == len(HOSTILE)
        changed = [(name, shown) for name, shown in zip(HOSTILE, names, strict=True) if name != shown]
        assert changed == [
            ("control\x00\x01\x1f\x7f", "control␀␁␟\x7f (5)"),
            ("$image", "＄image (10)"),
            ("", "_ (18)"),
        ]

    def test_every_choice_comes_back_as_the_class_it_stands_for(self, tmp_path):
        dataset = hostile_dataset()
        audit = audit_of(dataset)
        folder = write_export(audit, "label-studio", tmp_path / "review", ALL, dataset=dataset)
        tasks = sorted(tasks_of(folder), key=lambda task: task["data"]["sample_id"])
        names = choice_names(HOSTILE)
        for position, task in enumerate(tasks):  # as an annotator would, each another class
            choice = names[(position + 1) % len(names)]
            result = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [choice]}}
            task["annotations"] = [{"result": [result]}]
        (tmp_path / "export.json").write_text(json.dumps(tasks))
        decisions = read_decisions([tmp_path / "export.json"], audit)
        assert decisions.problems == ()
        chosen = decisions.frame["label"].to_numpy()
        np.testing.assert_array_equal(chosen, (np.arange(len(tasks)) + 1) % len(names))

    def test_no_choice_is_a_variable(self):
        assert choice_names(["$key", "5 $", "US$ 5", "a$b", "$[0]"]) == ["＄key", "5 $", "US$ 5", "a＄b", "＄[0]"]

    def test_suspects_come_worst_first_with_their_suggestion(self, photos, tmp_path):
        tasks = tasks_of(write_export(audit_of(photos), "label-studio", tmp_path / "review", dataset=photos))
        assert [task["data"]["sample_id"] for task in tasks] == SUSPECTS
        for task in tasks:
            data, (prediction,) = task["data"], task["predictions"]
            assert data["key"] == photos.keys[data["sample_id"]]
            assert data["given_label"] == photos.labels[data["sample_id"]]
            assert data["given_name"] == photos.class_names[data["given_label"]]
            assert (data["suggested_name"], data["probability_wrong"]) == ("cat", 0.9)
            assert prediction["score"] == 0.9
            assert prediction["result"][0]["value"] == {"choices": ["cat"]}

    def test_what_is_no_suspect_keeps_its_label_as_prediction(self, photos, tmp_path):
        folder = write_export(
            audit_of(photos), "label-studio", tmp_path / "review", ExportOptions(top=4), dataset=photos
        )
        for task in tasks_of(folder)[2:]:
            assert task["data"]["category"] == "fine"
            assert task["predictions"][0]["result"][0]["value"] == {"choices": [task["data"]["given_name"]]}

    @pytest.mark.parametrize("modality", ["images", "texts", "features"])
    def test_keys_texts_and_features_arrive_as_they_are(self, tmp_path, modality):
        dataset = hostile_dataset(modality)
        folder = write_export(audit_of(dataset), "label-studio", tmp_path / "review", ALL, dataset=dataset)
        for task in tasks_of(folder):
            data = task["data"]
            sample_id = data["sample_id"]
            assert data["key"] == dataset.keys[sample_id].replace("\0", "␀"), "which databases refuse"
            assert data["given_name"] == HOSTILE[sample_id].replace("\0", "␀")
            if modality == "texts":
                assert data["text"] == HOSTILE[sample_id].replace("\0", "␀")
            if modality == "features":
                shown = [data["about"][f"feature {i}"] for i in range(4)]
                np.testing.assert_array_equal(np.float32(shown), dataset[sample_id][0].numpy())
            if modality == "images":
                kind, _, content = data["image"].partition(",")
                assert kind == "data:image/png;base64"
                np.testing.assert_array_equal(pixels(base64.b64decode(content)), np.asarray(dataset.image(sample_id)))

    def test_large_and_odd_images_are_embedded_reduced_as_browsers_show_them(self, tmp_path):
        make_tree(tmp_path / "photos", size=(1500, 900))
        path = tmp_path / "photos" / "cat" / "000.png"
        picture(0, (40, 30)).save(path.with_suffix(".bmp"))
        path.unlink()
        dataset = load_dataset(tmp_path / "photos", image_size=8)
        audit = audit_of(dataset, suspects=[0, 1], suggested=1)
        folder = write_export(audit, "label-studio", tmp_path / "review", dataset=dataset, root=tmp_path / "photos")
        small, large = [task["data"]["image"].partition(",") for task in tasks_of(folder)]
        assert small[0] == large[0] == "data:image/jpeg;base64"
        assert pixels(base64.b64decode(small[2])).shape == (30, 40, 3)
        assert pixels(base64.b64decode(large[2])).shape[1] == 1024

    def test_copies_are_addressed_as_label_studio_serves_them(self, photos, tmp_path):
        output = tmp_path / "re view&#?"
        audit = audit_of(photos)
        folder = write_export(
            audit, "label-studio", output, ExportOptions(copy=True), dataset=photos, root=tmp_path / "photos"
        )
        for task in tasks_of(folder):
            address = urlparse(task["data"]["image"])
            assert address.path == "/data/local-files/"
            served = tmp_path / parse_qs(address.query)["d"][0]  # below the document root
            original = tmp_path / "photos" / task["data"]["key"]
            assert served.read_bytes() == original.read_bytes()
        assert str(tmp_path) in (folder / "README.txt").read_text()

    def test_many_tasks_go_into_several_files_that_can_be_uploaded(self, photos, tmp_path, monkeypatch):
        monkeypatch.setattr(label_studio, "FILE_BYTES", 3000)
        folder = write_export(audit_of(photos), "label-studio", tmp_path / "review", ALL, dataset=photos)
        files = sorted(path.name for path in folder.glob("tasks*.json"))
        assert files[0] == "tasks-2.json"
        assert len(files) > 2
        assert sorted(task["data"]["sample_id"] for task in tasks_of(folder)) == list(range(9))

    def test_what_was_never_recorded_has_neither_score_nor_suggestion(self, photos, tmp_path):
        audit = audit_of(photos)
        last = audit.frame.index[-1]
        audit.frame.loc[last, ["log_odds_wrong", "probability_wrong", "mean_alignment"]] = np.nan
        audit.frame.loc[last, "suggested_label"] = -1
        task = tasks_of(write_export(audit, "label-studio", tmp_path / "review", ALL, dataset=photos))[-1]
        assert task["data"]["probability_wrong"] is None
        assert task["data"]["suggested_name"] is None
        assert "score" not in task["predictions"][0]


def opened(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


class TestCvat:
    def test_images_and_annotations_are_those_of_cvat_for_images(self, photos, tmp_path):
        path = write_export(audit_of(photos), "cvat", tmp_path / "review.zip", dataset=photos, root=tmp_path / "photos")
        files = opened(path)
        root = etree.fromstring(files["annotations.xml"])
        assert root.tag == "annotations"
        assert root.findtext("version") == "1.1"
        task = root.find("meta/task")
        assert (task.findtext("mode"), task.findtext("size")) == ("annotation", "2")
        assert [label.findtext("name") for label in task.iterfind("labels/label")] == ["ant", "bee", "cat"]
        known = {a.findtext("name") for a in task.find("labels/label").iterfind("attributes/attribute")}
        images = root.findall("image")
        assert sorted(files) == sorted(
            ["annotations.xml", "labels.json", *(f"images/{image.get('name')}" for image in images)]
        )
        for number, (image, sample_id) in enumerate(zip(images, SUSPECTS, strict=True)):
            assert image.get("id") == str(number)
            assert (image.get("width"), image.get("height")) == ("20", "16")
            content = files[f"images/{image.get('name')}"]
            assert content == (tmp_path / "photos" / photos.keys[sample_id]).read_bytes()
            (tag,) = image
            assert tag.tag == "tag"
            assert tag.get("label") == photos.class_names[photos.labels[sample_id]]
            values = {attribute.get("name"): attribute.text for attribute in tag}
            assert set(values) == known
            assert values["suggested"] == "cat"
            assert values["sample_id"] == str(sample_id)
            assert values["key"] == photos.keys[sample_id]
            assert values["probability"] == "0.9000"

    def test_cvat_sorts_the_images_by_suspicion_and_as_their_numbers(self, photos, tmp_path):
        files = opened(write_export(audit_of(photos), "cvat", tmp_path / "r.zip", ALL, dataset=photos))
        names = [image.get("name") for image in ElementTree.fromstring(files["annotations.xml"]).iter("image")]
        assert names == sorted(names)
        assert [int(Path(name).stem.split("-")[1]) for name in names[:2]] == SUSPECTS

    def test_its_own_schema_takes_the_labels(self, tmp_path):
        dataset = hostile_dataset()
        files = opened(write_export(audit_of(dataset), "cvat", tmp_path / "r.zip", dataset=dataset))
        labels = json.loads(files["labels.json"])
        assert [label["name"] for label in labels] == tag_names(HOSTILE)
        for label in labels:
            attributes = [models.AttributeRequest(**attribute) for attribute in label["attributes"]]
            models.PatchedLabelRequest(name=label["name"], type=label["type"], attributes=attributes)
            assert label["name"] == label["name"].strip(), "CVAT strips it"
        with pytest.raises(ApiValueError):
            models.PatchedLabelRequest(name="x" * 65)

    def test_whatever_xml_can_hold_comes_back(self, tmp_path):
        dataset = hostile_dataset()
        files = opened(write_export(audit_of(dataset), "cvat", tmp_path / "r.zip", ALL, dataset=dataset))
        names = tag_names(HOSTILE)
        assert len(set(names)) == len(HOSTILE)
        written = {}
        for tag in etree.fromstring(files["annotations.xml"], etree.XMLParser(huge_tree=True)).iter("tag"):
            values = {attribute.get("name"): attribute.text or "" for attribute in tag}
            written[int(values["sample_id"])] = (tag.get("label"), values["given"], values["key"])
        for sample_id, name in enumerate(HOSTILE):
            label, given, key = written[sample_id]
            assert label == names[sample_id]
            if len(name) < 4096 and "\0" not in name:
                assert (given, key) == (name, f"{name}{sample_id}")
        kept = [name for name in HOSTILE if 0 < len(name) <= 64 and "\0" not in name and name == name.strip()]
        assert [names[HOSTILE.index(name)] for name in kept] == kept
        assert written[3][1] == "x" * 4095 + "…"
        assert written[5][1] == "control␀␁␟\x7f"

    def test_the_same_audit_gives_the_same_bytes(self, photos, tmp_path):
        first, second = (
            write_export(audit_of(photos), "cvat", tmp_path / name, dataset=photos) for name in ("1.zip", "2.zip")
        )
        assert first.read_bytes() == second.read_bytes()


class TestCleanlab:
    @pytest.fixture
    def issues(self, photos, tmp_path):
        path = write_export(audit_of(photos), "cleanlab", tmp_path / "issues.parquet")
        return pd.read_parquet(path)

    def test_columns_and_types_are_those_of_its_datalab(self, photos, issues):
        lab = Datalab(data={"y": photos.labels.tolist()}, label_name="y", verbosity=0)
        random = np.random.default_rng(0).random((9, 3))
        lab.find_issues(pred_probs=random / random.sum(1, keepdims=True), issue_types={"label": {}})
        theirs = lab.get_issues("label")
        assert set(theirs.columns) <= set(issues.columns)
        for column in theirs.columns:
            assert issues[column].dtype.kind == theirs[column].dtype.kind, column
        assert issues["label_score"].between(0, 1).all()

    def test_a_verdict_that_offers_no_cut_has_no_issues_and_no_scores(self, photos, tmp_path):
        audit = replace(audit_of(photos), verdict=Verdict("use the order"))
        with pytest.raises(VerdictError, match="no label issues and no scores"):
            write_export(audit, "cleanlab", tmp_path / "issues.csv")
        assert not (tmp_path / "issues.csv").exists()
        chosen = replace(audit, settings=replace(audit.settings, top=len(SUSPECTS)))
        issues = pd.read_csv(write_export(chosen, "cleanlab", tmp_path / "issues.csv"))
        assert issues["is_label_issue"].sum() == len(SUSPECTS)
        assert issues["label_score"].isna().all()

    def test_its_learner_trains_without_the_suspects(self, photos, issues, tmp_path):
        features = np.random.default_rng(0).random((9, 4))
        learner = CleanLearning(LogisticRegression())
        learner.fit(features, photos.labels, label_issues=issues)
        kept = ~np.isin(np.arange(9), SUSPECTS)
        plain = LogisticRegression().fit(features[kept], photos.labels[kept])
        np.testing.assert_array_equal(learner.clf.coef_, plain.coef_)
        with pytest.raises(ValueError, match="given_label"):
            learner.fit(features, np.roll(photos.labels, 1), label_issues=issues)

    def test_its_data_set_summary_takes_the_counts_of_given_and_predicted_labels(self, issues):
        counts = pd.crosstab(issues["given_label"], issues["predicted_label"]).to_numpy()
        summary = cleanlab.dataset.health_summary(confident_joint=counts, num_examples=len(issues), verbose=False)
        # Of the two suspects sample 6 is a cat that the made-up audit would call a cat.
        assert summary["overall_label_health_score"] == pytest.approx(8 / 9)

    def test_suspects_have_low_scores_and_their_suggestion(self, issues):
        assert issues.index[issues["is_label_issue"]].tolist() == SUSPECTS
        assert issues["label_score"][issues["is_label_issue"]].max() < issues["label_score"].drop(SUSPECTS).min()
        assert (issues["predicted_label"][SUSPECTS] == SUGGESTED).all()
        assert (issues["predicted_label"].drop(SUSPECTS) == issues["given_label"].drop(SUSPECTS)).all()

    @pytest.mark.parametrize("suffix", [".parquet", ".csv"])
    def test_any_names_and_keys_come_back(self, tmp_path, suffix):
        dataset = hostile_dataset()
        path = write_export(audit_of(dataset), "cleanlab", tmp_path / f"issues{suffix}")
        if suffix == ".parquet":
            issues = pd.read_parquet(path)
            assert issues["given_name"].tolist() == list(HOSTILE)
            assert issues["key"].tolist() == list(dataset.keys)
        else:
            issues = pd.read_csv(path, index_col="sample_id", keep_default_na=False)
            assert issues["given_label"].tolist() == list(range(len(HOSTILE)))
            assert issues["given_name"][1] == "'" + HOSTILE[1], "a spreadsheet would run it"

    def test_what_was_never_recorded_has_no_score_and_its_own_label(self, photos, tmp_path):
        audit = audit_of(photos)
        last = audit.frame.index[-1]
        audit.frame.loc[last, "probability_wrong"] = np.nan
        audit.frame.loc[last, ["suggested_label", "predicted_label"]] = -1
        issues = pd.read_parquet(write_export(audit, "cleanlab", tmp_path / "issues.parquet"))
        assert np.isnan(issues["label_score"][8])
        assert issues["predicted_label"][8] == issues["given_label"][8]

    def test_another_kind_of_file_is_refused(self, photos, tmp_path):
        with pytest.raises(SettingsError, match=r"\.parquet or \.csv"):
            write_export(audit_of(photos), "cleanlab", tmp_path / "issues.xlsx")


class TestFiftyOne:
    @pytest.mark.parametrize("copy", [False, True])
    def test_the_folder_is_an_image_classification_data_set(self, photos, tmp_path, copy):
        folder = write_export(
            audit_of(photos), "fiftyone", tmp_path / "review", ExportOptions(copy=copy), dataset=photos,
            root=tmp_path / "photos",
        )  # fmt: skip
        written = json.loads((folder / "labels.json").read_text())
        assert set(written) == {"classes", "labels"}
        assert written["classes"] == list(photos.class_names)
        files = {path.stem: path for path in (folder / "data").iterdir()}
        assert set(files) == set(written["labels"])
        for stem, target in written["labels"].items():
            assert target == photos.labels[int(stem)]
            assert files[stem].read_bytes() == (tmp_path / "photos" / photos.keys[int(stem)]).read_bytes()
            assert files[stem].is_symlink() is not copy

    def test_its_script_sets_the_findings_in_the_order_of_the_samples(self, tmp_path, monkeypatch):
        dataset = hostile_dataset()
        folder = write_export(audit_of(dataset), "fiftyone", tmp_path / "review", dataset=dataset)
        fields = {}
        stand_in = types.ModuleType("fiftyone")
        stand_in.types = types.SimpleNamespace(FiftyOneImageClassificationDataset="layout")
        stand_in.Classification = lambda label: label
        # FiftyOne sorts by name as text; any other order must do as well.
        paths = sorted((str(path) for path in (folder / "data").iterdir()), reverse=True)
        loaded = types.SimpleNamespace(
            name="mine", values=lambda field: paths, set_values=lambda field, values: fields.update({field: values})
        )
        stand_in.Dataset = types.SimpleNamespace(from_dir=lambda **asked: fields.update(asked=asked) or loaded)
        monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
        monkeypatch.setattr(sys, "argv", ["add_scores.py", "mine"])
        runpy.run_path(str(folder / "add_scores.py"), run_name="__main__")
        assert fields["asked"]["dataset_dir"] == str(folder)
        assert (fields["asked"]["dataset_type"], fields["asked"]["name"]) == ("layout", "mine")
        assert loaded.persistent
        ids = [int(Path(path).stem) for path in paths]
        assert fields["sample_id"] == ids
        assert fields["key"] == [dataset.keys[i].replace("\0", "␀") for i in ids]
        assert fields["mislabel_probability"] == [0.9 if i in SUSPECTS else 0.1 for i in ids]
        assert fields["alignment"] == [-0.1 if i in SUSPECTS else 0.1 for i in ids]
        others = [SUGGESTED if i in SUSPECTS else (i + 1) % len(HOSTILE) for i in ids]
        assert fields["suggested"] == [HOSTILE[i].replace("\0", "␀") for i in others]
        assert fields["tags"] == [["suspect"] if i in SUSPECTS else [] for i in ids]
        assert fields["category"] == ["suspect" if i in SUSPECTS else "fine" for i in ids]


@pytest.mark.parametrize("name", ["label-studio", "cvat", "fiftyone"])
class TestWholeOrNot:
    def test_an_image_that_is_gone_leaves_nothing_behind(self, photos, tmp_path, name):
        odd = type(photos)(**{**vars(photos), "inputs": Unreadable(photos.inputs), "originals": None})
        with pytest.raises(DataError, match="can no longer be read"):
            write_export(audit_of(photos), name, tmp_path / "review", ExportOptions(all=True), dataset=odd)
        assert [path.name for path in tmp_path.iterdir()] == ["photos"]

    def test_other_data_than_the_audited_are_refused(self, photos, tmp_path, name):
        other = photos.with_labels(np.roll(photos.labels, 1))
        with pytest.raises(DataError, match="not those that were audited"):
            write_export(audit_of(photos), name, tmp_path / "review", dataset=other)
        assert not (tmp_path / "review").exists()


@pytest.mark.parametrize("name", ["label-studio", "fiftyone"])
def test_an_existing_folder_is_left_alone(photos, tmp_path, name):
    (tmp_path / "review").mkdir()
    with pytest.raises(StoreExistsError):
        write_export(audit_of(photos), name, tmp_path / "review", dataset=photos)


class TestOptions:
    @pytest.mark.parametrize(("name", "options", "message"), [
        ("csv", ExportOptions(action="drop"), "`action` does not apply to csv, only to ids, hf, imagefolder"),
        ("csv", ExportOptions(copy=True), "`copy` does not apply to csv"),
        ("ids", ExportOptions(top=3), "`top` does not apply to ids, only to csv, label-studio, cvat"),
        ("hf", ExportOptions(all=True), "`all` does not apply to hf"),
        ("cleanlab", ExportOptions(top=3), "`top` does not apply to cleanlab"),
        ("fiftyone", ExportOptions(top=3), "`top` does not apply to fiftyone"),
        ("excel", ExportOptions(), "unknown format 'excel': choose from csv, label-studio"),
    ])  # fmt: skip
    def test_what_does_not_apply_is_refused(self, photos, tmp_path, name, options, message):
        with pytest.raises(SettingsError, match=message):
            write_export(audit_of(photos), name, tmp_path / "out", options, dataset=photos)
        assert not (tmp_path / "out").exists()

    def test_options_that_contradict_or_mean_nothing_are_refused(self):
        with pytest.raises(SettingsError, match="choose one"):
            ExportOptions(top=3, all=True)
        with pytest.raises(SettingsError, match="at least 1"):
            ExportOptions(top=0)
        with pytest.raises(SettingsError, match="choose from drop, relabel"):
            ExportOptions(action="burn")

    @pytest.mark.parametrize("name", ["label-studio", "cvat"])
    def test_no_suspects_are_nothing_to_look_at(self, photos, tmp_path, name):
        with pytest.raises(DataError, match="has no suspects"):
            write_export(audit_of(photos, suspects=[]), name, tmp_path / "out", dataset=photos)
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(("modality", "name"), [
        ("texts", "cvat"), ("texts", "fiftyone"), ("texts", "imagefolder"), ("features", "cvat"),
    ])  # fmt: skip
    def test_a_format_that_cannot_hold_the_samples_names_those_that_can(self, tmp_path, modality, name):
        dataset = hostile_dataset(modality)
        message = f"holds {modality}: export them as csv, label-studio, cleanlab, ids, hf"
        with pytest.raises(DataError, match=message):
            write_export(audit_of(dataset), name, tmp_path / "out", dataset=dataset)

    def test_copies_of_what_is_no_image_are_refused(self, tmp_path):
        dataset = hostile_dataset("texts")
        with pytest.raises(DataError, match="no images to copy"):
            write_export(audit_of(dataset), "label-studio", tmp_path / "out", ExportOptions(copy=True), dataset=dataset)


def test_a_new_format_is_one_function_and_one_line(photos, tmp_path, monkeypatch):
    run = tmp_path / "run"
    ranked_run(run, DataSettings(str(tmp_path / "photos")), suspects=SUSPECTS)

    def write(findings, output):
        output.write_text("\n".join(finding.key for finding in findings))
        return output

    monkeypatch.setitem(FORMATS, "toy", ExportFormat(write, options=("top",), needs="nothing"))
    done = gwaudit("export", run, "--to", "toy", "--output", tmp_path / "toy.txt")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "toy.txt").read_text().split("\n") == [photos.keys[sample_id] for sample_id in SUSPECTS]
    assert "only to csv, label-studio, cvat, toy" in gwaudit("export", run, "--to", "ids", "-o", "x", "--top", 1).stderr


def test_a_new_format_of_cleaned_data_serves_export_and_apply(tmp_path, photos, monkeypatch):
    def write(cleaned, folder, original):
        (folder / "kept.txt").write_text(" ".join(map(str, cleaned.ids)))

    monkeypatch.setitem(FORMATS, "toy", ExportFormat(write_cleaned=write, options=("action",), needs="nothing"))
    audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos")), suspects=SUSPECTS)
    assert gwaudit("export", audit.run, "--to", "toy", "-o", tmp_path / "dropped").returncode == 0
    assert (tmp_path / "dropped" / "kept.txt").read_text() == "0 2 3 4 5 7 8"
    decisions = write_decisions(make_decisions(audit, (1, "drop")), tmp_path / "decisions.csv")
    assert gwaudit("apply", audit.run, decisions, "-o", tmp_path / "out", "--format", "toy").returncode == 0
    assert (tmp_path / "out" / "split" / "kept.txt").read_text() == "0 2 3 4 5 6 7 8"


def test_every_format_is_on_the_page_and_in_the_help():
    page = (ROOT / "docs" / "howto" / "handover.md").read_text("utf-8")
    shown = gwaudit("export", "--help").stdout
    for name in FORMATS:
        assert f"| `{name}` |" in page
        assert name in shown
