"""`backlit train` for real: what a run leaves behind, that it can be repeated and resumed, and what hostile data do."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import load_file

from backlit.cli import main
from backlit.cli.prepare import load, prepare
from backlit.cli.settings import settle
from backlit.datasets import digits, write_idx

COMMAND = [sys.executable, "-c", "import sys; sys.argv[0] = 'backlit'; from backlit.cli import main; main()"]
ALONE = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(line, code=0):
    result = CliRunner().invoke(main, ["train", *line.split()])
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_a_run_leaves_everything_behind():
    shown = train("moons --epochs 3 --layers 8,4 --seed 5").stdout
    folder = Path("runs/moons-1")
    assert "epoch 3/3" in shown and "test accuracy" in shown and str(folder / "report.html") in shown
    assert {p.name for p in folder.iterdir()} == {
        "config.json", "metrics.csv", "layers.csv", "weights.safetensors", "report.html", "checkpoints",
    }  # fmt: skip
    config = json.loads((folder / "config.json").read_text())
    assert config["settings"]["layers"] == [8, 4] and config["settings"]["seed"] == 5
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert set(rows[0]) == {"epoch", "loss", "accuracy", "val_loss", "val_accuracy", "lr"}
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    weights = load_file(folder / "weights.safetensors")
    assert weights["hidden1.weight"].shape == (8, 2) and weights["output.bias"].shape == (2,)
    for title in ("Loss and accuracy", "Gradient check", "Confusion matrix", "Decision regions"):
        assert title in (folder / "report.html").read_text()
    assert 'class="bad">✗' not in (folder / "report.html").read_text()


def test_scaling_is_of_the_training_rows_alone_and_kept_with_the_weights():
    train("moons --epochs 1 --quiet --seed 3")
    weights = load_file("runs/moons-1/weights.safetensors")
    settings = settle("moons", {"seed": 3})
    data = load(settings)
    prepared = prepare(settings, data)
    rows = prepared.features.inverse(prepared.train.x.astype(np.float64))
    assert len(rows) < len(data.x_train)
    assert np.allclose(weights["scaling.features.mean"], rows.mean(axis=0), atol=1e-5)
    assert np.allclose(weights["scaling.features.scale"], rows.std(axis=0), atol=1e-5)
    assert not np.allclose(weights["scaling.features.mean"], data.x_train.mean(axis=0), atol=1e-6)


def test_validation_rows_are_not_trained_on():
    settings = settle("digits", {"validation_fraction": 0.25})
    prepared = prepare(settings, digits())
    together = np.concatenate([prepared.train.x, prepared.validation.x])
    expected = digits().scaled().x_train
    assert len(prepared.validation) == round(0.25 * len(expected))
    assert sorted(map(bytes, together)) == sorted(map(bytes, expected))


def test_the_same_seed_gives_the_same_bytes_and_another_does_not():
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(f"moons --epochs 2 --quiet --seed {seed} --out {out} --layers 8")
    a, b, c = (Path(out, "weights.safetensors").read_bytes() for out in "abc")
    assert a == b != c


def test_the_step_is_compiled_unless_eager_is_asked_for(monkeypatch):
    from backlit.train import native

    made = []
    run = native.Native.run
    monkeypatch.setattr(native.Native, "run", lambda self, batch: [made.append(run(self, batch)), made[-1]][1])
    results = {}
    for options in ("", "--eager"):
        made.clear()
        shown = train(f"moons --epochs 20 --layers 8 --dropout 0.1 {options} --out run{options}").stdout
        results[options] = float(re.search(r"test accuracy +([0-9.]+)", shown)[1])
        trained = [batch for batch in made if isinstance(batch, tuple) and len(batch) == 3]
        assert bool(trained) == (not options)
        assert "eagerly" not in shown
        assert json.loads(Path(f"run{options}/config.json").read_text())["settings"]["eager"] is bool(options)
    assert results[""] == pytest.approx(results["--eager"], abs=2.0)


def test_nothing_is_overwritten_unless_forced():
    train("moons --epochs 1 --quiet")
    train("moons --epochs 1 --quiet")
    assert sorted(p.name for p in Path("runs").iterdir()) == ["moons-1", "moons-2"]
    before = Path("runs/moons-1/report.html").read_bytes()
    assert "not empty" in train("moons --epochs 2 --out runs/moons-1", code=2).stderr
    assert Path("runs/moons-1/report.html").read_bytes() == before
    Path("runs/moons-1/mine.txt").write_text("keep")
    train("moons --epochs 2 --quiet --force --out runs/moons-1")
    assert Path("runs/moons-1/metrics.csv").read_text().count("\n") == 3
    assert Path("runs/moons-1/mine.txt").read_text() == "keep"


def test_quiet_prints_the_result_only():
    lines = train("moons --epochs 2 --quiet").stdout.splitlines()
    assert lines[0].startswith("test accuracy") and lines[-1].startswith("report: ") and len(lines) <= 7


@pytest.mark.parametrize(
    "options",
    [
        "--activation tanh --optimizer sgd --momentum 0.9 --batch-size full",
        "--loss hinge --optimizer rmsprop --momentum 0.5 --l1 0.001",
        "--loss mse --optimizer adamw --weight-decay 0.1 --clip 1",
        "--layers none --validation-fraction 0 --optimizer adagrad",
        "--dropout 0.3 --early-stopping 2 --optimizer adadelta --activation gelu",
        "--batch-size 1 --activation sigmoid --l2 0.01",
        "--batch-size 100000 --activation leaky_relu --threads 2",
    ],
)
def test_options(options):
    train(f"moons --epochs 2 --quiet {options}")
    assert "Gradient check" in Path("runs/moons-1/report.html").read_text()


def test_regression():
    rng = np.random.default_rng(0)
    rows = rng.random((300, 2))
    lines = "".join(f"{a},{b},{1000 * a * b + 500}\n" for a, b in rows)
    Path("prices.csv").write_text(f"a,b,price\n{lines}")
    shown = train("csv prices.csv --target price --quiet").stdout
    assert float(re.search(r"R²\s+([\d.]+)", shown)[1]) > 0.95
    assert float(re.search(r"RMSE\s+([\d.]+)", shown)[1]) < 60
    page = Path("runs/prices-1/report.html").read_text()
    assert "Predicted against true" in page and "Confusion" not in page
    weights = load_file("runs/prices-1/weights.safetensors")
    assert 600 < weights["scaling.targets.mean"][0] < 900


def test_images_from_idx_files():
    data = digits()
    parts = {"train": (data.x_train[:200], data.y_train[:200]), "t10k": (data.x_test[:50], data.y_test[:50])}
    Path("mnist").mkdir()
    for part, (images, labels) in parts.items():
        write_idx(f"mnist/{part}-images-idx3-ubyte.gz", images)
        write_idx(f"mnist/{part}-labels-idx1-ubyte", labels.astype(np.uint8))
    train("mnist --data mnist --epochs 2 --quiet --augment --layers 16")
    assert load_file("runs/mnist-1/weights.safetensors")["scaling.pixel_max"] == 255
    assert "data:image/png;base64," in Path("runs/mnist-1/report.html").read_text()


def test_hostile_tables():
    evil = ["</script><script>alert(1)</script>", '"><img src=x onerror=alert(2)>', "[bold]x[/bold]", "\x1b[2J"]
    rng = np.random.default_rng(0)
    with open("evil.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*evil[:3], "target <b>"])
        for i in range(120):
            writer.writerow([*rng.normal(size=2), evil[i % 3], evil[i % 4]])
    result = CliRunner().invoke(main, ["train", "csv", "evil.csv", "--target", "target <b>", "--epochs", "2"])
    assert result.exit_code == 0, result.output
    page = Path("runs/evil-1/report.html").read_text()
    assert "<script" not in page and "<img src=x" not in page and "target &lt;b&gt;" in page
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("rows", [2, 3, 5, 12])
def test_tiny_tables(rows):
    Path("tiny.csv").write_text("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(rows)))
    train("csv tiny.csv --target y --epochs 2 --quiet")
    assert Path("runs/tiny-1/report.html").exists()


def test_divergence_is_told_and_reported():
    result = train("moons --optimizer sgd --lr 1e30 --epochs 5", code=1)
    assert "The training diverged" in result.stderr and "--lr" in result.stderr
    assert "The training diverged" in Path("runs/moons-1/report.html").read_text()
    assert not Path("runs/moons-1/weights.safetensors").exists()


def test_a_run_can_be_lengthened():
    train("moons --epochs 4 --quiet --out whole")
    train("moons --epochs 2 --quiet --out part")
    train("--resume part --epochs 4 --quiet")
    for name in ("weights.safetensors", "metrics.csv"):
        assert Path("whole", name).read_bytes() == Path("part", name).read_bytes()
    assert json.loads(Path("part/config.json").read_text())["settings"]["epochs"] == 4
    assert "can only grow" in train("--resume part --epochs 3", code=2).stderr


def test_resume_notices_changed_data_and_damaged_files():
    Path("t.csv").write_text("x,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(40)))
    train("csv t.csv --target y --epochs 2 --quiet --out run")
    table = Path("t.csv").read_text()
    Path("t.csv").write_text(table.replace("3,b", "3,a"))
    assert "the data have changed" in train("--resume run", code=2).stderr
    Path("t.csv").write_text(table)
    (checkpoint,) = Path("run/checkpoints").iterdir()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    message = train("--resume run", code=2).stderr
    assert "Traceback" not in message and checkpoint.name in message
    config = json.loads(Path("run/config.json").read_text())
    for damage in ({"lr": "x"}, {"layers": 3}, {"epochs": None}):
        Path("run/config.json").write_text(json.dumps({**config, "settings": {**config["settings"], **damage}}))
        assert "damaged" in train("--resume run", code=2).stderr


def started(line, until):
    """A real process, running until a file matching ``until`` exists."""
    process = subprocess.Popen(
        [*COMMAND, "train", *line.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ALONE
    )
    deadline = time.monotonic() + 60
    while not list(Path().glob(until)):
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()
        time.sleep(0.01)
    return process


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, getattr(signal, "SIGKILL", 9)])
def test_interrupted_and_resumed_is_the_same_bit_for_bit(number):
    options = "spirals --layers 16 --epochs 60 --dropout 0.1"
    train(f"{options} --quiet --out whole")
    process = started(f"{options} --out part", "part/checkpoints/checkpoint-*.safetensors")
    process.send_signal(number)
    out, error = process.communicate(timeout=60)
    assert not Path("part/report.html").exists()
    if number == signal.SIGINT:
        assert process.returncode == 130 and "Traceback" not in error
        assert "backlit train --resume part" in out
    train("--resume part --quiet")
    for name in ("weights.safetensors", "metrics.csv", "layers.csv"):
        assert Path("whole", name).read_bytes() == Path("part", name).read_bytes(), name


def test_digits_reach_97_percent():
    shown = train("digits --quiet").stdout
    assert float(re.search(r"test accuracy\s+([\d.]+)%", shown)[1]) >= 97
    assert Path("runs/digits-1/report.html").stat().st_size < 300_000


@pytest.mark.slow
def test_digits_take_less_than_20_seconds():
    begun = time.monotonic()
    subprocess.run([*COMMAND, "train", "digits"], check=True, capture_output=True)
    assert time.monotonic() - begun < 20


def test_the_plane_is_learned():
    shown = train("moons --quiet").stdout + train("spirals --quiet").stdout
    accuracies = [float(a) for a in re.findall(r"test accuracy\s+([\d.]+)%", shown)]
    assert min(accuracies) >= 95
