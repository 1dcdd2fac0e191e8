"""The compiled forms of one function: a bounded set that shares one arena, and the policy of what stays in it."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..tensor import Tensor
from .collection import no_collection
from .errors import Misfit, TraceError
from .signature import is_outdated

if TYPE_CHECKING:
    from collections.abc import Callable

    from .runtime.binding import Binding
    from .runtime.scratch import Scratch
    from .signature import Likeness
    from .trace.capture import Capture

FORMS = 64
"""Specialisations that are kept for each function."""

ALIKE = 8
"""Specialisations among them for arguments of the same shapes, where what the function sees around it differs."""

PATIENCE = 8 * FORMS
"""Calls after which a specialisation that was not used makes room for a new one. Until then the new one must wait, and
the function runs eagerly: shapes that take turns would otherwise be compiled again and again."""


REPEATED = 8
"""Calls of a specialisation before a function is written that makes those like the last one; writing it takes as long
as some fifty calls of a small network's step. After as many that were not like the last one, another one is written,
for variables that hold other tensors at each call."""


class Form:
    """One specialisation: what was traced, and from its first use on the native code for it."""

    __slots__ = ("_binding", "_calls", "_forms", "likeness", "moving", "repeat", "seen", "used")

    def __init__(self, seen: Capture, forms: Forms, likeness: Likeness | None) -> None:
        self.seen = seen
        self.likeness = likeness
        """Where all arguments are tensors, what tells calls that are alike."""
        self.moving = {change.place for change in seen.outcome.assigned} | _exchanged(seen, forms.all())
        """The places of variables that the function was seen to set, or that others gave another container."""
        self.used = forms.calls
        self._forms = forms
        self._binding: Binding | None = None
        self._calls = 0
        self.repeat: Callable[[Any], Any] | None = None
        """:meth:`call` for those that find everything as the last one did; it gives ``NotImplemented`` for others, and
        until a few calls were made it is None."""

    @property
    def built(self) -> bool:
        """Whether there is native code yet."""
        return self._binding is not None

    @property
    def binding(self) -> Binding:
        """The program as native code, tied to what it reads and writes."""
        if self._binding is None:
            self._binding = bound(self.seen, scratch=self._forms.scratch)
        return self._binding

    def make(self, arguments: Sequence[Tensor]) -> None:
        """Make the native code, if that is still to be done.

        Raises:
            TraceError: it cannot be made; the reason is the error's cause.
        """
        if self._binding is None and self.seen.fits(arguments):
            try:
                self.binding  # noqa: B018
            except Exception as error:
                raise _no_code(error) from error

    def call(self, arguments: Sequence[Tensor]) -> Any:
        """Run it; see :meth:`~.runtime.binding.Binding.call`.

        Raises:
            TraceError: no code could be made for it.
        """
        binding = self._binding
        if binding is None:
            if not self.seen.fits(arguments):
                raise Misfit
            try:
                binding = self.binding
            except MemoryError:  # another time there may be more
                raise
            except Exception as error:
                raise _no_code(error) from error
        result = binding.call(arguments)
        self.used = self._forms.calls
        self._forms.used(self)
        self._calls += 1
        if self._calls in (REPEATED, 2 * REPEATED) and self.likeness is not None:
            self.repeat = binding.repeated(self.likeness, steady=self._calls == REPEATED)
        return result


def _no_code(error: Exception) -> TraceError:
    return TraceError(f"compile: no code could be made ({type(error).__name__}: {error})")


class Forms(dict[Any, list[Form]]):
    """Forms by what makes two calls alike. ``calls`` counts the function's calls, ``latest`` was used last."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.calls = 0
        self.latest: Form | None = None
        self.hidden: list[Any] = []
        """Functions that are called and that nothing in sight of the function names."""
        self.vain = 0
        """Forms that could not be used before the objects were gone that they were for, since one was used."""
        self._scratch: Scratch | None = None
        self._warned = False

    @property
    def scratch(self) -> Scratch:
        """The memory that all programs compute in, one at a time."""
        from .runtime.scratch import Scratch

        if self._scratch is None:
            self._scratch = Scratch()
        return self._scratch

    def all(self) -> list[Form]:
        """Every form."""
        return [form for alike in self.values() for form in alike]

    @property
    def moving(self) -> set[Any]:
        """The places whose containers and tensors may be others at each call."""
        return {place for form in self.all() for place in form.moving}

    def add(self, signature: Any, seen: Capture, likeness: Likeness | None) -> None:
        """A new form, which is tried before others like it."""
        for outdated in [key for key in self if is_outdated(key)]:
            self.vain += sum(not form.built for form in self.pop(outdated))
        self.setdefault(signature, []).insert(0, Form(seen, self, likeness))

    def in_vain(self, signature: Any) -> bool:
        """Whether nothing that was traced for these arguments, or for others in a long time, could be used again."""
        alike = self.get(signature, ())
        return self.vain >= 4 * ALIKE or (len(alike) >= ALIKE and not any(form.built for form in alike))

    def used(self, form: Form) -> None:
        """A form was called."""
        self.latest = form
        self.vain = 0

    def make_room(self, signature: Any) -> bool:
        """Whether there is room for another form, once one that was not used for long has gone."""
        alike, forms = self.get(signature, []), self.all()
        if len(alike) < ALIKE and len(forms) < FORMS:
            return True
        oldest = min(alike if len(alike) >= ALIKE else forms, key=lambda form: form.used)
        if self.calls - oldest.used <= PATIENCE:
            self._warn()
            return False
        for held in self.values():
            if oldest in held:
                held.remove(oldest)
        for empty in [key for key, held in self.items() if not held]:
            del self[empty]
        self.latest = None if self.latest is oldest else self.latest
        return True

    def _warn(self) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"backlit.compile: {self.name} is called with more than {FORMS} combinations of shapes and settings in "
                f"turn, or {ALIKE} of settings; the others run eagerly. Pad to fewer "
                "shapes, and pass numbers and objects that change as tensors.",
                stacklevel=7,
            )


def _exchanged(seen: Capture, others: list[Form]) -> set[Any]:
    """The places that hold another list, tuple or dictionary than when other forms were traced."""
    now = seen.containers
    before = [pair for form in others for pair in form.seen.containers.items()]
    return {place for place, held in before if now.get(place, held) is not held}


def bound(seen: Capture, clocked: bool = False, scratch: Scratch | None = None) -> Binding:
    """Build a program and tie it to what it reads and writes; ``clocked`` code measures its regions. Programs with the
    same ``scratch`` share their arena, and must not run at the same time."""
    from .assemble.stored import found_or_built
    from .runtime.binding import Binding, element_strides
    from .runtime.differentiable import Differentiable
    from .runtime.executable import Executable
    from .runtime.pool import pool_size

    strides = {value: element_strides(seen.arrays[value]) for value in seen.program.inputs}
    kind = Binding if seen.pullback is None else Differentiable
    with no_collection():
        program = found_or_built(seen.program, strides, threads=pool_size(), clocked=clocked)
        return kind(seen, Executable(program, scratch), seen.arrays)
