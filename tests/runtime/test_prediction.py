import pickle
from dataclasses import FrozenInstanceError, asdict

import pytest

from fmnist_edge_runtime.prediction import Candidate, Prediction

PREDICTION = Prediction("b", 1, 0.4, True, (0.2, 0.4, 0.2, 0.2), ("a", "b", "c", "d"), "photo")


def test_a_prediction_is_a_value():
    same = Prediction("b", 1, 0.4, True, (0.2, 0.4, 0.2, 0.2), ("a", "b", "c", "d"), "photo")
    assert {PREDICTION, same} == {PREDICTION}
    assert asdict(PREDICTION) == {
        "label": "b",
        "index": 1,
        "confidence": 0.4,
        "known": True,
        "probabilities": (0.2, 0.4, 0.2, 0.2),
        "labels": ("a", "b", "c", "d"),
        "read_as": "photo",
    }
    with pytest.raises(FrozenInstanceError):
        PREDICTION.label = "c"


def test_a_prediction_travels_to_another_process():
    assert pickle.loads(pickle.dumps(PREDICTION)) == PREDICTION


def test_the_best_come_first_and_equals_keep_their_order():
    assert PREDICTION.top(3) == (Candidate("b", 1, 0.4), Candidate("a", 0, 0.2), Candidate("c", 2, 0.2))


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (-1, 0), (4, 4), (99, 4)])
def test_more_than_there_are_cannot_be_had(asked, given):
    assert len(PREDICTION.top(asked)) == given
