"""The formulas that are printed are true: on the recorded numbers they give what the operation handed down."""

import numpy as np
import pytest

import backlit as bl
from backlit.glassbox.words import terms as t
from backlit.glassbox.words.evaluation import Unknown, evaluate
from backlit.glassbox.words.forms import handed_down
from backlit.glassbox.words.rule import rule
from backlit.glassbox.words.scripts import LATEX, UNICODE
from backlit.ops.elementwise import Elementwise, unbroadcast
from backlit.ops.registry import REGISTRY

F = bl.nn.functional


def recorded(function, *arrays, **settings):
    """A record of ``function`` on leaves, started with a random upstream gradient."""
    leaves = [bl.tensor(a, requires_grad=True) if np.asarray(a).dtype == np.float64 else bl.tensor(a) for a in arrays]
    with bl.record() as rec:
        out = function(*leaves, **settings)
        out.backward(gradient=bl.tensor(np.random.default_rng(5).normal(size=out.shape)))
    return rec


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def causal(s):
    return np.where(np.tri(*s.shape[-2:], dtype=bool), s, -np.inf)


def rows(x):
    return x.reshape(-1, x.shape[-1])


def last(x):
    return x.sum(-1, keepdims=True)


MEANINGS = {
    "softmax": softmax,
    "σ": lambda x: 1 / (1 + np.exp(-x)),
    "causal": causal,
    "masked": np.add,
    "rows": rows,
    "outer": np.outer,
    "Σ_row": last,
    "Σ_rows": lambda x: x.sum(0),
    "Σ_positions": lambda x: x.sum((0, 2)),
    "Σ_batch": lambda x: x.sum(0, keepdims=True),
    "mean": lambda x: x.mean(-1, keepdims=True),
    "spread": lambda g: g,  # of those used here, only ones along the first dimension
    "mean_batch": lambda x: x.mean(0, keepdims=True),
}


def meaning_of(form, functions, symbols):
    """The value of a formula whose names are explained in ``form.where``, by words given here as numbers."""
    waiting = list(form.where)
    while waiting:
        name, meaning = waiting.pop(0)
        if isinstance(meaning, str):
            if isinstance(name, t.Symbol) and name.name in symbols:
                name.value = symbols[name.name]
            continue
        if isinstance(name, t.Call):  # f′(z), its formula
            functions = {**functions, name.name: lambda *_, meaning=meaning: evaluate(meaning, MEANINGS)}
            continue
        try:
            name.value = evaluate(meaning, functions)
        except Unknown:
            waiting.append((name, meaning))
    return evaluate(form.term, functions)


def check(rec, op, functions=None, symbols=None, count=None):
    """Every edge of the operation: its formula on the numbers gives what was handed down."""
    checked = 0
    for node in rec.find(op=op):
        for edge in node.inputs:
            if edge.downstream is None:
                continue
            form = handed_down(edge, t.Symbol("g", node.upstream, node.shape))
            meanings = {**MEANINGS, "Σ_copies": lambda v, e=edge: unbroadcast(v, e.source.shape), **(functions or {})}
            value = meaning_of(form, meanings, symbols or {})
            value = np.broadcast_to(value, edge.source.shape)
            np.testing.assert_allclose(value, edge.downstream, rtol=1e-9, atol=1e-12, err_msg=str(edge))
            assert UNICODE.write(form.term) and balanced(LATEX.write(form.term))
            checked += 1
    assert checked == (count or checked) and checked


def balanced(text):
    plain = text.replace(r"\{", "").replace(r"\}", "")
    return plain.count("{") == plain.count("}") and plain.count(r"\left") == plain.count(r"\right")


def draw(*shape):
    return np.random.default_rng(sum(shape) + len(shape)).normal(size=shape)


