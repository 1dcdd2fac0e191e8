"""What the benchmarks make of numbers: agreement is judged, pages are filled, misses are told."""

import re
from pathlib import Path

import pytest

import agreement
import pages
from harness import in_turns

ROOT = Path(__file__).parents[2]

SURROUNDINGS = {
    "processor": "Some CPU", "cores": 2, "python": "3.11.0", "system": "Linux", "versions": {"numpy": "2.0"},
    "date": "2026-01-01",
}  # fmt: skip


def result(own, peer, aim=0.5):
    times = {name: {"median": t, "low": 0.9 * t, "calls": 10} for name, t in (("Backlit", own), ("JAX", peer))}
    region = {"title": "net.*: product", "count": 2, "seconds": own / 2, "flops": 10**6, "least": own / 4, "share": 0.5}
    return {
        "workload": "a network", "threads": 1, "aim": aim, "times": times, "flops": 2 * 10**6, "product": 8e10,
        "regions": [region], "around": 0.1, "notes": ["torch.compile cannot run here"], "losses": {},
    }  # fmt: skip


def test_a_reached_target_is_bold_and_a_missed_one_is_told():
    reached, missed = pages.training_step([result(1e-3, 4e-3)]), pages.training_step([result(3e-3, 4e-3)])
    assert "**0.25**" in reached and "All targets are reached." in reached
    assert "**0.75**" not in missed and "Missed: a network (0.75 of JAX's time, wanted 0.50)." in missed
    assert "around the native code 10 %" in reached and "torch.compile cannot run here" in reached
    assert "| 2.0 | 80 | 2 % |" in reached


def test_marked_parts_are_written_anew_and_the_rest_stays():
    page = "before\n<!-- begin training_step_1 -->\nold\n<!-- end training_step_1 -->\n"
    page += "after <!-- begin speed -->x<!-- end speed -->."
    numbers = {"training_step_1": [result(1e-3, 4e-3)], "surroundings": {"training_step_1": SURROUNDINGS}}
    once = pages.filled(page, numbers)
    assert "old" not in once and once.startswith("before\n") and "Some CPU, 2 core(s)" in once
    assert "takes 0.25 to 0.25 of the time" in once and once.endswith("core<!-- end speed -->.")
    assert pages.filled(once, numbers) == once
    assert pages.filled(page, {}) == page
    failed = pages.filled(page, {"training_step_1": "not measured: no core"})
    assert "Could not be measured on this machine (not measured: no core)" in failed and ">x<" in failed


def test_the_pages_of_the_project_have_their_marks():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    marks = re.findall(r"<!-- begin (\w+) -->", page + (ROOT / "README.md").read_text(encoding="utf-8"))
    assert sorted(marks) == sorted(pages.PARTS)


@pytest.mark.parametrize(
    "others", [[2.0, 1.5, 1.1], [2.0001, 1.5, 1.0], [float("nan")] * 3], ids=["later", "first", "nan"]
)
def test_engines_that_compute_something_else_are_found_out(others):
    assert not agreement.disagreement({"Backlit": [2.0, 1.5, 1.0], "JAX": [2.000001, 1.5001, 1.0001]})
    assert "do not compute the same" in agreement.disagreement({"Backlit": [2.0, 1.5, 1.0], "JAX": others})
    assert "does not learn" in agreement.disagreement({"Backlit": [1.0, 1.5]})


def test_only_the_optional_contestant_may_fail():
    def broken():
        raise RuntimeError("no compiler")

    contestants = {"Backlit": lambda: 1.0, "torch.compile": broken}
    losses, notes = agreement.first_losses(contestants)
    assert list(losses) == list(contestants) == ["Backlit"] and "no compiler" in notes[0]
    with pytest.raises(RuntimeError, match="no compiler"):
        agreement.first_losses({"Backlit": broken})


def test_turns_are_taken_alike():
    order = []
    times = in_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=5, seconds=0.0, pause=0.0)
    assert len(times["a"]) == len(times["b"]) == 5 * 50
    turns = re.sub(r"(.)\1*", r"\1", "".join(order[8:]))
    assert turns == "ab" * 5
