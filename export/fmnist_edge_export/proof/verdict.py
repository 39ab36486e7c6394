"""The verdict on a measurement, and on what a file says of itself."""

import json
from typing import Any

import numpy as np

from fmnist_edge_export.proof.bounds import REFERENCE_TOLERANCE, Bounds, judge_tolerances
from fmnist_edge_export.proof.measure import Measurement
from fmnist_edge_export.proof.report import Check, at_most
from fmnist_edge_runtime.contract import Contract, SelfTest, canonical
from fmnist_edge_runtime.session import Images

PROBABILITY_ERROR = 1e-6
ACCURACY_FROM = 10_000  # images
KNOWN_FROM = 1_000  # images: of fewer, less than ten may be unknown, and rounding moves some of those
SUM_ERROR = 1e-5  # float32 sums of K rounded terms
BATCH_SPREAD = 1e-4


def judge(form: str, measured: Measurement, bounds: Bounds) -> list[Check]:
    """Return the checks of a measurement. Comparisons are written so that NaN fails."""
    checks = []
    if bounds.dlogit is None:
        finite = measured.dlogit_max < float("inf")
        seen = f"max |dlogit| {measured.dlogit_max:.2g}, p99 {measured.dlogit_p99:.2g}"
        checks.append(Check(form, "logits", finite, seen))
    else:
        within = measured.dlogit_max <= bounds.dlogit
        checks.append(Check(form, "logits", within, f"max |dlogit| {at_most(measured.dlogit_max, bounds.dlogit)}"))
        checks.append(Check(form, "labels", measured.probe_flips == 0, f"{measured.probe_flips} of the probes differ"))
    shift = measured.probability_shift_p99
    return [
        *checks,
        Check(
            form,
            "batches",
            measured.batch_spread <= BATCH_SPREAD,
            f"{', '.join(map(str, measured.batches))}: the same image differs by "
            f"{at_most(measured.batch_spread, BATCH_SPREAD)}",
        ),
        Check(
            form,
            "probabilities",
            measured.probability_error <= PROBABILITY_ERROR
            and measured.probability_sum_error <= SUM_ERROR
            and shift <= bounds.shift,
            f"from softmax(logits / temperature) by {at_most(measured.probability_error, PROBABILITY_ERROR)}, "
            f"sums from 1 by {at_most(measured.probability_sum_error, SUM_ERROR)}, "
            f"99 in 100 images from the reference's by {at_most(shift, bounds.shift)}",
        ),
        _decisions(form, measured, bounds),
        _known(form, measured, bounds),
    ]


def _decisions(form: str, measured: Measurement, bounds: Bounds) -> Check:
    flips, images = len(measured.flips), measured.images
    seen = [f"{flips} of {images} labels flip on {measured.decided_on} (at most {int(bounds.flipped_share * images)})"]
    ok = flips <= bounds.flipped_share * images
    if flips:
        ok = ok and measured.largest_gap < bounds.flip_gap
        seen.append(f"at gaps up to {measured.largest_gap:.3f} (below {bounds.flip_gap:.2f})")
    if measured.accuracy:
        loss = measured.accuracy.reference - measured.accuracy.file
        # Of fewer images a single one weighs more than the bound; there the flips alone decide.
        ok = ok and (images < ACCURACY_FROM or round(loss, 9) <= bounds.accuracy_loss)
        seen.append(f"accuracy {measured.accuracy.reference:.2%} to {measured.accuracy.file:.2%}")
    return Check(form, "decisions", ok, ", ".join(seen))


def _known(form: str, measured: Measurement, bounds: Bounds) -> Check:
    (known, to_file), images = measured.known, measured.images
    most = int(bounds.known_share * images)
    limit = f"at most {most} more or fewer" if images >= KNOWN_FROM else f"judged from {KNOWN_FROM} images on"
    ok = images < KNOWN_FROM or abs(to_file - known) <= most
    return Check(form, "known", ok, f"{known} to {to_file} of {images} images are known ({limit})")


def judge_contract(contract: Contract, wanted: dict[str, Any]) -> Check:
    """Return whether a file says of itself what ``Source.metadata`` says, but for the tools that made it."""
    said = _flat(contract.raw)
    expected = _flat(json.loads(canonical(wanted)))
    wrong = [
        f"{name} {said.get(name)!r:.60}, not {value!r:.60}"
        for name, value in expected.items()
        if said.get(name) != value
    ]
    words = "; ".join(wrong) or "labels, temperature, digests and provenance are the model's"
    return Check(wanted["format"], "contract", not wrong, words)


def judge_self_test(test: SelfTest, images: Images, reference: np.ndarray, bounds: Bounds) -> str:
    """Return in what a file's self-test is not this model's; nothing if it is.

    A file brings its own pictures, logits and tolerances: replayed alone, they would prove whatever they like.
    """
    if test.images != images.tobytes():
        return "of other pictures"
    off = np.abs(np.array(test.reference_logits) - reference).max()
    if not off <= REFERENCE_TOLERANCE:
        return f"from PyTorch's logits by {off:.2g} as it is recorded"
    return judge_tolerances(test, bounds)


def _flat(metadata: dict[str, Any]) -> dict[str, Any]:
    """Return the fields by their path of up to two names, without the self-test, which has a row of its own."""
    fields: dict[str, Any] = {}
    for name, value in metadata.items():
        if name in ("self_test", "versions"):
            continue
        fields |= {f"{name}.{inner}": of for inner, of in value.items()} if isinstance(value, dict) else {name: value}
    return fields