@pytest.mark.parametrize(
    ("op", "function", "arrays", "settings"),
    [
        ("matmul", bl.matmul, (draw(3, 4), draw(4, 2)), {}),
        ("matmul", bl.matmul, (draw(2, 3, 4), draw(4, 2)), {}),
        ("matmul", bl.matmul, (draw(2, 3, 4), draw(2, 4, 2)), {}),
        ("matmul", bl.matmul, (draw(2, 3, 4), draw(1, 4, 2)), {}),
        ("linear", F.linear, (draw(3, 4), draw(2, 4), draw(2)), {}),
        ("linear", F.linear, (draw(2, 3, 4), draw(2, 4)), {}),
        ("linear", F.linear, (draw(4), draw(2, 4), draw(2)), {}),
        ("dot", bl.dot, (draw(4), draw(4)), {}),
        ("sum", bl.sum, (draw(3, 4),), {}),
        ("mean", bl.mean, (draw(3, 4),), {}),
        ("permute", lambda x: x.T, (draw(3, 4),), {}),
        ("var", lambda x: x.var(dim=-1, keepdim=True), (draw(3, 4),), {}),
        ("std", lambda x: x.std(dim=-1, keepdim=True), (draw(3, 4),), {}),
        ("norm", lambda x: x.norm(), (draw(3, 4),), {}),
        ("norm", lambda x: x.norm(1, dim=0), (draw(3, 4),), {}),
        ("softmax", bl.softmax, (draw(3, 4),), {"dim": -1}),
        ("log_softmax", bl.log_softmax, (draw(3, 4),), {"dim": -1}),
        ("logsumexp", lambda x: bl.logsumexp(x, -1, keepdim=True), (draw(3, 4),), {}),
        ("mse_loss", F.mse_loss, (draw(3, 4), draw(3, 4) + 1), {}),
        ("mse_loss", F.mse_loss, (draw(3, 4), draw(3, 4) + 1), {"reduction": "none"}),
        ("l1_loss", F.l1_loss, (draw(3, 4), draw(3, 4) + 1), {}),
        ("smooth_l1_loss", F.smooth_l1_loss, (draw(3, 4), 2 * draw(3, 4)), {}),
        (
            "binary_cross_entropy_with_logits",
            F.binary_cross_entropy_with_logits,
            (draw(3, 4), np.float32(draw(3, 4) > 0)),
            {},
        ),
        ("scaled_dot_product_attention", F.scaled_dot_product_attention, (draw(2, 5, 4),) * 3, {}),
        ("scaled_dot_product_attention", F.scaled_dot_product_attention, (draw(2, 5, 4),) * 3, {"is_causal": True}),
        ("scaled_dot_product_attention", F.scaled_dot_product_attention, (*(draw(2, 5, 4),) * 3, draw(2, 5, 5)), {}),
    ],
)  # fmt: skip
def test_stated_formulas_give_what_was_handed_down(op, function, arrays, settings):
    check(recorded(function, *arrays, **settings), op)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_cross_entropy_is_what_was_predicted_minus_what_was_asked_for(reduction):
    x, y, weight = draw(4, 3), np.array([0, 2, 1, 1]), np.float32([0.5, 1, 2])

    def onehot(index):
        return np.eye(3)[index]

    def spread(g):
        return g[:, None] if np.ndim(g) else g

    for settings, symbols in [
        ({}, {"N": 4}),
        ({"weight": weight}, {"N": weight[y].sum(), "w": weight[y][:, None]}),
        ({"label_smoothing": 0.3}, {"N": 4, "q": 0.7 * onehot(y) + 0.1}),
    ]:
        given = {k: bl.tensor(v) if isinstance(v, np.ndarray) else v for k, v in settings.items()}
        rec = recorded(lambda a, b, given=given: F.cross_entropy(a, b, reduction=reduction, **given), x, y)
        node = rec.find(op="cross_entropy")[0]
        (edge,) = [e for e in node.inputs if e.downstream is not None]
        form = handed_down(edge, t.Symbol("g", spread(node.upstream), node.shape))
        value = meaning_of(form, {**MEANINGS, "onehot": onehot}, symbols)
        np.testing.assert_allclose(value, edge.downstream, rtol=1e-6)


