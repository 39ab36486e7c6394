"""One file through the whole gate."""

from dataclasses import dataclass

from fmnist_edge_export.formats.registry import Format
from fmnist_edge_export.proof.measure import Measurement, Truth, measure
from fmnist_edge_export.proof.probes import Probes
from fmnist_edge_export.proof.reference import reference_logits, refuse_probabilities, refuse_unless_alone_as_together
from fmnist_edge_export.proof.report import Check, self_test_check
from fmnist_edge_export.proof.verdict import judge, judge_contract, judge_self_test
from fmnist_edge_export.source import Source
from fmnist_edge_runtime.errors import first_line
from fmnist_edge_runtime.selftest import replay


@dataclass(frozen=True)
class Proof:
    """What one file showed; no measurement if it could not be run."""

    checks: tuple[Check, ...]
    measured: Measurement | None


def ask_reference(source: Source, probes: Probes) -> Truth:
    """Run the bare module on every probe.

    Raises:
        ModelError: it does not return one finite score a label, the same for a picture alone and in a batch; or it
            returns probabilities.
    """
    truth = Truth(*(reference_logits(source, x) for x in (probes.numbers, probes.decisions, probes.self_test)))
    refuse_probabilities(source, truth.numbers)
    refuse_unless_alone_as_together(source, probes.numbers, truth.numbers)
    return truth


def prove(form: Format, content: bytes, source: Source, probes: Probes, truth: Truth) -> Proof:
    """Measure a finished file against the reference and judge it. A file that breaks fails; it stops nothing."""
    problems = _problems(form, content, source)
    structure = Check(form.name, "structure", not problems, "; ".join(problems) or "sound, one file, dynamic batch")
    try:
        contract, run = form.open(content)
        if others := {str(scores.dtype) for scores in run(probes.self_test)} - {"float32"}:
            raise ValueError(f"it returns {', '.join(others)}, not float32")
        measured = measure(run, probes, truth, source.record)
        foreign = judge_self_test(contract.self_test, probes.self_test, truth.self_test, form.bounds)
        replayed = replay(contract, run)
    except Exception as error:  # a file that cannot be run may raise what its engine likes
        return Proof((structure, Check(form.name, "runs", False, first_line(error))), None)
    checks = [
        structure,
        *judge(form.name, measured, form.bounds),
        judge_contract(contract, source.metadata(form.name, {})),
        Check(form.name, "self-test", False, foreign) if foreign else self_test_check(form.name, replayed),
    ]
    return Proof(tuple(checks), measured)


def _problems(form: Format, content: bytes, source: Source) -> list[str]:
    try:
        return form.problems(content, source)
    except Exception as error:  # a file may be broken in ways that its inspection did not expect
        return [f"cannot be inspected: {first_line(error)}"]
