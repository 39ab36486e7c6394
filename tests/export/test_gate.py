"""The verdict apart from the measurement: each row closes for its own reason, and only for that."""

from dataclasses import replace

import numpy as np
import pytest

from fmnist_edge_export.formats.registry import FORMATS
from fmnist_edge_export.pipeline import sealed
from fmnist_edge_export.proof.bounds import FLOAT, INT8
from fmnist_edge_export.proof.gate import prove
from fmnist_edge_export.proof.measure import Accuracy, Flip, Measurement, Truth, measure
from fmnist_edge_export.proof.probes import Probes, make_probes
from fmnist_edge_export.proof.report import Check, Report, at_most
from fmnist_edge_export.proof.verdict import judge
from fmnist_edge_export.record import Record
from fmnist_edge_export.source import self_test
from fmnist_edge_runtime.selftest import softmax

GOOD = Measurement(
    dlogit_max=9e-5,
    dlogit_mean=1e-6,
    dlogit_p99=1e-5,
    batches=(1, 2, 7, 256),
    batch_spread=1e-5,
    probe_flips=0,
    probability_error=5e-7,
    probability_sum_error=1e-7,
    probability_shift_p99=1e-5,
    known=(9_900, 9_900),
    decided_on="all of them",
    images=10_000,
    flips=(),
    accuracy=Accuracy(0.94, 0.94, 0.2, 0.01),
)


def failed(measured, bounds):
    return [check.name for check in judge("form", measured, bounds) if not check.ok]


def flips(count, gap):
    return tuple(Flip(image, "Shirt", "Coat", gap) for image in range(count))


@pytest.mark.parametrize("bounds", [FLOAT, INT8])
def test_a_good_measurement_passes(bounds):
    assert failed(GOOD, bounds) == []


@pytest.mark.parametrize(
    ("change", "bounds", "row"),
    [
        ({"dlogit_max": 1.1e-4}, FLOAT, "logits"),
        ({"dlogit_max": float("nan")}, FLOAT, "logits"),
        ({"dlogit_max": float("nan")}, INT8, "logits"),
        ({"probe_flips": 1}, FLOAT, "labels"),
        ({"batch_spread": 2e-4}, FLOAT, "batches"),
        ({"batch_spread": float("nan")}, INT8, "batches"),
        ({"probability_error": 2e-6}, INT8, "probabilities"),
        ({"probability_sum_error": 1e-3}, INT8, "probabilities"),
        ({"probability_shift_p99": 0.051}, INT8, "probabilities"),
        ({"probability_shift_p99": float("nan")}, INT8, "probabilities"),
        ({"flips": flips(1, 0.001)}, FLOAT, "decisions"),
        ({"flips": flips(51, 0.001)}, INT8, "decisions"),
        ({"flips": flips(1, 0.10)}, INT8, "decisions"),
        ({"accuracy": Accuracy(0.94, 0.9389, 0.2, 0.01)}, INT8, "decisions"),
        ({"known": (9_900, 9_889)}, FLOAT, "known"),
        ({"known": (9_900, 9_799)}, INT8, "known"),
        ({"known": (9_500, 9_601)}, INT8, "known"),
    ],
)
def test_each_bound_closes_its_own_row(change, bounds, row):
    assert failed(replace(GOOD, **change), bounds) == [row]


def test_a_figure_is_told_from_the_bound_that_it_passes():
    (row,) = [check for check in judge("form", replace(GOOD, dlogit_max=1.001e-4), FLOAT) if not check.ok]
    assert row.seen == "max |dlogit| 0.0001001 (at most 0.0001)"
    assert at_most(0.05, 0.05) == "0.05 (at most 0.05)"
    assert at_most(float("nan"), 0.05) == "nan (at most 0.05)"


def test_int8_may_flip_half_a_percent_at_small_gaps_and_lose_a_tenth_of_a_point():
    measured = replace(GOOD, dlogit_max=0.4, flips=flips(50, 0.099), accuracy=Accuracy(0.94, 0.939, 0.2, 0.01))
    assert failed(measured, INT8) == []


def test_the_flips_that_are_named_as_the_most_are_allowed_and_one_more_is_not():
    most = replace(GOOD, images=300, flips=flips(1, 0.01))
    assert any("(at most 1)" in check.seen for check in judge("form", most, INT8))
    assert failed(most, INT8) == []
    assert failed(replace(most, flips=flips(2, 0.01)), INT8) == ["decisions"]