def test_normalisations():
    x = draw(3, 4)
    s = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    symbols = {"μ": x.mean(-1, keepdims=True), "s": s}
    rec = recorded(lambda x, w, b: F.layer_norm(x, (4,), w, b), x, draw(4), draw(4) + 1)
    check(rec, "layer_norm", {"Σ_shared": lambda a: a.sum(0)}, symbols, 3)
    rec = recorded(lambda x, w: F.rms_norm(x, (4,), w, eps=1e-5), x, draw(4))
    symbols = {"s": np.sqrt((x * x).mean(-1, keepdims=True) + 1e-5)}
    check(rec, "rms_norm", {"Σ_shared": lambda a: a.sum(0)}, symbols, 2)
    rec = recorded(lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), x, draw(4), draw(4) + 1)
    symbols = {"μ": x.mean(0), "s": np.sqrt(x.var(0) + 1e-5)}
    check(rec, "batch_norm", {"Σ_shared": lambda a: a.sum(0)}, symbols, 3)
    running = bl.tensor([0.5] * 4), bl.tensor([2.0] * 4)
    rec = recorded(lambda x, w: F.batch_norm(x, *running, w), x, draw(4))
    check(rec, "batch_norm", {"Σ_shared": lambda a: a.sum(0)}, {"μ": 0.5, "s": np.sqrt(2 + 1e-5)}, 2)


def test_embedding_dropout_and_shapes():
    index = np.array([2, 0, 2])
    rec = recorded(lambda w: F.embedding(bl.tensor(index), w), draw(4, 3))
    check(rec, "embedding", {"onehot": lambda i: np.eye(4)[i]})
    bl.manual_seed(1)
    rec = recorded(lambda x: F.dropout(x, 0.25), draw(5, 4))
    check(rec, "dropout", {}, {"m": rec.find(op="dropout")[0].extra, "p": 0.25})
    rec = recorded(lambda x: x.reshape(6, 2), draw(3, 4))
    check(rec, "reshape", {"reshaped": lambda g: g.reshape(3, 4)})
    rec = recorded(lambda x: x.expand(5, 4), draw(1, 4))
    check(rec, "expand")
    rec = recorded(lambda x: x.sum(0) + x.mean(1)[0], draw(3, 4))
    check(rec, "sum", {"spread": lambda g: np.broadcast_to(g, (3, 4))})
    check(rec, "mean", {"spread": lambda g: np.broadcast_to(g[:, None], (3, 4))})
    rec = recorded(lambda x, w, b: F.conv1d(x, w, b), draw(2, 3, 5), draw(4, 3, 2), draw(4))
    node = rec.find(op="convolution")[0]
    parts = {
        "spread": lambda g, w: node.inputs[0].downstream,
        "correlation": lambda x, g: node.inputs[1].downstream,
    }  # in words only; the sum over positions is a formula
    check(rec, "convolution", parts)


