"""bl.check.gradients and bl.check.model: right gradients pass, wrong ones are found, located and explained."""

import json
import time

import numpy as np
import pytest

import backlit as bl
from backlit import check
from backlit.errors import OperationError

RNG = np.random.default_rng(0)


def draw(*shape):
    return bl.tensor(RNG.normal(size=shape))


def node(forward, backward, name="Own"):
    """An own node; ``backward(g, x, ...)`` gets the arguments too."""

    def forward_(ctx, *args):
        ctx.save_for_backward(*args)
        return forward(*args)

    def backward_(ctx, g):
        return backward(g, *ctx.saved_tensors)

    own = type(name, (bl.autograd.Function,), {"forward": staticmethod(forward_), "backward": staticmethod(backward_)})
    return own.apply


# -- right ones ---------------------------------------------------------------------------------------------------

RIGHT = {
    "products": (lambda x, w: (x @ w).tanh().sum(), (draw(3, 4), draw(4, 2))),
    "broadcasting": (lambda x, b: (x * b).exp(), (draw(3, 4), draw(4))),
    "a tuple of results": (lambda x: (x.sin(), x.sum(0)), (draw(3, 2),)),
    "constants among inputs": (lambda x, i: x[i], (draw(5), bl.tensor([0, 3, 3]))),
    "a write in place": (lambda x: (x * 1.0).mul_(3.0).sin(), (draw(4),)),
    "a scalar": (lambda x: x.exp(), (draw(),)),
    "no elements": (lambda x: x * 2, (draw(0, 3),)),
    "a zero gradient": (lambda x: x * 0.0, (draw(3),)),
    "an unused input": (lambda x, y: x * 2.0, (draw(3), draw(3))),
    "steep": (lambda x: (300.0 * x).sin(), (draw(4),)),
    "large values": (lambda x: x * x, (bl.tensor([1e8, -3e9], dtype=bl.float64),)),
}


@pytest.mark.parametrize("case", RIGHT)
def test_right_gradients_pass(case):
    report = check.gradients(*RIGHT[case])
    assert report.ok, str(report)
    assert not report.culprits
    assert all(part.relative < 1e-5 for part in report.inputs)
    assert "all gradients are right" in str(report)


def test_float32_is_checked_in_float64_and_left_alone():
    x = bl.rand(4, requires_grad=True)
    before = x.tolist()
    report = check.gradients(lambda x: x.exp(), x)
    assert report.ok
    assert report.inputs[0].relative < 1e-8
    assert report.inputs[0].dtype == "float32"
    assert 0 < report.inputs[0].float32 < 1e-5
    assert (x.tolist(), x.grad) == (before, None)


def test_float32_noise_is_told_from_a_wrong_rule():
    x = bl.tensor([1e4, 1.0])
    report = check.gradients(lambda x: (x + 1e4).log1p() - x.log1p(), x)
    assert report.ok
    noisy = check.gradients(lambda x: ((x + 1e7) - 1e7).exp(), bl.tensor([0.3, 0.4]))
    assert noisy.ok
    assert noisy.inputs[0].float32 > 1e-4
    assert "noise, not a wrong rule" in str(noisy)


def test_the_function_that_narrows_inside_is_not_accused():
    report = check.gradients(lambda x: x.float().exp(), draw(4))
    assert report.ok, str(report)


def test_only_inputs_that_require_gradients_are_checked():
    x, y = draw(2).requires_grad_(), draw(2)
    assert [part.name for part in check.gradients(lambda x, y: x * y, (x, y), names=["x"]).inputs] == ["x"]
    with pytest.raises(OperationError, match="no floating-point input"):
        check.gradients(lambda i: i, bl.tensor([1, 2]))
    with pytest.raises(OperationError, match="returned no floating-point tensor"):
        check.gradients(lambda x: x > 0, draw(2))
    with pytest.raises(OperationError, match="2 names for 1"):
        check.gradients(lambda x: x, draw(2), names=["a", "b"])


