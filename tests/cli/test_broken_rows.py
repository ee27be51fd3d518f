"""Rows that cannot be used stop a command, which shows all of them; or are left out and listed in a file."""

import pandas as pd

from helpers.command import FAST, gwaudit
from helpers.making import make_photo_table


def test_broken_rows_are_shown_in_one_table_and_kept_in_a_file(tmp_path):
    (tmp_path / "data").mkdir()
    source = make_photo_table(
        tmp_path / "data", [("nowhere.png", "cat", "a"), ("2.png", "dog", ""), ("4.png", "", "f")]
    )
    stopped = gwaudit("audit", source, "-o", tmp_path / "run", *FAST)
    assert stopped.returncode == 2
    assert stopped.stderr.startswith("error: mine: row 10 (a) cannot be used")
    assert "column 'id' is empty" in stopped.stderr
    assert not (tmp_path / "run").exists()
    done = gwaudit("audit", source, "-o", tmp_path / "run", *FAST, "--on-error", "skip")
    assert done.returncode == 0, done.stderr
    assert "Skipped rows that cannot be used: 3" in done.stdout
    skipped = pd.read_csv(tmp_path / "run" / "skipped.csv")
    assert skipped["row"].tolist() == [10, 11, 12]
    assert skipped["key"].tolist() == ["a", "train/000011", "f"]
