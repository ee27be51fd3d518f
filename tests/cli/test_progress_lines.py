"""A training without a terminal prints a line of progress at least each half minute."""

from dataclasses import replace

from gwaudit.cli.show import training
from gwaudit.recording.epoch_commit import EpochSummary
from gwaudit.recording.moments import EpochMoments
from gwaudit.training.progress import EpochReport


def test_long_stages_print_their_progress_without_a_terminal(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    with training.TrainingDisplay() as display:
        for done in range(1, 6):
            now[0] += 20.0
            display.on_images(done, 1000)
        for done in range(1, 3):
            now[0] += 20.0
            display.on_features(done, 1000)
        for done in range(3):
            now[0] += 20.0
            display.on_heads(done, 7)
        for done in range(1, 3):
            now[0] += 20.0
            display.on_trees(done, 5)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "decoding images: 2 of 1,000",
        "decoding images: 4 of 1,000",
        "features: 1 of 1,000 samples",
        "choosing a head: 0 of 7 tried",
        "choosing a head: 2 of 7 tried",
        "trees: 2 of 5 folds",
    ]


def test_short_epochs_have_a_line_a_second(capsys, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(training.time, "monotonic", lambda: now[0])
    moments = EpochMoments(count=10, directional_alignment=0.2, dispersion=1.0, gwa=0.1, bimodal=False)
    summary = EpochSummary(0, 10, 0, 0, moments, moments, mean_loss=0.5, accuracy_on_given=0.9)
    with training.TrainingDisplay() as display:
        for epoch in range(30):
            now[0] += 0.3
            missing = int(epoch == 17)
            report = replace(summary, epoch=epoch, missing=missing)
            display.on_epoch(EpochReport(30, report, learning_rate=0.1, seconds=0.3, samples_per_second=33.0))
    shown = [int(line.split("/")[0].split()[1]) for line in capsys.readouterr().err.splitlines()]
    assert shown == [1, 5, 9, 13, 17, 18, 22, 26, 30]
