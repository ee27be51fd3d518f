"""A run is ranked, reported and exported although its data were moved, changed or lost; what is missing is said."""

import json
import shutil
import warnings

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from gwaudit.core.errors import DataError, SettingsError
from gwaudit.core.settings import DataSettings
from gwaudit.pipeline.evaluate import evaluate_run
from gwaudit.pipeline.export import export_audit
from gwaudit.pipeline.rank import rank_again
from gwaudit.pipeline.report import load_report_data
from gwaudit.pipeline.run_data import data_of_run, samples_of_run
from gwaudit.store.store import TrajectoryStore
from helpers.command import gwaudit
from helpers.making import make_photo_table, make_tree
from helpers.recorded_runs import ranked_run

GONE = "cat/001.png"


class Notes:
    """Keep the notes and stages of a verb."""

    def __init__(self):
        self.notes, self.stages = [], []

    def on_stage(self, stage, done=0, total=None):
        self.stages.append(stage)

    def on_note(self, note):
        self.notes.append(note)


@pytest.fixture
def photos(tmp_path):
    """An audit of a folder a class, cat 0-3 and dog 4-7, with 0, 1 and 5 as suspects."""
    make_tree(tmp_path / "photos", per_class=4)
    return ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos")), suspects=[0, 1, 5])


def samples(audit, root=None):
    progress = Notes()
    with TrajectoryStore.open(audit.run) as store:
        return samples_of_run(store, progress, root), progress.notes


def test_a_label_that_was_changed_in_the_source_is_counted_and_that_of_the_run_stays(tmp_path):
    table = make_photo_table(tmp_path, [])
    settings = DataSettings(str(table), id_column="id")
    audit = ranked_run(tmp_path / "run", settings, suspects=[0])
    table.write_text(table.read_text().replace("0.png,cat,", "0.png,dog,"))
    found, notes = samples(audit)
    assert notes == [
        "The data changed since the run. Samples gone: 0, added: 0, with other labels: 1. Those that the run recorded "
        "count here."
    ]
    assert found.labels[0] == 0


class TestAPhotoThatIsGone:
    def test_the_others_are_read_under_their_ids(self, photos, tmp_path):
        before = samples(photos)[0]
        (tmp_path / "photos" / GONE).unlink()
        after, notes = samples(photos)
        assert notes == [f"The data changed since the run. Samples gone: 1 ({GONE!r}), added: 0, with other labels: 0."]
        assert after.missing == (1,)
        assert after.keys == before.keys
        assert after.fingerprint == photos.fingerprint
        for i in (0, 2, 7):
            assert np.array_equal(np.asarray(after.image(i)), np.asarray(before.image(i)))
        with pytest.raises(DataError, match=GONE):
            after.image(1)

    def test_the_report_shows_the_others(self, photos, tmp_path):
        (tmp_path / "photos" / GONE).unlink()
        progress = Notes()
        contents = load_report_data(photos.run, progress=progress)
        pictures = {sample["key"]: sample for sample in contents.samples}
        assert "image" not in pictures[GONE]
        assert pictures["cat/000.png"]["image"].startswith("data:image")
        assert [note.count("Samples gone: 1") for note in progress.notes if "data changed" in note] == [1]
        assert progress.stages[0] == "reading the data"
        assert progress.stages.count("drawing the samples") == len(contents.samples)

    @pytest.mark.parametrize("command", ["report", "rank"])
    def test_commands_go_on_and_say_it(self, photos, tmp_path, command):
        (tmp_path / "photos" / GONE).unlink()
        done = gwaudit(command, photos.run)
        assert done.returncode == 0, done.stderr
        assert f"Samples gone: 1 ({GONE!r})" in done.stderr

    @pytest.mark.parametrize("format", ["label-studio", "imagefolder", "hf", "fiftyone", "cvat"])
    def test_exports_leave_it_out(self, photos, tmp_path, format):
        (tmp_path / "photos" / GONE).unlink()
        options = {"action": "relabel"} if format in ("imagefolder", "hf") else {"all": True}
        out = tmp_path / ("out.zip" if format == "cvat" else "out")
        with pytest.warns(UserWarning, match="Samples gone: 1"):
            export_audit(photos.run, format, out, **options)
        if format == "label-studio":
            ids = {task["data"]["sample_id"] for task in json.loads((out / "tasks.json").read_text())}
            assert ids == {0, 2, 3, 4, 5, 6, 7}
        if format == "imagefolder":
            assert len(list(out.rglob("*.png"))) == 7