def test_random_draws_are_repeated_and_the_stream_is_left_where_it_was():
    bl.manual_seed(3)
    state = bl.get_rng_state().tolist()
    report = check.gradients(lambda x: bl.nn.functional.dropout(x, 0.5).sin(), draw(20))
    assert report.ok
    assert "draws random numbers" in str(report)
    assert bl.get_rng_state().tolist() == state


# -- kinks --------------------------------------------------------------------------------------------------------


def test_kinks_are_no_failures():
    x = bl.tensor([0.0, 1.0, -1.0], dtype=bl.float64)
    report = check.gradients(lambda x: bl.relu(x) + bl.abs(x), x)
    assert report.ok
    (kink,) = report.inputs[0].kinks
    assert (kink.index, kink.kind) == ((0,), "kink")
    assert min(kink.left, kink.right) <= kink.analytic <= max(kink.left, kink.right)
    assert "1 kink, not counted" in str(report)


def test_jumps_are_recognised():
    report = check.gradients(lambda x: x + bl.where(x > 0, x * 0 + 1.0, x * 0), bl.tensor([0.0, 2.0]))
    assert report.ok
    assert [k.kind for k in report.inputs[0].kinks] == ["jump"]


def test_a_kink_does_not_excuse_a_gradient_outside_its_slopes():
    wrong = node(lambda x: bl.relu(x), lambda g, x: g * 2.0)
    report = check.gradients(wrong, bl.tensor([0.0]))
    assert not report.ok


def test_branches_next_to_the_point_are_seen_through():
    x = bl.tensor([1e-5, -3e-4, 2e-7], dtype=bl.float64)
    report = check.gradients(lambda x: bl.relu(x), x)
    assert report.ok
    assert report.inputs[0].checked + len(report.inputs[0].kinks) == 3


def test_the_edge_of_the_domain():
    report = check.gradients(lambda x: x.log() + x.sqrt(), bl.tensor([1e-9, 1e-4, 2.0], dtype=bl.float64))
    assert report.ok, str(report)
    assert report.inputs[0].checked == 3
    report = check.gradients(lambda x: x.sqrt(), bl.tensor([0.0, 2.0], dtype=bl.float64))
    assert report.ok
    assert (report.inputs[0].checked, report.inputs[0].undefined) == (1, 1)
    assert "no finite differences" in str(report)
    assert check.gradients(lambda x: x.sqrt(), bl.tensor([0.0])).inputs[0].status == "undefined"


# -- wrong ones: the cause is named -------------------------------------------------------------------------------

SQUARE = draw(3, 3)
CAUSES = {
    "sign": (node(lambda x: x.sin(), lambda g, x: -g * x.cos()), (draw(3, 4),), "sign", "negative"),
    "factor 2": (node(lambda x: x * x, lambda g, x: g * x), (draw(3, 4),), "factor", "1/2"),
    "mean": (node(lambda x: x.mean(0), lambda g, x: g.expand(x.shape)), (draw(5, 4),), "factor", "factor 5"),
    "other factor": (node(lambda x: x * 3.7, lambda g, x: g), (draw(5, 4),), "chain-factor", "local slope"),
    "a constant": (node(lambda x: x.exp(), lambda g, x: 1.3 * g * x.exp()), (draw(5, 4),), "factor", "1.3"),
    "transposed": (
        node(lambda x, w: x @ w, lambda g, x, w: (g @ w, x.mT @ g)),
        (SQUARE, draw(3, 3)),
        None,
        None,
    ),
    "transposed result": (
        node(lambda x, w: x @ w, lambda g, x, w: (g @ w.mT, g.mT @ x)),
        (SQUARE, draw(3, 3)),
        "transposed",
        "transposed",
    ),
    "transposed shape": (
        node(lambda x, w: x @ w, lambda g, x, w: (g @ w.mT, g.mT @ x)),
        (draw(5, 4), draw(4, 2)),
        "transposed",
        "(2, 4)",
    ),
    "missing sum": (node(lambda x, b: x + b, lambda g, x, b: (g, g)), (draw(3, 4), draw(4)), "missing-sum", "sum over"),
    "one of the sum": (
        node(lambda x, b: x + b, lambda g, x, b: (g, g[0])),
        (draw(3, 4), draw(4)),
        "missing-sum",
        "one repetition",
    ),
    "slope": (node(lambda x: x.tanh(), lambda g, x: g), (draw(3, 4),), "chain-factor", "local slope"),
    "upstream": (node(lambda x: x.exp(), lambda g, x: x.exp()), (draw(3, 4),), "chain-factor", "upstream"),
    "inner slope": (
        node(lambda x: x**3, lambda g, x: 3 * g * x),
        (draw(3, 4),),
        "chain-factor",
        "multiplied by argument 0",
    ),
    "zero": (node(lambda x: x.exp(), lambda g, x: g * 0.0), (draw(3, 4),), "zero", "zero everywhere"),
    "none": (node(lambda x, y: x * y, lambda g, x, y: (g * y, None)), (draw(3), draw(3)), "detached", "no gradient"),
    "straight through": (node(lambda x: x.round(), lambda g, x: g), (draw(3, 4),), "flat", "does not change"),
    "one sign": (node(lambda x: x.abs(), lambda g, x: g), (bl.tensor([1.0, -2.0, 3.0]),), None, None),
    "not finite": (
        node(lambda x: x * 1.0, lambda g, x: g * (x - x) / (x - x)),
        (draw(6),),
        "non-finite",
        "NaN",
    ),
    "a missing term": (
        node(lambda x: x * x.sigmoid(), lambda g, x: g * x.sigmoid()),
        (draw(6),),
        "unknown",
        "no known",
    ),
}


