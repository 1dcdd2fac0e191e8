"""Networks as scikit-learn estimators: in pipelines, grid searches, cross-validation. Needs the ``sklearn`` extra.

>>> from sklearn.datasets import load_iris
>>> from sklearn.pipeline import make_pipeline
>>> from sklearn.preprocessing import StandardScaler
>>> from backlit.train.estimators import NetworkClassifier
>>> x, y = load_iris(return_X_y=True)
>>> flowers = make_pipeline(StandardScaler(), NetworkClassifier(hidden_sizes=(16,), lr=0.01, random_state=0))
>>> flowers.fit(x, y).score(x, y) > 0.9
True
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import RLock
from typing import Any

import numpy as np

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "backlit.train.estimators needs scikit-learn 1.6 or newer: pip install 'backlit[sklearn]'."
    ) from error

from .. import nn
from ..errors import OperationError
from ..random import default_generator, fork_rng, manual_seed
from .callbacks import Callback, EarlyStopping
from .choices import Loss, LossFunction, resolve_optimizer
from .evaluation import predict
from .fit import fit

Array = np.ndarray[Any, Any]

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "gelu": nn.GELU, "silu": nn.SiLU}


_TRAINING = RLock()


@contextmanager
def _alone() -> Iterator[None]:
    """A block whose draws from the library's generator nobody else sees: searches may train in several threads."""
    with _TRAINING, fork_rng():
        yield


class _Network(BaseEstimator):
    """What both estimators share; see :class:`NetworkClassifier` for the parameters."""

    _LOSS: str
    _ONE_OUTPUT: str

    def __init__(
        self,
        module: Any = None,
        *,
        hidden_sizes: int | Sequence[int] = (100,),
        activation: str = "relu",
        loss: str | LossFunction | Loss | None = None,
        optimizer: Any = "adam",
        lr: float | None = None,
        weight_decay: float | None = None,
        epochs: int = 50,
        batch_size: int | str | None = 32,
        scheduler: Any = None,
        clip_grad_norm: float | None = None,
        validation_split: float | None = None,
        early_stopping: EarlyStopping | None = None,
        callbacks: Sequence[Callback] = (),
        random_state: Any = None,
        progress: str | bool = False,
        compile: str | bool = "auto",
    ) -> None:
        self.module = module
        self.hidden_sizes = hidden_sizes
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.scheduler = scheduler
        self.clip_grad_norm = clip_grad_norm
        self.validation_split = validation_split
        self.early_stopping = early_stopping
        self.callbacks = callbacks
        self.random_state = random_state
        self.progress = progress
        self.compile = compile

    # -- the network ------------------------------------------------------------------------------------------------

    def _make(self, features: int, outputs: int) -> nn.Module:
        """A network of one's own: a copy of ``module``, what it makes as a function, or a perceptron."""
        if isinstance(self.module, nn.Module):
            return copy.deepcopy(self.module)
        if self.module is not None:
            made = self.module(features, outputs)
            if not isinstance(made, nn.Module):
                raise OperationError(
                    f"{type(self).__name__}: module({features}, {outputs}) gave a {type(made).__name__}, but an "
                    "nn.Module is needed."
                )
            return made
        if self.activation not in _ACTIVATIONS:
            raise OperationError(
                f"{type(self).__name__}: activation must be one of {', '.join(_ACTIVATIONS)}, got {self.activation!r}."
            )
        hidden = [int(size) for size in np.atleast_1d(self.hidden_sizes)]
        if min(hidden, default=1) < 1:
            raise OperationError(f"{type(self).__name__}: hidden_sizes must be at least 1, got {self.hidden_sizes!r}.")
        layers: list[nn.Module] = []
        sizes = [features, *hidden]
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), _ACTIVATIONS[self.activation]()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))

    def _train_new(self, x: Array, y: Array, outputs: int, metrics: tuple[str, ...], **options: Any) -> None:
        """A new network, drawn from ``random_state`` and trained."""
        if hasattr(self.optimizer, "param_groups"):
            raise OperationError(
                f"{type(self).__name__}: the network is made in fit, so optimizer must be a name or a function of its "
                f"parameters, not an {type(self.optimizer).__name__} of others."
            )
        with _alone():
            manual_seed(int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max)))
            module = self._make(x[0].size, outputs)
            made = predict(module, x[:1], compile=False).shape
            if made != (1, outputs):
                raise OperationError(
                    f"{type(self).__name__}: for one sample the module gives outputs of shape {made}, but "
                    f"(1, {outputs}) is needed: {self._ONE_OUTPUT}."
                )
            optimizer = resolve_optimizer(self.optimizer, module, self.lr, self.weight_decay)
            self._train(module, optimizer, [], x, y, metrics, options)

    def _train_on(self, x: Array, y: Array, metrics: tuple[str, ...]) -> None:
        """One more epoch for the network there is."""
        with _alone():
            default_generator.set_state(self._random)
            self._train(self.module_, self.optimizer_, self.loss_curve_, x, y, metrics, {"epochs": 1})

    def _train(
        self,
        module: Any,
        optimizer: Any,
        losses: list[float],
        x: Array,
        y: Array,
        metrics: tuple[str, ...],
        options: dict[str, Any],
    ) -> None:
        history = fit(
            module,
            (x, y),
            loss=self._LOSS if self.loss is None else self.loss,
            optimizer=optimizer,
            batch_size=self.batch_size,
            clip_grad_norm=self.clip_grad_norm,
            callbacks=self.callbacks,
            metrics=metrics,
            progress=self.progress,
            compile=self.compile,
            **options,
        )
        self._random = default_generator.get_state()
        self.module_, self.optimizer_, self.history_ = module, optimizer, history
        self.loss_curve_ = [*losses, *history["loss"]]
        self.n_iter_ = len(self.loss_curve_)

    def _whole(self) -> dict[str, Any]:
        """What only a whole training has."""
        return {
            "epochs": self.epochs,
            "scheduler": self.scheduler,
            "validation_split": self.validation_split,
            "early_stopping": copy.deepcopy(self.early_stopping),  # it takes notes, and belongs to the caller
        }

    def _checked(self, x: Any, **options: Any) -> Any:
        """Arrays as scikit-learn checks them; a module of one's own may want inputs of more dimensions."""
        return validate_data(self, x, dtype=[np.float32, np.float64], allow_nd=self.module is not None, **options)

    def _outputs(self, x: Any) -> Array:
        check_is_fitted(self, "module_")
        return np.asarray(predict(self.module_, self._checked(x, reset=False), compile=self.compile).numpy())


