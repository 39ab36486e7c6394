import numpy as np
import pytest

from fmnist_edge_export.calibration import (
    _TEMPERATURES,
    calibration_error,
    confidence_bins,
    fit_temperature,
    fit_threshold,
    negative_log_likelihood,
)
from fmnist_edge_runtime.selftest import softmax


def drawn(temperature, count=6000):
    """Logits and labels drawn so that softmax(logits / temperature) is exactly right."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (count, 5))
    chances = softmax(logits / temperature)
    return logits, (chances.cumsum(axis=1) > rng.random((count, 1))).argmax(axis=1)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_temperature_that_made_the_labels_is_found(temperature):
    logits, labels = drawn(temperature)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("seed", range(10))
def test_no_other_temperature_has_a_lower_loss(seed):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(0, rng.uniform(0.1, 30), (50, 4)).astype(np.float32), rng.integers(4, size=50)
    losses = [negative_log_likelihood(logits / temperature, labels) for temperature in _TEMPERATURES]
    assert fit_temperature(logits, labels) == round(float(_TEMPERATURES[np.argmin(losses)]), 4)


def test_a_single_label_is_certain_at_any_temperature():
    assert fit_temperature(np.array([[3.0], [-2.0]]), np.array([0, 0])) == 1


def test_softmax_survives_large_logits():
    assert softmax(np.array([[1e4, 0.0]])).tolist() == [[1.0, 0.0]]


def test_the_likelihood_of_even_odds():
    assert negative_log_likelihood(np.zeros((4, 10)), np.array([0, 3, 5, 9])) == pytest.approx(np.log(10))


def test_right_probabilities_have_little_calibration_error_and_wrong_ones_much():
    logits, labels = drawn(1.0)
    assert calibration_error(softmax(logits), labels) < 0.03
    assert calibration_error(softmax(logits * 4), labels) > 0.1


def test_calibration_error_by_hand():
    chances = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = np.array([0, 1, 1, 1])  # right half of the time at 0.9, always at 0.6
    assert calibration_error(chances, labels) == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_bins_hold_what_they_should_and_the_surest_is_in_the_last():
    chances = np.array([[1.0, 0.0], [0.49, 0.51], [0.5, 0.5]])
    counts, confidence, accuracy = confidence_bins(chances, np.array([0, 0, 0]))
    assert counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]
    assert (confidence[14], accuracy[14], confidence[1], accuracy[1]) == (1, 1, 0, 0)
    assert (confidence[7], accuracy[7]) == (pytest.approx(0.505), 0.5)


def test_no_picture_needs_to_be_sure_to_the_last_digit_to_be_known():
    assert fit_threshold(np.tile([1.0, 0.0], (100, 1))) == 0.999999


def test_the_threshold_keeps_99_in_100():
    chances = softmax(drawn(1.0)[0])
    assert (chances.max(axis=1) >= fit_threshold(chances)).mean() == pytest.approx(0.99, abs=0.001)
    for few in (1, 2, 10, 50, 150, 250):
        assert (chances[:few].max(axis=1) >= fit_threshold(chances[:few])).mean() >= 0.99


@pytest.mark.parametrize("best", [0.90006, 0.99999])
def test_a_threshold_is_never_rounded_above_them_all(best):
    chances = np.full((100, 2), (best, 1 - best))
    assert (chances.max(axis=1) >= fit_threshold(chances)).all()
