"""What a check found: one sentence with its evidence, the likely cause and a remedy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

LISTED = 8
"""How many names a sentence lists."""


@dataclass(frozen=True)
class Finding:
    """One fault.

    Attributes:
        kind: a stable name, such as ``dead_units`` or ``vanishing_gradients``, for programs to test.
        where: the layer, parameter, column or epoch concerned; may be empty.
        evidence: one sentence with the numbers that show it.
        cause: the likely cause, one sentence.
        remedy: what to do, one sentence.
        likelihood: how sure the check is, between 0 and 1; reports are sorted by it.
        data: the numbers behind the sentence.
    """

    kind: str
    evidence: str
    cause: str
    remedy: str
    where: str = ""
    likelihood: float = 0.8
    data: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.evidence} Likely cause: {self.cause} Try: {self.remedy}"


class Findings:
    """The faults a check found, likeliest first; silent (and false) when all is well."""

    def __init__(self, findings: Iterable[Finding] = ()) -> None:
        self.findings = sorted(findings, key=lambda f: -f.likelihood)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __getitem__(self, index: int) -> Finding:
        return self.findings[index]

    @property
    def kinds(self) -> list[str]:
        """The names of the faults, likeliest first."""
        return [finding.kind for finding in self.findings]

    def to_dict(self) -> list[dict[str, Any]]:
        """Everything as plain data."""
        return [asdict(finding) for finding in self.findings]

    def __str__(self) -> str:
        return "\n".join(f"- {finding}" for finding in self.findings)

    def __repr__(self) -> str:
        return f"<{len(self)} finding{'s' * (len(self) != 1)}: {', '.join(self.kinds) or 'none'}>"


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
