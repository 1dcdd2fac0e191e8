"""The Keras-shaped facade, as its users write it."""

import numpy as np
import pytest

import backlit as tf
from backlit.datasets import digits
from backlit.errors import OperationError

keras = tf.keras


@pytest.fixture(scope="module")
def data():
    return digits().scaled()


def classifier(**options):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(64, activation="relu"), keras.layers.Dense(10, activation="softmax")])
    settings = {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
    model.compile(**(settings | options))
    return model


def test_the_program_from_the_front_page(data):
    model = classifier()
    history = model.fit(data.x_train, data.y_train, epochs=10, verbose=0)
    assert list(history.history) == ["loss", "accuracy", "lr"]
    assert len(history.history["loss"]) == 10
    loss, accuracy = model.evaluate(data.x_test, data.y_test)
    assert accuracy > 0.93
    probabilities = model.predict(data.x_test)
    assert probabilities.shape == (len(data.x_test), 10)
    np.testing.assert_allclose(probabilities.sum(1), 1.0, rtol=1e-5)
    assert np.mean(probabilities.argmax(1) == data.y_test) == pytest.approx(accuracy)
    picked = probabilities[np.arange(len(data.y_test)), data.y_test]
    assert -np.log(picked).mean() == pytest.approx(loss, rel=1e-4)


def test_one_hot_targets_give_the_same_training(data):
    x, y = data.x_train[:320], data.y_train[:320]
    a = classifier().fit(x, y, epochs=2, verbose=0).history
    dense = classifier(loss="categorical_crossentropy")
    b = dense.fit(x, keras.utils.to_categorical(y, 10), epochs=2, verbose=0).history
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    assert a["accuracy"] == b["accuracy"]


def test_loss_on_probabilities_where_logits_cannot_be_had(data):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(10), keras.layers.Softmax(), keras.layers.Dropout(0.0)]
    model = keras.Sequential(layers)
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = data.x_train[:64], data.y_train[:64]
    loss = model.evaluate(x, y)
    picked = model.predict(x)[np.arange(64), y]
    assert loss == pytest.approx(-np.log(picked).mean(), rel=1e-4)


def test_binary_classifier_and_validation_split():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2)).astype("float32")
    y = (x[:, 0] + x[:, 1] > 0).astype(int)
    model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid", input_shape=(2,))])
    model.compile(keras.optimizers.SGD(0.5), "binary_crossentropy", metrics=["accuracy"])
    history = model.fit(x, y, epochs=20, validation_split=0.25, verbose=0).history
    assert history["val_accuracy"][-1] > 0.95
    assert model.evaluate(x, y, return_dict=True)["accuracy"] > 0.95


