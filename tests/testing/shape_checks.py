"""Shape and type checks of every call of the modules that are first imported in `checking_shapes`.

jaxtyping compares the shapes of a call's arguments and result; it takes 50 microseconds a call. So only signatures with
arrays are checked by it; beartype checks the types of the others in one microsecond. Functions inside functions are not
checked: each call of the outer one would compile their checks again (2 ms), and what they return, the outer one returns.
"""

import dataclasses
import typing
from contextlib import contextmanager

import jaxtyping
from beartype import beartype


@contextmanager
def checking_shapes(package):
    """Check all later calls of the package's modules that are first imported here."""
    checked = jaxtyping.jaxtyped

    def checked_where_needed(*, typechecker):
        def decorated(one):
            if "<locals>" in one.__qualname__:
                return one
            if _has_arrays(one):
                return checked(one, typechecker=typechecker)
            if not isinstance(one, type):
                return beartype(one)
            if dataclasses.is_dataclass(one):
                one.__init__ = beartype(one.__init__)
            return one

        return decorated

    jaxtyping.jaxtyped = checked_where_needed  # the hook writes this name above each function and class
    with jaxtyping.install_import_hook(package, "beartype.beartype"):
        yield


def _has_arrays(one):
    """Whether a signature, or a class's fields, name an array; also if a name in it is not known yet."""
    try:
        hints = typing.get_type_hints(one)
    except (NameError, TypeError, AttributeError):
        return True
    return any(map(_is_array, hints.values()))


def _is_array(hint):
    return (isinstance(hint, type) and issubclass(hint, jaxtyping.AbstractArray)) or any(
        map(_is_array, typing.get_args(hint))
    )


@contextmanager
def without_shape_checks():
    """Skip jaxtyping's checks: simulations call a few functions a hundred thousand times."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", before)
