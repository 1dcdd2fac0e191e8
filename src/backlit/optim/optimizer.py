"""What all optimizers share: parameter groups, state, checkpoints, hooks, and the step itself.

An optimizer is its numbers (``defaults``, with ``limits``), the arrays it keeps for each parameter (``slots``), what
changes from step to step (``constants``) and an elementwise ``update``. How parameters are laid out so that this runs
fast is the business of :mod:`backlit.optim.blocks`.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
from math import inf
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from ..allocator import keep_freed_memory
from ..errors import OperationError, UnsupportedError
from ..graph import enable_grad, mode
from ..journal import cleared
from ..numerics import quiet
from ..source import describe, mark
from ..tensor import HookHandle, Tensor
from .blocks import Array, Group, Plan

Params = Iterable[Tensor] | Iterable[dict[str, Any]] | Iterable[tuple[str, Tensor]]
StepHook = Callable[..., Any]
Limits = Mapping[str, tuple[float, float]]


def _with_hooks(step: Callable[..., Any]) -> Callable[..., Any]:
    """Run the step hooks around a ``step`` method, and note that a step was made (schedulers ask)."""

    @wraps(step)
    def hooked(self: Optimizer, *args: Any, **kwargs: Any) -> Any:
        self._stepped = True
        if mode.tracer is not None and step.__module__ != __name__:
            mode.tracer.refuse(f"{type(self).__name__}.step(), a method of its own,")
        if not self._before and not self._after:
            return step(self, *args, **kwargs)
        for hook in tuple(self._before):
            replaced = hook(self, args, kwargs)
            if replaced is not None:
                args, kwargs = replaced
        result = step(self, *args, **kwargs)
        for hook in tuple(self._after):
            hook(self, args, kwargs)
        return result

    return hooked


class Optimizer:
    """Base of all optimizers.

    A subclass for an elementwise rule gives ``defaults`` to ``__init__``, states ``limits`` and defines :meth:`slots`,
    :meth:`constants` and :meth:`update`. A subclass for anything else may define ``step`` itself, as in PyTorch:
    ``param_groups`` and ``state`` (a dictionary for each parameter) are there for it.

    Args:
        params: the parameters: an iterable of tensors, of ``(name, tensor)`` pairs, or of groups, dictionaries with a
            ``"params"`` entry and options that differ from the defaults.
        defaults: the options of groups that do not set their own.

    Raises:
        OperationError: no parameters, something that is not a parameter, a parameter given twice, an option outside
            its limits.
    """

    limits: ClassVar[Limits] = {"lr": (0.0, inf)}
    """Options that, where a group has them, must be numbers (or tuples of numbers) with ``low <= value < high``."""

    _cleared: tuple[Any, int] | None = None

    counts_steps: ClassVar[bool] = True
    """Whether ``state[p]["step"]`` counts the updates of each parameter."""

    defaults: Group
    param_groups: list[Group]
    state: defaultdict[Tensor, dict[str, Any]]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups = []
        self.state = defaultdict(dict)
        self._plans: list[Plan | None] = []
        self._before: list[StepHook] = []
        self._after: list[StepHook] = []
        self._stepped = False
        for group in _groups(type(self).__name__, params):
            self.add_param_group(group)
        keep_freed_memory(sum(param._data.nbytes for group in self.param_groups for param in group["params"]))

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "step" in cls.__dict__:
            cls.step = _with_hooks(cls.step)  # type: ignore[method-assign]

    # -- the rule -----------------------------------------------------------------------------------------------------

    def slots(self, group: Group) -> Mapping[str, float]:
        """The arrays kept for each parameter of a group, by name, with the value they start from."""
        raise NotImplementedError(
            f"{type(self).__name__} defines neither step() nor slots(), constants() and update()."
        )

    def constants(self, group: Group, step: int) -> Sequence[float]:
        """The numbers that :meth:`update` needs at the ``step``-th update (from 1); they reach it in the parameters'
        dtype."""
        raise NotImplementedError

    def update(self, group: Group, k: Sequence[Array], g: Array, p: Array, t: Array, u: Array, *moments: Array) -> None:
        """Update a flat piece of parameters in place.

        Args:
            group: the options; for switches, numbers come in ``k``.
            k: the constants of this step, 0-d arrays.
            g: the gradient; not to be written to.
            p: the parameter, to be overwritten.
            t, u: scratch arrays as large as ``p``.
            moments: the arrays named by :meth:`slots`, to be overwritten.
        """
        raise NotImplementedError

    # -- stepping -----------------------------------------------------------------------------------------------------

    @_with_hooks
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient.

        Args:
            closure: computes the loss again, with gradients, before the update.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        if mode.tracer is not None:
            mode.tracer.step(self, self._update_all)
        else:
            self._update_all()
        return loss

    def _update_all(self) -> None:
        place = mark()
        groups = self.param_groups
        if len(self._plans) != len(groups):
            self._plans = [None] * len(groups)
        with quiet():
            for i, group in enumerate(groups):
                plan = self._plans[i]
                if plan is None or not plan.fits(self, group):
                    plan = self._plans[i] = Plan(self, group)
                for block in plan.blocks:
                    block.run(self, group, place)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients: set them to None, or fill them with zeros where ``set_to_none`` is False."""
        cleared(self)
        tracer = mode.tracer
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param._grad = None
                    if tracer is not None:
                        tracer.cleared(param)
                elif param._grad is not None:
                    param._grad.detach_().zero_()

    def register_step_pre_hook(self, hook: StepHook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` before each step; it may return other ``(args, kwargs)`` for it."""
        return _register(self._before, hook)

    def register_step_post_hook(self, hook: StepHook) -> HookHandle:
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return _register(self._after, hook)

    # -- groups -------------------------------------------------------------------------------------------------------

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add parameters, for example layers that are unfrozen during training.

        Args:
            param_group: ``"params"`` (a tensor, or tensors, or ``(name, tensor)`` pairs) and options; those left out
                are the optimizer's defaults.
        """
        kind = type(self).__name__
        if not isinstance(param_group, Mapping) or "params" not in param_group:
            raise OperationError(f"{kind} at {_here()}: a parameter group is a dictionary with an entry 'params'.")
        group = {**param_group}
        _check_spelling(kind, group, self.defaults)
        group.update(_parameters(kind, group["params"]))
        group.update({name: value for name, value in self.defaults.items() if name not in group})
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for i, param in enumerate(group["params"]):
            _check_parameter(kind, i, param, seen)
            seen.add(id(param))
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise OperationError(f"{kind} at {_here()}: either all parameter groups have named parameters, or none.")
        self.check(group)
        self.param_groups.append(group)

    def check(self, group: Group) -> None:
        """Raise when an option is outside its limits. Subclasses add what depends on several options."""
        for name, (low, high) in self.limits.items():
            value = group.get(name, low)
            for number in value if isinstance(value, tuple | list) else (value,):
                if not isinstance(number, Real) or not low <= float(number) < high:
                    kind, bounds = type(self).__name__, f"[{low:g}, {high:g})"
                    raise OperationError(f"{kind} at {_here()}: {name} must be a number in {bounds}, got {value!r}.")

    # -- checkpoints --------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on, in PyTorch's layout.

        Returns:
            ``{"state": {index: {name: tensor}}, "param_groups": [{option: value, "params": [indices]}]}``. Indices
            count the parameters through all groups. Options are plain numbers, truth values, strings and tuples; the
            tensors are the live ones (copy them if you go on stepping before you store them).
        """
        index = {id(p): i for i, p in enumerate(self._all_params())}
        groups = [{**group, "params": [index[id(p)] for p in group["params"]]} for group in self.param_groups]
        return {"state": {index[id(p)]: {**held} for p, held in self.state.items() if held}, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a :meth:`state_dict` of an optimizer of the same kind with parameters of the same shapes.

        Values are copied; arrays and tensors are both understood, as are the lists and text keys that JSON makes of
        tuples and indices. Floating state is converted to the dtype the parameter is computed in.

        Raises:
            OperationError: groups, shapes or names do not agree; nothing was changed then.
        """
        saved = state_dict["param_groups"]
        sizes = [len(group["params"]) for group in saved]
        mine = [len(group["params"]) for group in self.param_groups]
        if sizes != mine:
            raise OperationError(
                f"{type(self).__name__}.load_state_dict at {_here()}: the saved optimizer has groups of {sizes} "
                f"parameters, this one of {mine}. Build it from the same parameters in the same order."
            )
        groups = [self._restored(old, new) for old, new in zip(saved, self.param_groups, strict=True)]
        params = dict(zip([i for group in saved for i in group["params"]], self._all_params(), strict=True))
        state: defaultdict[Tensor, dict[str, Any]] = defaultdict(dict)
        for key, held in state_dict["state"].items():
            param = params.get(int(key))
            if param is None:
                raise OperationError(f"{type(self).__name__}.load_state_dict: state for an unknown parameter {key!r}.")
            group = next(g for g in groups if any(p is param for p in g["params"]))
            state[param] = self._loaded(int(key), held, param, group)
        self.param_groups, self.state, self._plans = groups, state, []
        self._stepped = True  # steps were made before it was saved

    def _restored(self, saved: Mapping[str, Any], mine: Group) -> Group:
        group = {name: tuple(v) if isinstance(mine.get(name), tuple) else v for name, v in saved.items()}
        group = {**mine, **group, "params": mine["params"]}
        if "param_names" in mine:
            group["param_names"] = mine["param_names"]
        self.check(group)
        return group

    def _loaded(self, index: int, held: Mapping[str, Any], param: Tensor, group: Group) -> dict[str, Any]:
        where = f"{type(self).__name__}.load_state_dict at {_here()}: parameter {index}"
        expected = set(self._slot_names(group))
        given = {name: value for name, value in held.items() if value is not None}
        if given and expected and not expected <= set(given):
            raise OperationError(
                f"{where} has saved state {sorted(given)}, and {sorted(expected)} is needed: "
                "it was saved by another kind of optimizer, or with other options."
            )
        loaded = {}
        for name, value in given.items():
            array = np.asarray(value._data if isinstance(value, Tensor) else value).copy()
            if name in expected and name != "step":
                if array.shape != param.shape:
                    raise OperationError(f"{where} has shape {param.shape}, but its saved {name!r} {array.shape}.")
                array = array.astype(np.promote_types(param.dtype, np.float32), copy=False)
            loaded[name] = Tensor(array)
        return loaded

    def _slot_names(self, group: Group) -> tuple[str, ...]:
        try:
            return (*self.slots(group), "step") if self.counts_steps else tuple(self.slots(group))
        except NotImplementedError:  # a subclass with a step() of its own keeps what it likes
            return ()

    def _all_params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def __getstate__(self) -> dict[str, Any]:
        return {"defaults": self.defaults, "state": self.state, "param_groups": self.param_groups}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._plans, self._before, self._after, self._stepped = [], [], [], False

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def descent(group: Group, decay: Array, g: Array, p: Array, t: Array, u: Array) -> Array:
    """The direction to go down: the gradient, turned round to maximize, plus the weight decay's ``decay * p``.

    Returns ``g`` itself or ``u``; overwrites ``t``.
    """
    if group["maximize"]:
        g = np.negative(g, u)
    if group["weight_decay"]:
        np.multiply(p, decay, t)
        g = np.add(g, t, u)
    return g


def reject(kind: str, **unsupported: Any) -> None:
    """Raise for options of PyTorch's optimizers that ask for something Backlit does not do."""
    for name, value in unsupported.items():
        if value:
            raise UnsupportedError(f"{kind} at {_here()}: {name}={value!r} is not supported; leave it out.")


def _here() -> str:
    return describe(mark())


def _register(hooks: list[StepHook], hook: StepHook) -> HookHandle:
    hooks.append(hook)
    return HookHandle(lambda: hooks.remove(hook))


def _groups(kind: str, params: Any) -> list[Any]:
    """The groups that an optimizer's first argument describes."""
    if isinstance(params, Tensor | Mapping | str) or not isinstance(params, Iterable):
        raise OperationError(
            f"{kind} at {_here()}: params must be an iterable of parameters or of groups, got {type(params).__name__}. "
            "Pass model.parameters(), or put a single tensor into a list: [w]."
        )
    listed = list(params)
    if not listed:
        spent = (
            " A generator gives its values once; this one may have been used up before: pass a list instead."
            if iter(params) is params
            else ""
        )
        raise OperationError(f"{kind} at {_here()}: there are no parameters to optimize.{spent}")
    return listed if isinstance(listed[0], Mapping) else [{"params": listed}]


def _parameters(kind: str, params: Any) -> Group:
    """The entries ``params`` and, where names are given, ``param_names`` of a group."""
    if isinstance(params, set | frozenset):
        raise OperationError(f"{kind} at {_here()}: params is a set, whose order changes from run to run; use a list.")
    listed: list[Any] = [params] if isinstance(params, Tensor) else list(params)
    if not any(isinstance(entry, tuple) for entry in listed):
        return {"params": listed}
    if not all(isinstance(entry, tuple) and len(entry) == 2 for entry in listed):
        raise OperationError(f"{kind} at {_here()}: either all parameters are (name, tensor) pairs, or none.")
    return {"params": [param for _, param in listed], "param_names": [name for name, _ in listed]}


def _check_parameter(kind: str, i: int, param: Any, seen: set[int]) -> None:
    where = f"{kind} at {_here()}: parameter {i} of the group"
    if not isinstance(param, Tensor):
        raise OperationError(f"{where} is a {type(param).__name__}; only tensors can be optimized.")
    if id(param) in seen:
        raise OperationError(
            f"{where} (shape {param.shape}) is listed twice; it would be updated twice a step. Remove one of the two."
        )
    if not (param.is_leaf or param.retains_grad):
        raise OperationError(
            f"{where} was computed ({param.grad_fn!r}), so its gradient is not kept and updating it would not change "
            "what it was computed from. Make it with requires_grad=True as the last step, for example "
            "w = (0.1 * backlit.randn(3)).requires_grad_(), or w.detach().requires_grad_()."
        )


def _check_spelling(kind: str, group: Group, defaults: Group) -> None:
    """Groups may carry entries of the user's own, but one that is nearly an option is a slip that would be ignored."""
    for name in group:
        if name in defaults or name in ("params", "param_names"):
            continue
        close = difflib.get_close_matches(name, defaults, n=1, cutoff=0.85)
        if close:
            raise OperationError(f"{kind} at {_here()}: no option {name!r}; did you mean {close[0]!r}?")
