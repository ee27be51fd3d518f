"""`gwaudit check-data` decodes everything, and lists all that is broken."""

import json

import pytest

from gwaudit.core.settings import DataSettings
from gwaudit.pipeline.check_data import check_data
from helpers.command import gwaudit
from helpers.making import make_tree


class Stages:
    def __init__(self):
        self.seen = []

    def on_stage(self, stage, done=0, total=None):
        self.seen.append((stage, done, total))


def test_every_broken_image_is_listed_and_the_cache_is_not_used(tmp_path):
    paths = make_tree(tmp_path / "photos", per_class=4, size=(120, 100))
    stages = Stages()
    whole = check_data(DataSettings(str(tmp_path / "photos"), cache=str(tmp_path / "cache")), stages)
    assert not whole.broken
    assert stages.seen[-1] == ("decoding images", 8, 8)
    paths[1].write_bytes(paths[1].read_bytes()[:500])
    paths[6].write_bytes(b"")
    for on_error in ("stop", "skip"):
        check = check_data(DataSettings(str(tmp_path / "photos"), on_error=on_error))
        assert [sample.key for sample in check.broken] == ["cat/001.png", "dog/002.png"]
        assert check.summary is None
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("is_broken", [False, True])
def test_the_exit_code_says_whether_everything_can_be_used(tmp_path, is_broken):
    paths = make_tree(tmp_path / "photos")
    if is_broken:
        paths[2].write_bytes(b"x" * 100)
    shown = gwaudit("check-data", tmp_path / "photos")
    assert shown.returncode == int(is_broken)
    assert ("cat/002.png" if is_broken else "every row can be used") in shown.stdout
    if is_broken:
        result = json.loads(gwaudit("check-data", tmp_path / "photos", "--json").stdout)
        assert not result["is_usable"]
        assert [(row["row"], row["key"]) for row in result["broken"]] == [(2, "cat/002.png")]


def test_a_source_that_is_none_is_an_error(tmp_path):
    assert gwaudit("check-data", tmp_path / "nothing").returncode == 2
