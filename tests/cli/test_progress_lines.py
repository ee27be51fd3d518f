"""A training without a terminal prints a line of progress at least each half minute."""

from gwaudit.cli.show import training


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
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "decoding images: 2 of 1,000",
        "decoding images: 4 of 1,000",
        "features: 1 of 1,000 samples",
        "choosing a head: 0 of 7 tried",
        "choosing a head: 2 of 7 tried",
    ]