class TestDataThatMoved:
    def test_a_folder_at_its_new_place(self, photos, tmp_path):
        (tmp_path / "photos").rename(tmp_path / "moved")
        dataset, notes = samples(photos, tmp_path / "moved")
        assert notes == []
        assert dataset.fingerprint == photos.fingerprint

    def test_without_the_new_place_the_keys_are_shown_and_it_is_said(self, photos, tmp_path):
        shutil.rmtree(tmp_path / "photos")
        done = gwaudit("report", photos.run)
        assert done.returncode == 0
        assert "give the new place with --root" in done.stderr
        assert load_report_data(photos.run, progress=Notes()).modality == "keys"
        assert gwaudit("rank", photos.run).returncode == 0
        refused = gwaudit("export", photos.run, "--to", "imagefolder", "-o", tmp_path / "out")
        assert refused.returncode == 2
        assert "--root" in refused.stderr

    def test_an_evaluation_takes_the_new_place(self, tmp_path):
        make_tree(tmp_path / "photos", per_class=4)
        audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos"), add_noise=0.25), suspects=[0, 1, 5])
        rank_again(audit.run)
        (tmp_path / "photos").rename(tmp_path / "moved")
        with pytest.raises(DataError, match="no true labels"), pytest.warns(UserWarning, match="new place"):
            evaluate_run(audit.run)
        assert evaluate_run(audit.run, root=tmp_path / "moved").n_wrong == 2
        assert gwaudit("evaluate", audit.run, "--root", tmp_path / "moved").returncode == 0

    def test_lists_of_the_audited_data_stay_when_a_run_is_ranked_without_them(self, tmp_path):
        make_tree(tmp_path / "photos", per_class=4)
        shutil.copy(tmp_path / "photos" / "cat" / "001.png", tmp_path / "photos" / "dog" / "same.png")
        (tmp_path / "photos" / "dog" / "broken.png").write_bytes(b"no image")
        audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "photos"), on_error="skip"), suspects=[0])
        lists = [audit.run / name for name in ("contradictions.csv", "skipped.csv")]
        rank_again(audit.run)
        before = [path.read_bytes() for path in lists]
        (tmp_path / "photos").rename(tmp_path / "moved")
        rank_again(audit.run, progress=Notes())
        assert [path.read_bytes() for path in lists] == before
        (tmp_path / "moved" / "dog" / "same.png").unlink()
        rank_again(audit.run, root=tmp_path / "moved", progress=Notes())
        assert [path.read_bytes() for path in lists] == before

    def test_a_place_that_is_not_there_or_holds_other_data(self, photos, tmp_path):
        with pytest.raises(SettingsError, match="nothing at"):
            samples(photos, tmp_path / "nowhere")
        make_tree(tmp_path / "others", ("a", "b"))
        dataset, [note] = samples(photos, tmp_path / "others")
        assert dataset is None
        assert "holds none of the samples of the run" in note

    @pytest.mark.parametrize("moved", ["all", "table", "images"])
    def test_a_table_and_its_images(self, tmp_path, moved):
        old, new = tmp_path / "old", tmp_path / "new"
        make_tree(old)
        paths = sorted(str(path.relative_to(old)) for path in old.rglob("*.png"))
        table = pd.DataFrame({"path": paths, "label": [path[:3] for path in paths], "id": [f"s{i}" for i in range(6)]})
        table.to_csv(old / "t.csv", index=False)
        settings = DataSettings(str(old / "t.csv"), root=str(old))
        audit = ranked_run(tmp_path / "run", settings)
        new.mkdir()
        if moved == "all":
            new.rmdir()
            old.rename(new)
        elif moved == "table":
            (old / "t.csv").rename(new / "t.csv")
        else:
            for name in ("cat", "dog"):
                (old / name).rename(new / name)
        dataset, notes = samples(audit, new)
        assert (dataset.fingerprint, notes) == (audit.fingerprint, [])


class TestWhatTheRunRecorded:
    def test_label_noise_is_taken_from_it(self, tmp_path):
        audit = ranked_run(tmp_path / "run", DataSettings("digits", add_noise=0.2))
        dataset, notes = samples(audit)
        assert notes == []
        assert np.array_equal(dataset.labels, audit.by_id("given_label"))
        assert (dataset.labels != dataset.true_labels).sum() == round(0.2 * 1797)

    def test_other_rows_under_the_same_numbers_are_not_taken_for_its_samples(self, tmp_path):
        table = pd.DataFrame({"x": np.arange(8.0), "y": np.arange(8.0) ** 2, "label": list("ababbaba")})
        table.to_csv(tmp_path / "t.csv", index=False)
        audit = ranked_run(tmp_path / "run", DataSettings(str(tmp_path / "t.csv")))
        table.drop(index=[2]).to_csv(tmp_path / "t.csv", index=False)
        dataset, [note] = samples(audit)
        assert dataset is None
        assert "no keys but their row numbers" in note

    def test_texts_are_shown_and_corrected_without_their_encoder(self, tmp_path, monkeypatch):
        table = pd.DataFrame({"text": [f"text {i}" for i in range(6)], "label": list("ababab"), "id": list("uvwxyz")})
        table.to_csv(tmp_path / "t.csv", index=False)
        data = DataSettings(str(tmp_path / "t.csv"), encoder=str(tmp_path / "no encoder"))
        from gwaudit.data.loading import read_source

        audit = ranked_run(tmp_path / "run", data, dataset=read_source(data), suspects=[1, 2])
        dataset, notes = samples(audit)
        assert notes == []
        assert dataset.texts[2] == "text 2"
        (tmp_path / "d.csv").write_text("key,decision\nv,drop\n")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            done = gwaudit("apply", audit.run, tmp_path / "d.csv", "-o", tmp_path / "out")
        assert done.returncode == 0, done.stderr
        assert gwaudit("report", audit.run).returncode == 0


def test_a_moved_image_of_other_pixels_is_said(photos, tmp_path):
    Image.new("RGB", (16, 16), "red").save(tmp_path / "photos" / GONE)
    assert samples(photos)[1] == ["The inputs of the data changed since the run."]


def test_a_run_of_ones_own_loop_needs_no_data_and_takes_no_place(tmp_path):
    from gwaudit.data.loading import load_dataset

    audit = ranked_run(tmp_path / "run", dataset=load_dataset("digits"))
    assert samples(audit) == (None, [])
    with TrajectoryStore.open(audit.run) as store, pytest.raises(SettingsError, match="your own training loop"):
        data_of_run(store, tmp_path)