class NetworkClassifier(ClassifierMixin, _Network):
    """A network that tells classes apart, trained by :func:`~backlit.train.fit`.

    Args:
        module: an ``nn.Module``, of which each fit trains a copy, starting from the weights that it has; or a function
            ``module(features, outputs)`` that makes one; or None for a perceptron. Its outputs are one logit a class.
        hidden_sizes, activation: of the perceptron: units of each hidden layer, and ``relu``, ``tanh``, ``sigmoid``,
            ``gelu`` or ``silu``.
        loss: as for ``fit``; None is cross-entropy.
        optimizer: a name, or a function of the parameters that makes one; ``lr`` and ``weight_decay`` are for both.
        epochs, batch_size, scheduler, clip_grad_norm, validation_split, early_stopping, callbacks, progress, compile:
            as for ``fit``. Batches become native code by default (``compile="auto"``).
        random_state: a number, a ``RandomState`` or None, as everywhere in scikit-learn. What Backlit draws elsewhere
            does not change.

    Attributes:
        classes_: the labels, sorted.
        module_, optimizer_: the trained network and its optimizer.
        history_: the :class:`~backlit.train.History` of the last training.
        loss_curve_: the training loss of each epoch; ``n_iter_`` is their number.
        n_features_in_, feature_names_in_: of the data, as everywhere in scikit-learn.

    Raises:
        ValueError: data that do not fit, as scikit-learn checks them.
        OperationError: parameters that do not fit together.
        NonFiniteError: training came upon NaN or an infinity; the estimator is what it was before ``fit``.

    >>> x, y = [[0.0], [1.0], [2.0], [3.0]], ["low", "low", "high", "high"]
    >>> model = NetworkClassifier(hidden_sizes=(8,), lr=0.05, epochs=80, random_state=0).fit(x, y)
    >>> model.predict([[0.2], [2.9]]).tolist()
    ['low', 'high']
    >>> model.predict_proba([[0.2]]).shape
    (1, 2)
    """

    _LOSS = "cross_entropy"
    _ONE_OUTPUT = "one logit a class"

    def fit(self, X: Any, y: Any) -> NetworkClassifier:
        """Train a new network. ``X`` (samples × features, or more dimensions for a module), ``y`` (samples) labels."""
        X, y = self._checked(X, y=y)
        check_classification_targets(y)
        classes, places = np.unique(y, return_inverse=True)
        self._train_new(X, places, len(classes), ("accuracy",), **self._whole())
        self.classes_ = classes
        return self

    def partial_fit(self, X: Any, y: Any, classes: Any = None) -> NetworkClassifier:
        """Train for one more epoch; the first call needs all ``classes``, unless ``fit`` came before.

        Raises:
            ValueError: no ``classes`` at the first call, others than before, or a label that is none of them.
        """
        fresh = not hasattr(self, "module_")
        X, y = self._checked(X, y=y, reset=fresh)
        check_classification_targets(y)
        if fresh:
            if classes is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self.classes_ = np.unique(classes)
        elif classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(f"classes {classes!r} are not those of the first call, {self.classes_!r}.")
        unknown = np.setdiff1d(y, self.classes_)
        if unknown.size:
            raise ValueError(f"y has labels that are not among the classes: {unknown.tolist()}.")
        places = np.searchsorted(self.classes_, y)
        if fresh:
            self._train_new(X, places, len(self.classes_), ("accuracy",), epochs=1)
        else:
            self._train_on(X, places, ("accuracy",))
        return self

    def decision_function(self, X: Any) -> Array:
        """The logits, samples × classes; for two classes how much larger the second one is, as scikit-learn has it."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if len(self.classes_) == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Probabilities, samples × classes: the softmax of the logits."""
        return np.asarray(nn.functional.softmax(self._outputs(X).astype(np.float64), dim=1))

    def predict(self, X: Any) -> Array:
        """The label with the largest logit for each sample."""
        best = self._outputs(X).argmax(1)
        return np.asarray(self.classes_[best])


