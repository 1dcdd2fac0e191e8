"""What to write instead of what a formula cannot hold."""

from __future__ import annotations

import ast
import keyword
import re

_REFUSED: dict[type[ast.AST], str] = {
    ast.BitXor: "'^' is not a power here; write x**2",
    ast.BitOr: "'|' is not supported; for the absolute value write abs(x)",
    ast.FloorDiv: "'//' has no useful gradient; use '/'",
    ast.Mod: "'%' is not supported; use + - * / ** @",
    ast.Compare: "comparisons are not supported; use relu, max, min or abs",
    ast.BoolOp: "'and' and 'or' are not supported; use max and min",
    ast.IfExp: "'if' is not supported; use relu, max, min or abs",
    ast.Lambda: "functions cannot be defined here",
    ast.NamedExpr: "a step is named with '=', as in s = x + y; s**2",
    ast.Tuple: "write lists with [ and ], and steps with ; between",
    ast.JoinedStr: "text is not a value here; values are numbers",
}

_CHARACTERS = {
    "−": "-",
    "–": "-",
    "×": "*",
    "·": "*",
    "⋅": "*",
    "∗": "*",
    "÷": "/",
    "²": "**2",
    "³": "**3",
    "√": "sqrt(…)",
    "∑": "sum(…)",
    "“": '"',
    "”": '"',
}
"""Characters of typeset mathematics, and what is written for them here."""

OTHER_NAMES = {
    "ln": "log",
    "lg": "log10",
    "σ": "sigmoid",
    "sig": "sigmoid",
    "logistic": "sigmoid",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "average": "mean",
    "swish": "silu",
    "fabs": "abs",
    "clip": "clamp",
    "power": "pow",
    "T": "transpose",
    "nll": "nll_loss",
    "mae": "l1",
    "binary_crossentropy": "bce",
}
"""What functions are called elsewhere."""


def refusal(tree: ast.expr, text: str) -> str:
    """Why a part of the syntax tree is not taken, and what to write."""
    match tree:
        case ast.Call(func=ast.Attribute(value=ast.Name(), attr=name)) | ast.Attribute(attr=name):
            name = OTHER_NAMES.get(name, name)
            return f"attributes are not supported; write {name}(x), not x.{name}()"
        case ast.Call(func=ast.Constant()):
            return "only a function's name can be called; write a product with '*', as in 2*(x + 1)"
        case ast.Call():
            return "only a function's name can be called"
    kind: type[ast.AST] = type(tree.op) if isinstance(tree, (ast.BinOp, ast.UnaryOp)) else type(tree)
    return _REFUSED.get(kind, "this is not supported; use numbers, names, + - * / ** @, lists and functions")


def syntax_message(text: str, error: SyntaxError) -> str:
    """What is wrong with a text that Python's grammar does not take."""
    reason = str(error.msg or "")
    if "never closed" in reason or "unmatched" in reason or "does not match" in reason:
        return f"the brackets do not match: {reason}"
    if "too many nested" in reason:
        return "the expression is nested too deeply"
    typeset = next((c for c in text if c in _CHARACTERS), None)
    if typeset is not None and "invalid" in reason:
        return f"'{typeset}' cannot be read here; write {_CHARACTERS[typeset]}"
    if "decimal literal" in reason:
        return "a number runs into a name; write the product out, as in 2*x"
    reserved = next((word for word in re.findall(r"[^\W\d]\w*", text) if keyword.iskeyword(word)), None)
    if reserved is not None and reserved not in ("True", "False", "None"):
        return f"'{reserved}' is a reserved word; call the variable something else, such as {reserved[:3]}_"
    if "|" in text:
        return _REFUSED[ast.BitOr]
    if "assign" in reason:
        return "only a name can stand before '=', as in s = x + y; s**2"
    if re.search(r"\[[^\]]*[\w.\]]\s+[-\w.\[]", text):
        return "the list cannot be read; is a ',' missing between two of its elements?"
    if re.search(r"\w\s+[\w(]", text):
        return "the expression cannot be read here; is a '*' missing?"
    return "the expression cannot be read here"
