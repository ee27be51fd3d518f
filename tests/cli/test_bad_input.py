"""What users get wrong: one line that says what, where and what to do, exit code 2, and nothing left behind."""

import os
import resource
import signal
import stat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from gwaudit.core.errors import DataError
from gwaudit.core.settings import TrainingSettings
from gwaudit.data import images
from gwaudit.data.loading import load_dataset
from gwaudit.training.trainer import train
from helpers.command import FAST, gwaudit, start_gwaudit
from helpers.making import Malicious, make_cifar_n, make_parquet, make_tree, picture, png


def refused(*arguments, before=None):
    """Run, and return the one line of the error, before which an audit may have said what it read."""
    done = gwaudit(*arguments) if before is None else start_gwaudit(*arguments, before=before).wait()
    assert done.returncode == 2, done.stdout + done.stderr
    *before, line = done.stderr.strip().splitlines()
    assert before == [] or before[0].startswith("source "), done.stderr
    assert line.startswith("error: ")
    return line


def refused_audit(tmp_path, source, *arguments):
    """Refuse before a run's folder is made."""
    line = refused("audit", source, "-o", tmp_path / "run", *FAST, *arguments)
    assert not (tmp_path / "run").exists(), "a refused audit leaves no folder"
    return line


def test_a_missing_folder(tmp_path):
    assert "no data set at" in refused_audit(tmp_path, tmp_path / "nowhere")


def test_an_empty_folder(tmp_path):
    (tmp_path / "data").mkdir()
    assert "holds no data set: expected" in refused_audit(tmp_path, tmp_path / "data")


def test_one_class_only(tmp_path):
    make_tree(tmp_path / "data", ("cat",))
    assert "one class only ('cat'); an audit needs at least two" in refused_audit(tmp_path, tmp_path / "data")