WEIGHTS = np.random.default_rng(0).normal(0, 1e-3, (784, 10))


def network(images):
    return images.reshape(len(images), -1).astype(np.float64) @ WEIGHTS


@pytest.fixture
def asked(sample):
    probes = make_probes(sample.images[:300], sample.labels[:300], "some", sample.images)
    return probes, Truth(*(network(x) for x in (probes.numbers, probes.decisions, probes.self_test)))


LABELS = tuple("abcdefghij")


def a_record(labels=LABELS, temperature=2.0, threshold=0.0):
    return Record("net", "net", labels, 28, 28, "", temperature=temperature, unknown_threshold=threshold)


def measured_of(run, asked, temperature=2.0, threshold=0.0):
    return measure(run, *asked, a_record(temperature=temperature, threshold=threshold))


def test_an_equal_answer_measures_zero(asked):
    measured = measured_of(lambda images: (network(images), softmax(network(images) / 2)), asked)
    assert measured.dlogit_max < 1e-9
    assert measured.flips == ()
    assert measured.probability_error < 1e-9
    assert measured.accuracy.file == measured.accuracy.reference


def test_the_largest_difference_is_the_smallest_tolerance_that_would_pass(asked):
    def run(images):
        logits = network(images)
        logits[:, 3] += 0.25
        return logits, softmax(logits / 2)

    measured = measured_of(run, asked)
    assert measured.dlogit_max == pytest.approx(0.25)
    for tolerance, closes in ((measured.dlogit_max, False), (np.nextafter(measured.dlogit_max, 0), True)):
        assert ("logits" in failed(measured, replace(FLOAT, dlogit=tolerance))) == closes


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_what_the_file_knows_is_counted_beside_what_the_reference_knows(asked, factor):
    best = {scale: softmax(asked[1].decisions * scale / 2).max(1) for scale in (1, factor)}
    threshold = float(np.median(best[1]))

    def run(images):
        logits = network(images) * factor
        return logits, softmax(logits / 2)

    known, to_file = measured_of(run, asked, threshold=threshold).known
    assert (known, to_file) == tuple((best[scale] >= threshold).sum() for scale in (1, factor))
    assert (to_file > known) == (factor > 1)
    assert measured_of(run, asked).known == (300, 300)


def test_what_is_known_of_few_images_is_told_and_not_judged():
    few = replace(GOOD, images=999, known=(990, 900))
    assert failed(few, FLOAT) == []
    told = next(check.seen for check in judge("form", few, FLOAT) if check.name == "known")
    assert told == "990 to 900 of 999 images are known (judged from 1000 images on)"
    assert failed(replace(few, images=1_000), INT8) == ["known"]


def test_a_difference_among_the_decisions_alone_counts_too(asked):
    probes, _ = asked
    (image,) = [x for x in probes.decisions if not (x == probes.numbers).all((1, 2)).any()][:1]

    def run(images):
        logits = network(images) + 0.5 * (images == image).all((1, 2))[:, None]
        return logits, softmax(logits / 2)

    assert measured_of(run, asked).dlogit_max == pytest.approx(0.5)


@pytest.mark.parametrize("chances", [np.nan, 0.1])
def test_wrong_probabilities_among_the_decisions_alone_close_the_gate(asked, chances):
    probes, _ = asked
    (image,) = [x for x in probes.decisions if not (x == probes.numbers).all((1, 2)).any()][:1]

    def run(images):
        logits = network(images)
        return logits, np.where((images == image).all((1, 2))[:, None], chances, softmax(logits / 2))

    assert failed(measured_of(run, asked), FLOAT) == ["probabilities"]


def test_flips_are_listed_with_the_references_gap(asked):
    probes, truth = asked
    order = np.argsort(truth.decisions[17])

    def run(images):
        logits = network(images)
        for row, image in enumerate(images):
            if np.array_equal(image, probes.decisions[17]):
                logits[row, order[-2]] = logits[row, order[-1]] + 1
        return logits, softmax(logits / 2)

    (flip,) = measured_of(run, asked).flips
    chances = np.sort(softmax(truth.decisions[17:18] / 2))[0]
    assert (flip.image, flip.reference, flip.file) == (17, LABELS[order[-1]], LABELS[order[-2]])
    assert flip.gap == pytest.approx(chances[-1] - chances[-2], abs=1e-6)


