"""The transition of labels is found from the labels of neighbours alone."""

import numpy as np
import pytest

from gwaudit.analysis.noise_transition import consensus, fit_transition


def test_the_transition_of_a_known_joint_distribution_is_found():
    random = np.random.default_rng(1)
    share, transition = random.dirichlet(np.full(4, 8.0)), 0.65 * np.eye(4) + 0.35 * random.dirichlet(np.ones(4), 4)
    joint = np.einsum("i,ia,ib,ic->abc", share, transition, transition, transition)
    found_share, found_transition = fit_transition(joint)
    np.testing.assert_allclose(found_share, share, atol=5e-3)
    np.testing.assert_allclose(found_transition, transition, atol=1e-2)


def test_the_consensus_of_three_labels_has_no_order():
    labels, neighbours = np.array([0, 0, 1, 1]), np.array([[1, 2], [0, 2], [3, 0], [2, 0]])
    joint = consensus(labels, neighbours, 2)
    assert joint.sum() == pytest.approx(1)
    assert joint[0, 0, 1] == joint[0, 1, 0] == joint[1, 0, 0] == pytest.approx(0.5 / 3)
    np.testing.assert_allclose(joint.sum((1, 2)), [0.5, 0.5])
