"""A training run for `test_train_kill.py` to kill: everything that has state, checkpoints every few batches.

Usage: killed_run.py FOLDER [EPOCHS] [WAIT]. Goes on from the newest checkpoint in FOLDER, and when it is done writes
FOLDER/final: weights, history, statistics and the state of the random numbers.
"""

import sys
import time
from pathlib import Path


def main(folder, epochs, wait):
    import backlit as bl
    from backlit import nn
    from backlit.datasets import digits
    from backlit.datasets.augment import Compose, Noise, Shift
    from backlit.train import Callback, CheckpointEvery, EarlyStopping, LayerStatistics, fit

    class Pause(Callback):
        def on_batch_end(self, trainer):
            time.sleep(wait)

    data = digits()
    x, y = (data.x_train[:300] / 16.0).astype("float32"), data.y_train[:300]
    bl.manual_seed(1)
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Dropout(0.3), nn.Linear(24, 10)
    )
    statistics = LayerStatistics()
    history = fit(
        model,
        (x, y),
        optimizer=lambda parameters: bl.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True),
        scheduler=lambda optimizer: bl.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=epochs * 13),
        epochs=epochs,
        batch_size=20,
        augment=Compose([Shift(1), Noise(0.05)]),
        validation_split=0.15,
        metrics=["accuracy", "f1"],
        clip_grad_norm=5.0,
        l2=1e-4,
        early_stopping=EarlyStopping(patience=100),
        callbacks=[statistics, Pause()],
        checkpoint=CheckpointEvery(folder, every_n_batches=2, keep=2),
        resume="auto",
        seed=7,
        progress=False,
    )
    final = {
        "weights": dict(model.state_dict()),
        "columns": history.columns,
        "best": history.best_epoch,
        "statistics": [statistics.gradient_norm, statistics.update_ratio],
        "random": bl.get_rng_state(),
    }
    bl.save(final, Path(folder) / "final")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
