"""backlit doctor: verdicts on finished, failed and unfinished runs; one sentence for folders it cannot read."""

import json
import shutil

import pytest
from click.testing import CliRunner

from backlit.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of every kind, made once."""
    folder = tmp_path_factory.mktemp("runs")
    common = ["train", "moons", "--quiet", "--out"]
    invoke(*common, str(folder / "good"), "--epochs", "40")
    invoke(*common, str(folder / "slow"), "--epochs", "6", "--lr", "1e-7")
    invoke(*common, str(folder / "decay"), "--epochs", "6", "--weight-decay", "5")
    invoke(*common, str(folder / "failed"), "--epochs", "4", "--lr", "50", "--optimizer", "sgd")
    return folder


def invoke(*args):
    return CliRunner().invoke(main, list(args))


def copied(runs, name, tmp_path):
    return shutil.copytree(runs / name, tmp_path / name)


def kinds(folder):
    result = invoke("doctor", str(folder), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == (1 if told["findings"] else 0)
    return [finding["kind"] for finding in told["findings"]]


def test_a_good_run_gets_no_finding(runs):
    result = invoke("doctor", str(runs / "good"))
    assert result.exit_code == 0 and "Nothing is wrong" in result.stdout and "40 epochs" in result.stdout


def test_faults_are_named_with_evidence_and_remedy(runs):
    result = invoke("doctor", str(runs / "slow"))
    assert result.exit_code == 1
    assert "The learning rate is too low" in result.stdout and "1e-07" in result.stdout and "Try:" in result.stdout
    assert kinds(runs / "decay")[0] == "weight_decay_too_strong"


def test_a_run_that_failed_in_its_first_epoch(runs):
    assert kinds(runs / "failed")[:2] == ["diverged", "learning_rate_too_high"]
    assert "broke off" in invoke("doctor", str(runs / "failed")).stdout


def test_a_running_run_is_read_from_its_checkpoint(runs, tmp_path):
    folder = copied(runs, "slow", tmp_path)
    for name in ("weights.safetensors", "report.html", "metrics.csv"):
        (folder / name).unlink()
    told = json.loads(invoke("doctor", str(folder), "--json").stdout)
    assert told["state"] == "unfinished" and told["epochs"] == 6
    assert told["findings"][0]["kind"] == "learning_rate_too_low"


def test_weights_taken_away_from_a_finished_run_are_no_divergence(runs, tmp_path):
    folder = copied(runs, "good", tmp_path)
    (folder / "weights.safetensors").unlink()
    told = json.loads(invoke("doctor", str(folder), "--json").stdout)
    assert told["state"] == "finished" and told["findings"] == []


def test_a_line_that_is_being_written_is_left_out(runs, tmp_path):
    folder = copied(runs, "good", tmp_path)
    shutil.rmtree(folder / "checkpoints")
    table = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join(table[:-1]) + "\n" + table[-1][:5])
    told = json.loads(invoke("doctor", str(folder), "--json").stdout)
    assert told["epochs"] == 39


def test_nothing_in_the_folder_is_changed(runs):
    def contents():
        return {p: p.read_bytes() for p in (runs / "slow").rglob("*") if p.is_file()}

    before = contents()
    invoke("doctor", str(runs / "slow"))
    assert contents() == before


def test_data_that_are_gone_leave_the_curves(runs, tmp_path):
    folder = copied(runs, "slow", tmp_path)
    config = json.loads((folder / "config.json").read_text())
    config["data"]["sha256"] = "0"
    (folder / "config.json").write_text(json.dumps(config))
    result = invoke("doctor", str(folder))
    assert "data have changed" in result.stdout and "learning rate is too low" in result.stdout


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda f: shutil.rmtree(f), "no such folder"),
        (lambda f: (f / "config.json").unlink(), "not the folder of a run"),
        (lambda f: (f / "config.json").write_text("{"), "damaged"),
        (lambda f: (f / "config.json").write_text('{"format": 9}'), "damaged"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "damaged"),
        (lambda f: (f / "metrics.csv").write_text("epoch,loss\n1,abc\n"), "damaged"),
        (lambda f: (f / "metrics.csv").write_text("a,b\n1,2\n"), "no column of epochs"),
        (lambda f: (f / "metrics.csv").write_bytes(b"\xff\xff\x00"), "cannot be read"),
        (lambda f: (f / "layers.csv").write_text("epoch,layer,a,b\n1,x,y,z\n"), "damaged"),
        (lambda f: (f / "weights.safetensors").write_bytes(b"nothing"), "weights.safetensors"),
        (lambda f: next((f / "checkpoints").iterdir()).write_bytes(b"x" * 40), "checkpoint-"),
    ],
)
def test_damage_is_one_sentence_and_code_2(runs, tmp_path, damage, says):
    folder = copied(runs, "slow", tmp_path)
    damage(folder)
    result = invoke("doctor", str(folder))
    assert result.exit_code == 2 and says in result.stderr, result.output
    assert len(result.stderr.strip().splitlines()) == 1 and result.stderr.startswith("backlit: ")


def test_a_misspelt_folder_gets_a_suggestion(runs):
    assert "did you mean 'slow'" in invoke("doctor", str(runs / "slwo")).stderr


def test_a_rate_that_killed_a_layer_is_named_with_it(tmp_path):
    folder = tmp_path / "wild"
    options = ("--lr", "100", "--optimizer", "sgd", "--epochs", "2", "--out", str(folder))
    CliRunner().invoke(main, ["train", "digits", *options])
    result = CliRunner().invoke(main, ["doctor", str(folder)])
    assert result.exit_code == 1
    assert "learning rate is too high" in result.output.lower() and "whole layer is dead" in result.output
