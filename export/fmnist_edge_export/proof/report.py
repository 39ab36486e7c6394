"""Checks and their verdicts as data, and as the table that a person reads."""

from collections.abc import Iterator
from dataclasses import dataclass

from fmnist_edge_runtime.selftest import Replay


@dataclass(frozen=True)
class Check:
    """One row: what was looked at, in which form or file, whether it holds, and what was seen."""

    subject: str
    name: str
    ok: bool
    seen: str


def at_most(value: float, bound: float) -> str:
    """Return a value beside its bound, in two digits or in as many more as tell the two apart."""
    rounded = (f"{value:.{digits}g}" for digits in range(2, 18))  # 17 digits tell any two floats apart
    shown = next(text for text in rounded if float(text) != bound or value == bound)
    return f"{shown} (at most {bound:g})"


def self_test_check(subject: str, replay: Replay) -> Check:
    """Return whether a replayed self-test is within the file's own tolerances."""
    return Check(
        subject,
        "self-test",
        replay.ok,
        f"from PyTorch's logits by {at_most(replay.from_reference, replay.reference_tolerance)}, "
        f"from its own by {at_most(replay.from_file, replay.file_tolerance)}, "
        f"probabilities from its softmax by {at_most(replay.from_softmax, replay.softmax_tolerance)}",
    )


@dataclass(frozen=True)
class Report:
    """Every check of one export or verification. True when all of them hold."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """Whether there are checks and all of them hold."""
        return bool(self.checks) and all(check.ok for check in self.checks)

    def __bool__(self) -> bool:
        """Return ``ok``."""
        return self.ok

    @property
    def failures(self) -> tuple[Check, ...]:
        """The checks that do not hold."""
        return tuple(check for check in self.checks if not check.ok)

    def lines(self) -> Iterator[str]:
        """Yield one aligned line a check."""
        subject = max((len(check.subject) for check in self.checks), default=0)
        name = max((len(check.name) for check in self.checks), default=0)
        for check in self.checks:
            verdict = "ok    " if check.ok else "FAILED"
            yield f"{verdict}  {check.subject:{subject}}  {check.name:{name}}  {check.seen}"