def test_labels_of_another_length_or_order_and_an_unknown_key(tmp_path):
    truth = load_dataset("digits").labels
    short = make_cifar_n(tmp_path / "short.pt", truth[:-1], worse_label=truth[:-1])
    assert "1796 labels for the 1797 samples" in refused_audit(
        tmp_path, "digits", "--labels", short, "--label-key", "worse_label"
    )
    turned = make_cifar_n(tmp_path / "turned.pt", truth[::-1].copy(), worse_label=truth)
    assert "in another order" in refused_audit(tmp_path, "digits", "--labels", turned, "--label-key", "worse_label")
    assert "no 'best_label': it has" in refused_audit(
        tmp_path, "digits", "--labels", turned, "--label-key", "best_label"
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_in_labels(tmp_path, value):
    labels = load_dataset("digits").labels.astype(float)
    labels[17] = value
    np.save(tmp_path / "labels.npy", labels)
    assert "row 17 is NaN or infinite" in refused_audit(tmp_path, "digits", "--labels", tmp_path / "labels.npy")


def test_nan_in_a_checkpoint_ends_in_one_line_and_commits_nothing(tmp_path):
    from gwaudit.training.models import build_model

    model = build_model("resnet9_16", n_classes=10, in_chans=1, image_size=8)
    state = model.state_dict()
    next(iter(state.values())).fill_(float("nan"))
    torch.save(state, tmp_path / "weights.pt")
    line = refused("audit", "digits", "-o", tmp_path / "run", *FAST, "--checkpoint", tmp_path / "weights.pt")
    assert "NaN" in line
    assert not list((tmp_path / "run" / "commits").glob("*.json"))


def test_a_diverging_training_says_so(tmp_path):
    line = refused("audit", "digits", "-o", tmp_path / "run", *FAST, "--learning-rate", "1e30", "--dtype", "float32")
    assert "epoch 1" in line


def test_a_corrupt_image_stops_with_its_path_or_is_skipped_and_listed(tmp_path):
    paths = make_tree(tmp_path / "data", per_class=8)
    paths[3].write_bytes(paths[3].read_bytes()[:300])
    line = refused_audit(tmp_path, tmp_path / "data")
    assert "cat/003.png" in line
    assert "--on-error skip" in line
    done = gwaudit("audit", tmp_path / "data", "-o", tmp_path / "run", *FAST, "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert "Skipped rows that cannot be used: 1" in done.stdout
    assert "cat/003.png" in done.stdout


def test_an_image_that_breaks_during_the_training_stops_it_with_its_path(tmp_path, monkeypatch):
    """Too many images for the memory are read anew each epoch; then one is cut short."""
    monkeypatch.setattr(images, "IN_MEMORY_BYTES", 0)
    paths = make_tree(tmp_path / "data", per_class=4)
    dataset = load_dataset(tmp_path / "data")
    paths[2].write_bytes(paths[2].read_bytes()[:150])
    with pytest.raises(DataError, match=r"cat/002\.png can no longer be read"):
        train(dataset, tmp_path / "run", TrainingSettings(epochs=1, batch_size=4))


def test_a_truncated_parquet_file(tmp_path):
    file = make_parquet(tmp_path / "data" / "train.parquet", [png(i) for i in range(20)], [0, 1] * 10)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    line = refused_audit(tmp_path, tmp_path / "data")
    assert "train.parquet cannot be read as Parquet" in line


def test_a_malicious_pickle_does_not_run(tmp_path):
    for name, option in (("labels.pt", "--labels"), ("weights.pt", "--checkpoint")):
        torch.save({"worse_label": Malicious(tmp_path / "pwned")}, tmp_path / name)
        extra = ["--label-key", "worse_label"] if option == "--labels" else []
        line = refused_audit(tmp_path, "digits", option, tmp_path / name, *extra)
        assert name in line
        assert "nothing in it was executed" in line
        assert "weights_only" not in line, "no advice to load it unsafely"
        assert not (tmp_path / "pwned").exists()


def test_a_read_only_output(tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o555)
    if os.geteuid() == 0:
        locked = Path("/sys")  # there is no other place where root may not write
    line = refused("audit", "digits", "-o", locked / "run", *FAST)
    assert str(locked) in line
    assert "cannot write" in line


def test_an_output_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "file" in refused("audit", "digits", "-o", tmp_path / "file" / "run", *FAST)
    assert "file" in refused("audit", "digits", "-o", tmp_path / "file", *FAST)
    assert (tmp_path / "file").read_text() == "mine"


def fill_the_disk():
    """Let every file end at 400 kB: the disk is full as soon as the first checkpoint is written."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))


def test_a_full_output_keeps_the_whole_epochs_and_can_go_on(tmp_path):
    line = refused("audit", "digits", "-o", tmp_path / "run", *FAST, before=fill_the_disk)
    assert "cannot write" in line
    assert "--resume" in line
    done = gwaudit("audit", "digits", "-o", tmp_path / "run", *FAST, "--resume")
    assert done.returncode == 0, done.stderr
    assert gwaudit("show", tmp_path / "run", "--verify").returncode == 0


def test_an_existing_run_needs_resume_with_the_same_settings(tmp_path):
    run = tmp_path / "run"
    assert gwaudit("audit", "digits", "-o", run, *FAST).returncode == 0
    suspects = (run / "suspects.csv").read_bytes()
    assert "--resume" in refused("audit", "digits", "-o", run, *FAST)
    assert "--batch-size 128, not 64" in refused("audit", "digits", "-o", run, *FAST, "--batch-size", "64", "--resume")
    assert "other data or labels" in refused("audit", "digits", "--add-noise", "0.2", "-o", run, *FAST, "--resume")
    assert (run / "suspects.csv").read_bytes() == suspects
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    assert "mine" in refused("audit", "digits", "-o", tmp_path / "mine", *FAST)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_an_unknown_model_and_one_without_a_linear_head(tmp_path):
    assert "resnet9_61" in refused_audit(tmp_path, "digits", "--model", "resnet9_61")
    make_tree(tmp_path / "data", per_class=4)
    line = refused_audit(tmp_path, tmp_path / "data", "--model", "squeezenet1_0", "--image-size", "64")
    assert "squeezenet1_0" in line


@pytest.mark.parametrize(("arguments", "message"), [
    (["--epochs", "0"], "--epochs must be at least 1"),
    (["--optimizer", "sdg"], "unknown optimizer 'sdg'"),
    (["--device", "abacus"], "device 'abacus' cannot be used"),
    (["--patience", "3"], "--patience must be at least 1, and needs a rule (--select)"),
    (["--add-noise", "2"], "--add-noise must be a share in [0, 1)"),
    (["--image-size", "32"], "--image-size does not change"),
    (["--checkpoint", "nowhere.pt"], "nowhere.pt"),
])  # fmt: skip
def test_settings_that_cannot_work(tmp_path, arguments, message):
    assert message in refused_audit(tmp_path, "digits", *arguments)


def test_a_run_that_is_not_there_or_is_damaged(tmp_path):
    for command in ("rank", "evaluate", "show"):
        assert "nowhere" in refused(command, tmp_path / "nowhere")
    assert "nowhere" in refused("export", tmp_path / "nowhere", "--to", "csv", "--output", tmp_path / "x")
    run = tmp_path / "run"
    assert gwaudit("train", "digits", "-o", run, *FAST).returncode == 0
    assert "rank the run first" in refused("evaluate", run)
    assert "no sample" in refused("show", run, "--sample", "digits/9999")
    block = next((run / "epochs").rglob("*.parquet"))
    block.chmod(block.stat().st_mode | stat.S_IWUSR)
    block.write_bytes(block.read_bytes()[:-1])
    assert block.name in refused("show", run, "--verify")
    assert block.name in refused("rank", run)


def test_truth_that_does_not_fit(tmp_path):
    run = tmp_path / "run"
    assert gwaudit("audit", "digits", "-o", run, *FAST).returncode == 0
    assert "no true labels: give them with --truth" in refused("evaluate", run)
    np.save(tmp_path / "truth.npy", np.zeros(5, int))
    assert "5 labels for the 1797 samples" in refused("evaluate", run, "--truth", tmp_path / "truth.npy")


def test_an_export_of_data_that_changed_says_so_and_holds_the_audited_samples(tmp_path):
    make_tree(tmp_path / "data", per_class=8)
    run = tmp_path / "run"
    assert gwaudit("audit", tmp_path / "data", "-o", run, *FAST).returncode == 0
    # No verdict trusts so few photos.
    assert gwaudit("rank", run, "--top", 3, "--force").returncode == 0
    picture(1).save(tmp_path / "data" / "cat" / "new.png")
    gone = next((tmp_path / "data" / "dog").iterdir())
    gone.unlink()
    done = gwaudit("export", run, "--to", "imagefolder", "--output", tmp_path / "clean", "--action", "drop")
    assert done.returncode == 0, done.stderr
    assert "The data changed since the run. Samples gone: 1 (" in done.stderr
    with_ids = pd.read_parquet(run / "audit.parquet").set_index("key")["sample_id"].drop(f"dog/{gone.name}")
    written = {int(path.name.split("_")[0]) for path in (tmp_path / "clean").rglob("*.png")}
    suspects = set(pd.read_csv(run / "suspects.csv")["sample_id"])
    assert written == set(with_ids) - suspects