def test_regression_with_penalty_shows_it_in_the_loss():
    x = np.linspace(-1, 1, 50, dtype="float32")[:, None]
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_regularizer=keras.regularizers.l2(0.5))])
    model.compile("sgd", "mse", metrics=["mae"])
    weight = model.get_weights()[0]
    plain = float(np.mean((model.predict(x) - 2 * x) ** 2))
    assert model.evaluate(x, 2 * x)[0] == pytest.approx(plain + 0.5 * float((weight**2).sum()), rel=1e-5)


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(("kernel", "stride", "size"), [(3, 1, 8), (2, 1, 7), (3, 2, 8), ((2, 3), 2, 9)])
def test_convolution_sizes_and_order_of_channels(padding, kernel, stride, size):
    model = keras.Sequential(
        [keras.Input((size, size, 2)), keras.layers.Conv2D(5, kernel, strides=stride, padding=padding)]
    )
    x = np.random.default_rng(0).normal(size=(3, size, size, 2)).astype("float32")
    out = model.predict(x)
    assert out.shape[1:] == model.output_shape[1:]
    kh, kw = (kernel, kernel) if isinstance(kernel, int) else kernel
    expect = -(-size // stride) if padding == "same" else (size - kh) // stride + 1
    assert out.shape[1] == expect
    weight = model.get_weights()[0]
    top = max((expect - 1) * stride + kh - size, 0) // 2 if padding == "same" else 0
    wide = -(-size // stride) if padding == "same" else (size - kw) // stride + 1
    left = max((wide - 1) * stride + kw - size, 0) // 2 if padding == "same" else 0
    padded = np.pad(x, ((0, 0), (top, kh), (left, kw), (0, 0)))
    corner = np.einsum("nhwc,fchw->nf", padded[:, :kh, :kw], weight)
    np.testing.assert_allclose(out[:, 0, 0], corner, rtol=1e-4, atol=1e-5)


def test_small_convolutional_network_learns():
    images = digits()
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(8, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images.x_train[..., None] / 16.0, images.y_train, epochs=4, verbose=0)
    assert model.evaluate(images.x_test[..., None] / 16.0, images.y_test)[1] > 0.9


def test_callbacks(tmp_path, data):
    seen = []

    class Spy(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append((epoch, sorted(logs)))
            self.model.stop_training = epoch == 2

    model = classifier()
    saved = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.safetensors"), monitor="loss", save_best_only=True)
    log = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    rates = keras.callbacks.LearningRateScheduler(lambda epoch, rate: 0.1 / (epoch + 1))
    model.fit(data.x_train[:64], data.y_train[:64], epochs=9, verbose=0, callbacks=[Spy(), saved, log, rates])
    assert [epoch for epoch, _ in seen] == [0, 1, 2]
    assert model.optimizer.learning_rate == pytest.approx(0.1 / 3)
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 4
    other = classifier()
    other.build((64,))
    other.load_weights(tmp_path / "best.safetensors")
    assert other.predict(data.x_test[:3]).shape == (3, 10)


def test_early_stopping_and_plateau(data):
    model = classifier(optimizer=keras.optimizers.SGD(0.0))
    stop = keras.callbacks.EarlyStopping(monitor="loss", patience=3)
    plateau = keras.callbacks.ReduceLROnPlateau(monitor="loss", factor=0.5, patience=1)
    history = model.fit(data.x_train[:64], data.y_train[:64], epochs=50, verbose=0, callbacks=[stop, plateau])
    assert len(history.history["loss"]) < 50


def test_weights_round_trip(tmp_path, data):
    model, other = classifier(), classifier()
    model.fit(data.x_train[:64], data.y_train[:64], verbose=0)
    other.build((64,))
    other.set_weights(model.get_weights())
    np.testing.assert_array_equal(model.predict(data.x_test[:5]), other.predict(data.x_test[:5]))
    with pytest.raises(OperationError, match="has 4 weights, 1 were given"):
        other.set_weights([np.zeros(3)])


def test_summary(capsys):
    model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(256, "relu"), keras.layers.Dense(10)])
    model.summary()
    text = capsys.readouterr().out
    assert "200,960" in text
    assert "203,530" in text
    assert "(None, 256)" in text


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: keras.layers.Dense(3, activation="rely", input_shape=(2,)), "did you mean 'relu'"),
        (lambda: classifier(optimizer="adm"), "did you mean 'adam'"),
        (lambda: classifier(loss="crossentropy"), "unknown loss"),
        (lambda: keras.Sequential([3]), "is no layer"),
        (lambda: keras.Sequential([keras.layers.Dense(3)]).summary(), "input_shape="),
        (lambda: keras.Sequential([keras.Input((3,)), keras.layers.Conv2D(1, 3)]), "height, width, channels"),
    ],
)
def test_mistakes_are_explained(build, message):
    with pytest.raises(OperationError, match=message):
        made = build()
        keras.Sequential([made])


def test_fit_before_compile_is_explained():
    with pytest.raises(OperationError, match="compile"):
        keras.Sequential([keras.layers.Dense(1)]).fit(np.zeros((4, 2)), np.zeros(4))


def test_jit_compile_chooses_native_code_and_the_results_are_the_same(data, monkeypatch):
    from backlit.train import native

    made = []
    run = native.Native.run
    monkeypatch.setattr(native.Native, "run", lambda self, batch: [made.append(run(self, batch)), made[-1]][1])
    x, y = data.x_train[:200], data.y_train[:200]
    losses = {}
    for name, options in {
        "eager": {"run_eagerly": True},
        "never": {"jit_compile": False},
        "always": {"jit_compile": True},
        "auto": {},
    }.items():
        made.clear()
        model = classifier(**options)
        losses[name] = model.fit(x, y, epochs=2, verbose=0, batch_size=50).history["loss"]
        losses[name] += [model.evaluate(x, y)[0], float(model.predict(x).mean())]
        assert sum(batch is not None for batch in made) == (8 + 7 + 7 if name == "always" else 0)
    assert losses["eager"] == losses["never"] == losses["auto"]
    assert losses["always"] == pytest.approx(losses["eager"], rel=1e-4)
    with pytest.raises(OperationError, match="exclude"):
        classifier(run_eagerly=True, jit_compile=True)
    with pytest.raises(OperationError, match="jit_compile"):
        classifier(jit_compile="yes")