ROUTES = [
    ("slice", lambda x: x[1:, 0], (3, 4), {"placed": lambda g: np.pad(g[:, None], ((1, 0), (0, 3)))}),
    ("diagonal", lambda x: x.diagonal(), (3, 3), {"placed": np.diag}),
    ("diag_embed", lambda x: x.diag(), (3,), {"diagonal": np.diag}),
    ("index", lambda x: x[bl.tensor([0, 2, 2])], (3,), {"placed": lambda g: np.array([g[0], 0, g[1] + g[2]])}),
    ("gather", lambda x: x.gather(0, bl.tensor([0, 2, 2])), (3,), {"placed": lambda g: [g[0], 0, g[1] + g[2]]}),
    ("cat", lambda x: bl.cat([x, bl.tensor([1.0, 2.0]).double()]), (3,), {"part": lambda g: g[:3]}),
    ("stack", lambda x: bl.stack([x, bl.zeros(3).double()]), (3,), {"part": lambda g: g[0]}),
    ("repeat", lambda x: x.repeat(2), (3,), {"Σ_copies": lambda g: g[:3] + g[3:]}),
    ("roll", lambda x: x.roll(1), (3,), {"rolled": lambda g: np.roll(g, -1)}),
    ("tril", lambda x: x.tril(), (3, 3), {"lower": np.tril}),
    ("triu", lambda x: x.triu(), (3, 3), {"upper": np.triu}),
    ("flip", lambda x: x.flip(0), (3,), {"flipped": lambda g: g[::-1]}),
    ("cumsum", lambda x: x.cumsum(0), (4,), {"Σ_from": lambda g: g[::-1].cumsum()[::-1]}),
    ("pad", lambda x: F.pad(x, (1, 2)), (4,), {"inside": lambda g: g[1:-2]}),
    ("max", lambda x: x.max(), (4,), {"routed": lambda g: np.where(draw(4) == draw(4).max(), g, 0)}),
    ("max", lambda x: x.max(0).values, (4,), {"routed": lambda g: np.where(draw(4) == draw(4).max(), g, 0)}),
    ("prod", lambda x: x.prod(), (3,), {"others": lambda x: x.prod() / x}),
    ("permute", lambda x: x.permute(2, 0, 1), (2, 3, 4), {"reordered": lambda g: g.transpose(1, 2, 0)}),
    ("avg_pool", lambda x: F.avg_pool1d(x, 2), (1, 1, 4), {"spread": lambda g: np.repeat(g, 2, -1) / 2}),
    ("nll_loss", lambda x: F.nll_loss(x, bl.tensor([0, 2])), (2, 3), {"onehot": lambda i: np.eye(3)[i]}),
]


@pytest.mark.parametrize(("op", "function", "shape", "functions"), ROUTES)
def test_formulas_that_move_gradients_about(op, function, shape, functions):
    check(recorded(function, draw(*shape)), op, functions, {"N": 2})


ELEMENTWISE = sorted(
    name
    for name, entry in REGISTRY.items()
    if entry.definition is not None and issubclass(entry.definition, Elementwise) and entry.samples is not None
)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slopes_of_elementwise_operations_write_themselves_down(name):
    for sample in list(REGISTRY[name].samples(np.random.default_rng(1)))[:1]:
        leaves = [
            bl.tensor(a, requires_grad=a.dtype == np.float64) if isinstance(a, np.ndarray) else a for a in sample.args
        ]
        with bl.record() as rec:
            out = REGISTRY[name].function(*leaves, **sample.kwargs)
            out.backward(gradient=bl.tensor(np.random.default_rng(2).normal(size=out.shape)))
        for node in rec.operations:
            if issubclass(node.definition, Elementwise) and node.upstream is not None:
                check(rec, node.op)


@pytest.mark.parametrize(
    ("make", "formula", "label"),
    [
        (lambda x: bl.relu(x), "δ ⊙ relu′(x)", "⊙ relu′"),
        (lambda x: x @ bl.ones(3, 2), "δ bᵀ", "δ bᵀ"),
        (lambda x: x - 1.0, "δ", "× 1"),
        (lambda x: -x, "−δ", "× −1"),
        (lambda x: bl.softmax(x, dim=-1), "y ⊙ (δ − Σ_row(y ⊙ δ))", ""),
        (lambda x: F.dropout(x, 0.5), "δ ⊙ (m/(1 − p))", ""),
    ],
)
def test_rules_of_edges(make, formula, label):
    x = bl.randn(4, 3, requires_grad=True)
    y = make(x)
    rec = bl.explain(y.sum(), names={"y": y})
    edge = next(e for e in rec.node("y").inputs if e.source.name == "x")
    found = rule(edge)
    assert found.formula.replace("input", "b") == formula
    assert found.label.replace("input", "b") == label


def test_rules_of_own_operations_are_not_made_up():
    class Cube(bl.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            return 3 * ctx.saved_tensors[0] ** 2 * g

    x = bl.randn(3, requires_grad=True)
    rec = bl.explain(Cube.apply(x).sum())
    assert rule(rec.node("x").users[-1]) is None
    local = rec.to_dict()["passes"][0]["edges"][-1]["local"]
    assert local["kind"] == "unknown" and local["rule"] is None
