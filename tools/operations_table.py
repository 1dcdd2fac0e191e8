"""Write docs/operations.md, the table of every operation, from the registry.

``python tools/operations_table.py`` writes the file; with ``--check`` it only tells whether the file is up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path

import backlit  # noqa: F401  (fills the registry)
from backlit.ops.definition import REGISTRY, Operation

TARGET = Path(__file__).parent.parent / "docs" / "operations.md"

HEAD = """# Operations

Every operation Backlit can compute and differentiate, by family: what it computes, what it does to the gradient that
reaches it, and where it is defined. Each one is proved by the properties in `tests/ops` (central differences, forward
against reverse mode, second derivatives, broadcasting, memory layouts, dtypes, NaN).

This file is written from the definitions by `python tools/operations_table.py`; change those, not this.
"""


def family(operation: Operation) -> str:
    """The module that defines the operation, as a heading."""
    return operation.function.__module__.rsplit(".", 1)[-1].replace("_", " ").capitalize()


def cell(text: str) -> str:
    """Text that may stand in a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")


def row(operation: Operation) -> str:
    """One line of the table."""
    differentiable = "yes" if operation.differentiable else "no"
    about = (operation.formula, operation.gate, operation.domain, differentiable)
    return f"| `{operation.name}` | {' | '.join(map(cell, about))} |"


def table() -> str:
    """The whole file."""
    families: dict[str, list[Operation]] = {}
    for _, operation in sorted(REGISTRY.items()):
        families.setdefault(family(operation), []).append(operation)
    parts = [HEAD.rstrip()]
    for name, operations in sorted(families.items()):
        parts.append(f"\n## {name}\n")
        parts.append("| operation | formula | gate: what it does to gradients | domain | differentiable |")
        parts.append("|---|---|---|---|---|")
        parts.extend(row(operation) for operation in operations)
    count = sum(operation.differentiable for operation in REGISTRY.values())
    parts.append(f"\n{len(REGISTRY)} operations, {count} of them differentiable.\n")
    return "\n".join(parts)


def main(arguments: list[str]) -> int:
    """Write the file, or with ``--check`` compare it; the exit status is 1 when it is out of date."""
    current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if "--check" in arguments:
        return int(current != table())
    TARGET.write_text(table(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