@pytest.mark.parametrize("case", CAUSES)
def test_the_cause_of_a_wrong_rule_is_named(case):
    function, inputs, kind, words = CAUSES[case]
    report = check.gradients(lambda *xs: (function(*[x.sin() for x in xs]) * 1.0).exp(), inputs)
    assert not report.ok
    (culprit, *_) = report.culprits
    assert culprit.operation == "Own"
    assert culprit.wrong_rule
    assert "test_check_gradients.py" in culprit.place
    assert "test_check_gradients.py" in culprit.rule_at
    if kind is not None:
        assert culprit.cause.kind == report.cause.kind == kind
        assert words in culprit.cause.text


def test_what_could_not_be_checked_has_no_error():
    draws = np.random.default_rng(0)
    text = str(check.gradients(lambda x: x * draws.random(), draw(3)))
    assert text.startswith("gradient check: FAILED: no gradient could be checked") and "non-determinism" in text
    refused = node(lambda x, b: x + b, lambda g, x, b: (g, g))
    text = str(check.gradients(refused, (draw(3, 4), draw(4))))
    assert "NOT COMPUTED\n" in text and "relative error" not in text


def test_the_report_names_entry_values_and_line():
    square = node(lambda x: x * x, lambda g, x: bl.where(x > 1.0, g * x, 2.0 * g * x), "Square")
    x = bl.tensor([[0.5, 0.6], [0.7, 2.0]], dtype=bl.float64)
    report = check.gradients(lambda x: square(x).sum(), x, names=["x"])
    worst = report["x"].worst
    assert worst.index == (1, 1)
    assert np.isclose(worst.analytic * 2, worst.numeric)
    assert np.isclose(worst.relative, 0.5)
    text = str(report)
    assert "WRONG: 1 of 1" in text
    assert "worst entry [1, 1]" in text
    assert "Square" in text
    assert "square(x).sum()" in text


def test_other_operations_are_not_accused():
    wrong = node(lambda x: x * 2.0, lambda g, x: g * 2.1, "Wrong")
    network = bl.nn.Sequential(bl.nn.Linear(4, 5), bl.nn.BatchNorm1d(5), bl.nn.Dropout(0.3), bl.nn.ReLU())
    report = check.gradients(lambda x: bl.softmax(wrong(network.double()(x)), -1).log(), draw(6, 4))
    assert [culprit.operation for culprit in report.culprits] == ["Wrong"]


