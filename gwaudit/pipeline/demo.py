"""What `gwaudit demo` audits: scikit-learn's digits, with one label in ten made wrong on purpose."""

from gwaudit.core.settings import DataSettings, TrainingSettings


def demo_data(seed: int) -> DataSettings:
    """The digits with 10 % planted errors, most of them between digits that look alike."""
    return DataSettings("digits", plant=0.1, plant_seed=seed)


def demo_training(seed: int) -> TrainingSettings:
    """Twenty epochs of the smallest network: well under a minute on two cores."""
    return TrainingSettings(epochs=20, batch_size=64, learning_rate=0.1, seed=seed)
