"""Broken gradient rules are noticed by the properties and by gradcheck, and the checker names what was done."""

import importlib.util
import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def tool():
    path = list(sys.path)
    spec = importlib.util.spec_from_file_location("mutation_proof", ROOT / "tools" / "mutation_proof.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutation_proof"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutation_proof"]
    sys.path[:] = path


def judge(proof, causes=0.8):
    assert proof.verdicts
    unnoticed = [str(v.mutant) for v in proof.verdicts if not (v.by_properties and v.by_gradcheck)]
    assert not unnoticed
    assert proof.share(lambda v: v.cause_right) >= causes
    assert proof.share(lambda v: v.blame_right) >= causes


def test_one_operation_broken_in_every_way(tool):
    proof = tool.prove(only="matmul")
    assert {v.mutant.kind for v in proof.verdicts} >= {"sign", "factor 2", "transposed", "missing sum", "zeroed"}
    judge(proof)


def test_a_broken_rule_is_put_back(tool):
    from backlit.ops.definition import REGISTRY

    op = REGISTRY["matmul"].definition
    call = next(c for c in tool.calls() if c.operation.name == "matmul")
    before, rule = tool.pulled(call), op.vjp_a
    with tool.broken(tool.Mutant(op, "vjp_a", None, "sign")):
        assert np.allclose(tool.pulled(call)[0], -before[0])
    assert np.array_equal(tool.pulled(call)[0], before[0])
    assert op.vjp_a is rule


@pytest.mark.slow(seconds=90)
def test_every_rule_broken_in_every_way(tool):
    proof = tool.prove()
    judge(proof)
    assert len(proof.verdicts) > 900
    published = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    (count,) = re.findall(r"in (\d+) ways that change a gradient", published)
    assert abs(int(count) - len(proof.verdicts)) <= 0.1 * len(proof.verdicts), "run tools/mutation_proof.py again"


@pytest.mark.slow
def test_a_sample_of_broken_rules(tool):
    proof = tool.prove(sample=8, seed=1)
    assert 0 < len(proof.verdicts) <= 8
    judge(proof)


def refused(tool, calls):
    return [f"{call}: {error}" for call in calls if (error := tool._refused(call)) is not None]


def test_right_rules_are_not_accused(tool):
    largest = {}
    for call in tool.calls():
        size = sum(leaf.size for leaf in call.leaves)
        if size > largest.get(call.operation.name, (0, None))[0]:
            largest[call.operation.name] = (size, call)
    assert len(largest) > 150
    assert not refused(tool, [call for size, call in largest.values() if size <= 60])


@pytest.mark.slow(seconds=30)
def test_right_rules_are_not_accused_at_any_sample(tool):
    assert not refused(tool, tool.calls())


def test_the_complex_step_agrees_with_the_rules_of_every_operation_it_takes(tool):
    from backlit.check.gradient_check.complex_step import ANALYTIC, complex_step
    from backlit.check.gradient_check.subject import Subject

    seen = set()
    for call in tool.calls():
        if sum(leaf.size for leaf in call.leaves) > 200:
            continue
        leaves = tool.properties.tensors([leaf.copy() for leaf in call.leaves])
        with tool.quiet():
            subject = Subject(lambda xs, call=call: tuple(call(xs)), leaves, [""] * len(leaves))
            for k, gradient in enumerate(subject.backward()):
                direction = np.random.default_rng(k).normal(size=leaves[k].shape)
                found = complex_step(subject, k, direction)
                if found is not None and gradient is not None:
                    assert np.isclose(found, (gradient * direction).sum(), rtol=1e-9, atol=1e-11), str(call)
                    seen.add(call.operation.name)
    assert len(seen & ANALYTIC) >= 25, seen