class NetworkRegressor(RegressorMixin, _Network):
    """A network that predicts one number or several, trained by :func:`~backlit.train.fit`.

    Parameters and attributes are those of :class:`NetworkClassifier`, except that ``loss`` is the mean squared error
    where None, and that the module's outputs are samples × targets. Standardize targets of other magnitudes than 1.

    >>> x = np.linspace(-1, 1, 40)[:, None]
    >>> model = NetworkRegressor(hidden_sizes=(), lr=0.05, epochs=100, random_state=0).fit(x, 3 * x[:, 0] + 1)
    >>> model.predict([[0.5]]).round(1).tolist()
    [2.5]
    """

    _LOSS = "mse"
    _ONE_OUTPUT = "one number a target"

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> NetworkRegressor:
        """Train a new network. ``X`` (samples × features, or more dimensions for a module), ``y`` numbers, samples or
        samples × targets."""
        X, y = self._numbers(X, y)
        self._train_new(X, y.reshape(len(y), -1), y[0].size, (), **self._whole())
        self._shape = y.shape[1:]
        return self

    def partial_fit(self, X: Any, y: Any) -> NetworkRegressor:
        """Train for one more epoch.

        Raises:
            ValueError: ``y`` has another number of targets than before.
        """
        fresh = not hasattr(self, "module_")
        X, y = self._numbers(X, y, reset=fresh)
        targets = y.reshape(len(y), -1)
        if fresh:
            self._train_new(X, targets, y[0].size, (), epochs=1)
            self._shape = y.shape[1:]
        elif y.shape[1:] != self._shape:
            raise ValueError(f"y has the shape {y.shape}, but the first y had the shape (samples, *{self._shape}).")
        else:
            self._train_on(X, targets, ())
        return self

    def _numbers(self, x: Any, y: Any, **options: Any) -> tuple[Array, Array]:
        x, y = self._checked(x, y=y, multi_output=True, y_numeric=True, **options)
        return x, y.astype(x.dtype if y.dtype.kind != "f" else y.dtype)

    def predict(self, X: Any) -> Array:
        """The outputs as float64: one number a sample where ``y`` had one dimension, else samples × targets."""
        outputs = self._outputs(X).astype(np.float64)
        return outputs.reshape(len(outputs), *self._shape)


__all__ = ["NetworkClassifier", "NetworkRegressor"]
