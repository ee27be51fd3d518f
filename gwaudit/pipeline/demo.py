"""What `gwaudit demo` audits: scikit-learn's digits, with one label in ten made wrong on purpose."""

from gwaudit.core.settings import DataSettings, TrainingSettings


def demo_data(seed: int) -> DataSettings:
    """Return the digits with 10 % added label errors, most of them between digits that look alike."""
    return DataSettings("digits", add_noise=0.1, add_noise_seed=seed)


def demo_training(seed: int) -> TrainingSettings:
    """Twenty epochs of the smallest network: well under a minute on two cores."""
    return TrainingSettings(epochs=20, batch_size=64, learning_rate=0.1, seed=seed)
