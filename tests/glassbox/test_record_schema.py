"""The JSON Schema in docs/ holds for every document that is written, and names every field in it."""

import copy
import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import pytest

import backlit as bl
from backlit.glassbox.record import file
from backlit.glassbox.record.schema import VERSION
from backlit.glassbox.record.settings import DTYPES
from backlit.ops.registry import REGISTRY
from backlit.serialization import unpack

DOCS = Path(__file__).parents[2] / "docs"
SCHEMA = json.loads((DOCS / "schema" / f"record-{VERSION}.json").read_text(encoding="utf-8"))


def closed(schema):
    """The schema with every object closed: a field that it does not name is an error."""
    if isinstance(schema, list):
        return [closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        out.setdefault("additionalProperties", False)
    return out


CHECK = jsonschema.Draft202012Validator(closed(SCHEMA))


class Square(bl.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 2 * x


def network(keep):
    bl.manual_seed(0)
    layers = [bl.nn.Linear(4, 70), bl.nn.ReLU(), bl.nn.Dropout(0.5), bl.nn.Linear(70, 3)]
    net = bl.nn.Sequential(*layers)
    with bl.record(keep=keep, title="two steps") as rec:
        for _ in range(2):
            loss = bl.nn.functional.cross_entropy(net(bl.randn(5, 4)), bl.tensor([0, 1, 2, 0, 1]))
            loss.backward()
    return rec


def unusual():
    """Own operations, views and writes, numbers that are not finite, a gradient of a gradient, empty arrays."""
    x = bl.tensor([0.0, 4.0], requires_grad=True)
    with bl.record() as rec:
        y = Square.apply(x.view(2, 1).expand(2, 3).T)
        y[0] = y[1] * bl.tensor(True)
        z = bl.log(x).sum() + y.mean() + x[2:].sum()
        (g,) = bl.autograd.grad(z, x, create_graph=True)
        (g * 0.0).sum().backward()
    return rec


def unwalked():
    with bl.record() as rec:
        bl.tensor([1, 2]).sum()
    return rec


RECORDS = {
    "a network": lambda: network("all"),
    "statistics": lambda: network("stats"),
    "a filter": lambda: network(lambda brief: brief.op == "relu"),
    "unusual": unusual,
    "no backward pass": unwalked,
}


def document_in(rec):
    arrays, _ = unpack(file.dumps(rec), "")
    return json.loads(arrays[file.DOCUMENT].tobytes())


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["$defs"]["dtype"]["enum"]) == set(DTYPES)
    assert SCHEMA["properties"]["version"]["const"] == VERSION


@pytest.mark.parametrize("which", RECORDS)
def test_documents_of_records_fit_the_schema(which):
    rec = RECORDS[which]()
    for document in (rec.to_dict(), rec.to_dict(inline=False), document_in(rec)):
        CHECK.validate(json.loads(json.dumps(document, allow_nan=False)))


@pytest.mark.parametrize(
    "name", ["max_pool2d", "einsum", "cross_entropy", "dropout", "index_put", "where", "split", "add"]
)
def test_documents_of_operations_fit_the_schema(name):
    for sample in REGISTRY[name].samples(np.random.default_rng(0)):
        arguments = [bl.tensor(a) if isinstance(a, np.ndarray) else a for a in sample.args]
        with bl.record() as rec:
            REGISTRY[name].function(*arguments, **sample.kwargs)
        CHECK.validate(document_in(rec))


@pytest.mark.parametrize("damage", ["missing", "unnamed", "another kind"])
def test_the_check_can_fail(damage):
    document = copy.deepcopy(unwalked().to_dict())
    if damage == "missing":
        del document["nodes"][0]["shape"]
    elif damage == "unnamed":
        document["nodes"][0]["colour"] = "red"
    else:
        document["nodes"][0]["shape"] = [-1]
    with pytest.raises(jsonschema.ValidationError):
        CHECK.validate(document)


def test_docs_name_every_field():
    text = (DOCS / "record.md").read_text(encoding="utf-8")
    objects = [SCHEMA, *SCHEMA["$defs"].values(), *(p["items"] for p in SCHEMA["$defs"]["pass"]["properties"].values())]
    fields = {field for part in objects for field in part.get("properties", ())}
    assert [field for field in sorted(fields) if f"`{field}`" not in text] == []


def test_the_example_in_the_docs_is_what_is_written():
    text = (DOCS / "record.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# a record as JSON\n.*?)```", text, re.DOTALL)[1]
    shown = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])
    space = {}
    exec(compile(code, "lecture.py", "exec"), space)
    node = json.loads(json.dumps(space["rec"].to_dict()["nodes"][shown["id"]]))
    assert {**node, "source": None, "expression": None} == {**shown, "source": None, "expression": None}