def test_an_answer_that_depends_on_the_batch_is_seen(asked):
    def run(images):
        logits = network(images) + (0.01 if len(images) == 7 else 0)
        return logits, softmax(logits / 2)

    assert measured_of(run, asked).batch_spread == pytest.approx(0.01)


def test_a_forgotten_temperature_is_seen_in_the_probabilities(asked):
    measured = measured_of(lambda images: (network(images), softmax(network(images))), asked)
    assert "probabilities" in failed(measured, FLOAT)


def test_nan_anywhere_is_a_failure(asked):
    def run(images):
        logits = network(images)
        logits[0, 0] = np.nan
        return logits, softmax(logits / 2)

    assert "logits" in failed(measured_of(run, asked), FLOAT)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": np.zeros((4, 28, 28), np.uint8)}, "of other pictures"),
        ({"reference": np.zeros((4, 10), np.float32), "bounds": (1e9, 1e-4)}, "as it is recorded"),
        ({"bounds": (1e9, 1e-4)}, "tolerances of 1e+09 and 0.0001 are too large"),
        ({"bounds": (1e-4, 1e9)}, "tolerances of 0.0001 and 1e+09 are too large"),
        ({"bounds": (1.9e-4, 1e-4)}, "tolerances of 0.00019 and 0.0001 are too large"),
    ],
)
def test_a_file_does_not_choose_what_its_self_test_proves(sources, probes, truths, change, words):
    form, source, truth = FORMATS["onnx"], sources["edge"], truths["edge"]
    good = {"images": probes.self_test, "reference": truth.self_test, "of_file": truth.self_test, "bounds": (1e-4,) * 2}
    graph = form.build(source)
    for test, expected in ((good, ""), (good | change, words)):
        content = form.seal(graph, source.metadata(form.name, self_test(**test)))
        failures = [check for check in prove(form, content, source, probes, truth).checks if not check.ok]
        assert [check.name for check in failures] == (["self-test"] if expected else [])
        assert expected in "".join(check.seen for check in failures)


def test_logits_that_hardly_differ_leave_a_tolerance_above_zero():
    logits = np.array([[0.0, 0.002]])
    assert min(INT8.self_test(logits, logits)) > 0


@pytest.mark.parametrize(("side", "largest"), [(28, 256), (56, 64), (200, 8), (800, 8)])
def test_batches_have_fewer_of_larger_pictures(side, largest):
    images = np.zeros((20, side, side), np.uint8)
    asked = []

    def run(batch):
        asked.append(len(batch))
        return np.zeros((len(batch), 2), np.float32), np.full((len(batch), 2), 0.5, np.float32)

    probes = Probes(images, images, None, "twenty", images[:4])
    truth = Truth(*(np.zeros((20, 2), np.float32) for _ in range(3)))
    assert measure(run, probes, truth, a_record(labels=("a", "b"))).batches == (1, 2, 7, largest)
    assert max(asked) == min(20, largest)


def test_scores_in_another_type_are_no_answer(sources, probes, truths):
    form, source, truth = FORMATS["torchscript"], sources["edge"], truths["edge"]
    content, _ = sealed(form, source, probes, truth)

    def opened(content):
        contract, run = form.open(content)
        return contract, lambda images: tuple(scores.astype(np.float64) for scores in run(images))

    proof = prove(replace(form, open=opened), content, source, probes, truth)
    assert proof.checks[-1] == Check("torchscript", "runs", False, "it returns float64, not float32")


@pytest.mark.parametrize("content", [b"", b"junk", b"\x08\x0a"])
@pytest.mark.parametrize("form", FORMATS)
def test_a_file_that_is_none_fails_its_proof_and_breaks_nothing(sources, probes, truths, form, content):
    proof = prove(FORMATS[form], content, sources["edge"], probes, truths["edge"])
    assert [check.name for check in proof.checks if not check.ok] == ["structure", "runs"]
    assert proof.measured is None


def test_a_report_is_true_only_when_every_check_holds():
    good, bad = Check("a", "one", True, "seen"), Check("b", "two", False, "seen")
    assert Report((good,))
    assert not Report((good, bad))
    assert not Report(())
    assert Report((good, bad)).failures == (bad,)
    assert list(Report((good, bad)).lines())[1].startswith("FAILED  b")