def test_decorated_rules_are_located():
    @bl.autograd.custom_vjp
    def doubled(x):
        return x * 2.0, lambda upstream: upstream * -2.0

    report = check.gradients(lambda x: doubled(x).exp(), draw(3))
    assert (report.culprits[0].operation, report.cause.kind) == ("doubled", "sign")


def test_an_own_node_with_settings_and_several_results():
    class Split(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x, *, scale=1.0):
            ctx.scale = scale
            return x * scale, x * x * 0.0 + x

        @staticmethod
        def backward(ctx, first, second):
            return first * ctx.scale - second

    report = check.gradients(lambda x: sum(part.sin() for part in Split.apply(x, scale=3.0)), draw(3))
    assert report.culprits[0].operation == "Split"


# -- what is not a rule's fault -----------------------------------------------------------------------------------


def test_a_stale_value_is_told_with_the_line_that_wrote_it():
    class Keeps(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.kept = x
            return x.exp()

        @staticmethod
        def backward(ctx, g):
            return g * ctx.kept.exp()

    def function(x):
        y = x * 1.0
        z = Keeps.apply(y)
        y.mul_(2.0)  # the writer
        return z.sum() + y.sum()

    report = check.gradients(function, draw(3))
    assert report.cause.kind == "stale"
    assert "y.mul_(2.0)" in report.cause.text


def test_a_noticed_stale_value_is_reported_too():
    def function(x):
        y = x * 1.0
        z = y.sin()
        y.mul_(2.0)
        return z + y

    report = check.gradients(function, draw(3))
    assert not report.ok
    assert report.cause.kind == "stale"
    assert "y.mul_(2.0)" in str(report)


def test_nondeterminism_is_found_forward_and_backward():
    calls = iter(range(1, 10_000))
    report = check.gradients(lambda x: x * next(calls), draw(3))
    assert (report.ok, report.cause.kind) == (False, "non-deterministic")
    calls = iter(range(1, 10_000))
    backward = node(lambda x: x * 2.0, lambda g, x: g * next(calls))
    assert check.gradients(backward, draw(3)).cause.kind == "non-deterministic"


@pytest.mark.parametrize("how", ["detach", "number", "no_grad", "numpy"])
def test_a_cut_path_is_found(how):
    def function(x):
        if how == "detach":
            y = x.exp().detach()
        elif how == "number":
            y = float(x.exp().sum())
        elif how == "numpy":
            y = bl.tensor(np.exp(x.detach().numpy()))
        else:
            with bl.no_grad():
                y = x.exp()
        return x * y  # where it enters

    report = check.gradients(function, draw(3))
    assert report.cause.kind == "detached"
    assert "return x * y" in report.culprits[0].place
    assert "carries no history" in report.cause.text


def test_a_path_that_is_cut_entirely():
    report = check.gradients(lambda x, y: y * x.detach().exp(), (draw(3), draw(3)))
    assert [part.ok for part in report.inputs] == [False, True]
    assert report.cause.kind == "detached"


# -- step sizes ---------------------------------------------------------------------------------------------------


def test_the_sweep_is_a_v_for_right_and_a_plateau_for_wrong_rules():
    right = check.gradients(lambda x: x.sin(), bl.tensor([0.7])).inputs[0].sweep
    wrong = check.gradients(node(lambda x: x.sin(), lambda g, x: 1.01 * g * x.cos()), bl.tensor([0.7])).inputs[0].sweep
    assert (right.shape, wrong.shape) == ("V", "plateau")
    least = int(np.argmin(right.errors))
    assert 0 < least < len(right.steps) - 1
    assert right.errors[0] > 100 * right.errors[least] < right.errors[-1]
    assert np.isclose(wrong.lowest[0], 0.01, rtol=0.1)
    assert "not rounding" in str(wrong)


def test_plot_and_dict(tmp_path):
    report = check.gradients(node(lambda x: x * x, lambda g, x: g * x), draw(3))
    data = json.loads(json.dumps(report.to_dict()))
    assert data["ok"] is False
    assert data["inputs"][0]["worst"]["analytic"] * 2 == pytest.approx(data["inputs"][0]["worst"]["numeric"])
    assert data["culprits"][0]["cause"]["kind"] == "factor"
    pytest.importorskip("matplotlib")
    figure = report.plot(tmp_path / "steps.png")
    assert (tmp_path / "steps.png").stat().st_size > 1000
    assert len(figure.axes[0].lines) == 1
    low, high = figure.axes[0].get_ylim()
    assert low <= 1e-15 and high >= 1.0, "so near that rounding looks like a slope"


def test_oracles_tell_a_reverse_rule_from_both():
    report = check.gradients(lambda x: x * x.detach(), draw(3))
    assert report.inputs[0].oracles["forward mode"] < 1e-12  # forward mode is cut off as well
    wrong = node(lambda x: x * 2.0, lambda g, x: g)
    assert "forward mode" not in check.gradients(wrong, draw(3)).inputs[0].oracles


def test_the_complex_step_is_exact():
    from backlit.check.gradient_check.complex_step import complex_step
    from backlit.check.gradient_check.subject import Subject

    x, w = draw(3, 4).requires_grad_(), draw(4, 2).requires_grad_()
    subject = Subject(lambda leaves: (leaves[0].sin() @ leaves[1]).exp().mean(), [x, w], ["x", "w"])
    for k, gradient in enumerate(subject.backward()):
        direction = RNG.normal(size=gradient.shape)
        assert np.isclose(complex_step(subject, k, direction), (gradient * direction).sum(), rtol=1e-14)
    kinked = Subject(lambda leaves: leaves[0].abs(), [x], ["x"])
    assert complex_step(kinked, 0, np.ones((3, 4))) is None


# -- networks -----------------------------------------------------------------------------------------------------


def test_a_network_passes_and_is_not_changed():
    bl.manual_seed(0)
    model = bl.nn.Sequential(bl.nn.Linear(5, 7), bl.nn.BatchNorm1d(7), bl.nn.ReLU(), bl.nn.Linear(7, 3))
    before = {name: value.tolist() for name, value in model.state_dict().items()}
    batch = bl.rand(6, 5), bl.randint(0, 3, (6,))
    report = check.model(model, batch, bl.nn.CrossEntropyLoss())
    assert str(check.model(model, batch, "cross_entropy")) == str(report)
    assert report.ok, str(report)
    assert [part.name for part in report.inputs] == [name for name, _ in model.named_parameters()]
    assert {name: value.tolist() for name, value in model.state_dict().items()} == before
    assert all(p.dtype == bl.float32 and p.grad is None for p in model.parameters())


def test_a_wrong_layer_is_located_in_its_module():
    wrong = node(lambda x: x * 3.0, lambda g, x: -3.0 * g, "Wrong")

    class Layer(bl.nn.Linear):
        def forward(self, x):
            return wrong(super().forward(x))

    model = bl.nn.Sequential(bl.nn.Linear(4, 4), Layer(4, 4), bl.nn.Tanh())
    report = check.model(model, (draw(3, 4), draw(3, 4)), bl.nn.MSELoss())
    assert (report.culprits[0].operation, report.cause.kind) == ("Wrong", "sign")
    assert report.culprits[0].module.endswith("1")


def test_model_says_what_it_needs():
    with pytest.raises(OperationError, match="pair"):
        check.model(bl.nn.Linear(2, 2), draw(3, 2), bl.nn.MSELoss())
    frozen = bl.nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(OperationError, match="no parameter requires"):
        check.model(frozen, (draw(3, 2), draw(3, 2)), bl.nn.MSELoss())


def test_large_inputs_are_checked_along_directions_and_the_bad_entry_is_found():
    bad = (123, 45)

    def backward(g, x):
        scale = np.full(x.shape, 2.0)
        scale[bad] = 50.0
        return g * x * bl.tensor(scale)

    x = draw(130, 60)
    report = check.gradients(node(lambda x: x * x, backward), x)
    assert not report.ok
    assert report.inputs[0].worst.index == bad
    right = check.gradients(lambda x: (x * x).sum(), x)
    assert right.ok
    assert right.inputs[0].directions == 6


def test_a_million_parameters_take_seconds():
    bl.manual_seed(0)
    model = bl.nn.Sequential(bl.nn.Linear(784, 1024), bl.nn.ReLU(), bl.nn.Linear(1024, 256), bl.nn.Linear(256, 10))
    assert sum(p.numel() for p in model.parameters()) > 1_000_000
    start = time.perf_counter()
    report = check.model(model, (bl.rand(16, 784), bl.randint(0, 10, (16,))), bl.nn.CrossEntropyLoss(), entries=12)
    assert report.ok, str(report)
    assert time.perf_counter() - start < 120  # 1 s on a quiet machine


def test_a_compiled_function_and_a_compiled_network():
    pytest.importorskip("llvmlite")
    assert check.gradients(bl.compile(lambda x, w: (x @ w).tanh().exp()), (draw(5, 40), draw(40, 7))).ok
    network = bl.nn.Sequential(bl.nn.Linear(300, 64), bl.nn.ReLU(), bl.nn.Linear(64, 10))
    report = check.model(bl.compile(network), (bl.rand(4, 300), bl.randint(0, 10, (4,))), "cross_entropy")
    assert report.ok, str(report)


def test_a_function_that_never_repeats_is_no_compiled_one():
    calls = iter(range(1000))
    assert not check.gradients(lambda x: x * (1.0 + 1e-9 * next(calls)), draw(3)).ok


def test_what_could_not_be_checked_is_not_called_right():
    report = check.gradients(lambda p: (p / (1.0 - p)).log(), bl.tensor([-0.5, 2.0, -3.0], dtype=bl.float64))
    assert not report.ok
    assert report.inputs[0].status == "undefined"
    assert not report.culprits
    assert "FAILED: no gradient could be checked" in str(report)
    assert "3 of 3 results are NaN or infinite" in str(report)
    mixed = check.gradients(lambda a, b: (a.sum(), b.sqrt()), (draw(2), bl.tensor([0.0], dtype=bl.float64)))
    assert mixed.inputs[0].ok
    assert not mixed.inputs[1].ok
    assert "NOT CHECKED: 1 of 2 gradients" in str(mixed)
    partly = check.gradients(lambda x: x.sqrt().sum(), bl.tensor([0.0, 1.0], dtype=bl.float64))
    assert partly.ok
    assert "in the entries that could be checked" in str(partly)
    assert "1 entry not checked" in str(partly)


def test_a_large_input_without_finite_differences_is_not_called_right():
    report = check.gradients(lambda x: (x - 100.0).log().sum(), draw(700))
    assert not report.ok
    assert report.inputs[0].status == "undefined"
    assert report.inputs[0].directions == 0


def test_a_random_rule_is_not_given_a_second_cause():
    numbers = np.random.default_rng(0)
    report = check.gradients(node(lambda x: x * x, lambda g, x: g * x * float(numbers.random())), draw(4))
    assert report.cause.kind == "non-deterministic"
    assert "factor" not in str(report)


def test_a_gradient_that_is_nan_is_not_called_rounding():
    report = check.gradients(node(lambda x: x * x, lambda g, x: g * float("nan")), draw(4))
    assert not report.ok
    assert "error against step size says nothing" in str(report)


def test_the_picture_shows_a_v_although_a_gradient_is_zero_but_for_rounding():
    network = bl.nn.Sequential(bl.nn.Linear(3, 4), bl.nn.BatchNorm1d(4), bl.nn.Tanh(), bl.nn.Linear(4, 2))
    report = check.model(network, (draw(8, 3).float(), bl.tensor([0, 1] * 4)))
    shown = [part for part in report.inputs if part.sweep is not None]
    assert report.ok
    assert len(shown) == 1
    assert shown[0].name != "0.bias"
    assert max(shown[0].sweep.errors) > 100 * min(shown[0].sweep.errors)
    assert [text.get_text() for text in report.plot().axes[0].get_legend().get_texts()] == [f"{shown[0].name}: ok"]
