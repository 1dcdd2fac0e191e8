"""The page as a file: complete, with a strict policy, and proof against hostile names."""

import base64
import hashlib
import json
import re

from viewer_records import EVIL, circuit, hostile, transformer

from backlit.glassbox.viewer import html
from backlit.glassbox.viewer.page import as_script_text


def record_in(text):
    return re.search(r'<script type="application/json" id="record">(.*?)</script>', text, re.DOTALL)[1]


def test_page_is_written_or_returned(tmp_path):
    rec = circuit()
    assert html(rec, tmp_path / "page.html") is None
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == html(rec)


def test_title():
    assert "<title>f = (x + y) · z · Backlit</title>" in html(circuit())
    assert "<title>another · Backlit</title>" in html(circuit(), title="another")


def test_policy_allows_exactly_what_is_there():
    text = html(circuit())
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    for kind, pattern in (
        ("script", r"<script(?: type=\"module\")?>(.*?)</script>"),
        ("style", r"<style>(.*?)</style>"),
    ):
        found = re.findall(pattern, text, re.DOTALL)
        allowed = re.search(rf"{kind}-src ([^;]*)", policy)[1]
        hashes = {base64.b64encode(hashlib.sha256(part.encode()).digest()).decode() for part in found}
        assert set(re.findall(r"'sha256-([^']*)'", allowed)) == hashes
        assert "unsafe-inline" not in allowed and "'unsafe-eval'" not in allowed
    assert "connect-src" not in policy and "http" not in policy


def test_nothing_is_loaded():
    text = html(circuit())
    markup = re.sub(r"<script.*?</script>|<style>.*?</style>", "", text, flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)', markup) == []


def test_record_cannot_leave_its_element():
    text = html(hostile())
    data = record_in(text)
    assert not re.search("[<>&\u2028\u2029]", data)
    names = {node["name"] for node in json.loads(data)["record"]["nodes"]}
    assert EVIL[1] in names
    assert text.count("<script") == 3 and "<img" not in text


def test_escaped_text_is_the_same_json():
    value = {"<a>": "&\u2028\u2029</script>", "b": [1.5, None]}
    assert json.loads(as_script_text(value)) == value


def test_large_records_are_slimmed():
    text = html(transformer(12))
    assert len(text) < 5e6
    data = json.loads(record_in(text))["record"]
    pictures = [node["value"]["picture"] for node in data["nodes"] if node["value"] and "picture" in node["value"]]
    assert pictures and max(max(p["rows"], p["columns"]) for p in pictures) <= 12
    (walked,) = data["passes"]
    assert all("picture" not in edge["downstream"] for edge in walked["edges"])
    assert all("picture" not in leaf["after"] for leaf in walked["leaves"] if leaf["after"])
