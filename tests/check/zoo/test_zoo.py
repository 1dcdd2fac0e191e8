"""Every sick training gets its verdict first or second; the healthy ones get none."""

import pytest
import zoo_healthy
import zoo_sick
from zoo_support import HEALTHY, SICK, VARIANTS, Variant

import backlit as bl
from backlit.check.verdicts.doctor import diagnose
from turns import share

seeded = zoo_healthy.seeded
MANY = [Variant(seed, (16, 32, 64)[seed % 3], (300, 400, 600)[seed // 2 % 3], seed % 2 == 0) for seed in range(3, 13)]
BOTH = [pytest.param(VARIANTS[0], id="a"), pytest.param(VARIANTS[1], id="b", marks=pytest.mark.slow)]


def verdict(make, variant):
    return diagnose(**seeded(make, variant))


def test_the_zoo_is_large_enough():
    assert len({kinds for _, kinds in SICK.values()}) >= 20 and len(HEALTHY) >= 10
    assert zoo_sick.__doc__


@pytest.mark.parametrize("name", SICK)
@pytest.mark.parametrize("variant", BOTH)
def test_sick(name, variant):
    make, kinds = SICK[name]
    found = verdict(make, variant)
    assert set(found.kinds[:2]) & set(kinds), f"wanted {kinds}\n{found}"


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("variant", BOTH)
def test_healthy(name, variant):
    found = verdict(HEALTHY[name], variant)
    assert not found, str(found)


@pytest.mark.slow(seconds=30)
@pytest.mark.parametrize("variant", share([VARIANTS[2], *MANY], 4), ids=lambda v: str(v.seed))
def test_more_variants(variant):
    wrong = [name for name, (make, kinds) in SICK.items() if not set(verdict(make, variant).kinds[:2]) & set(kinds)]
    false = [name for name, make in HEALTHY.items() if verdict(make, variant)]
    assert len(wrong) <= 2 and len(false) <= 1, (wrong, false)


def test_nothing_is_changed():
    given = seeded(HEALTHY["with_batch_norm"], VARIANTS[0])
    before = {name: value.clone() for name, value in given["model"].state_dict().items()}
    gradients = [p.grad.clone() for p in given["model"].parameters()]
    state = bl.get_rng_state()
    diagnose(**given)
    assert all(bl.equal(before[name], value) for name, value in given["model"].state_dict().items())
    assert all(bl.equal(a, p.grad) for a, p in zip(gradients, given["model"].parameters(), strict=True))
    assert bl.equal(state, bl.get_rng_state())
