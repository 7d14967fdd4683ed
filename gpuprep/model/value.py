"""What gpuprep's values are: frozen, compared by content, and made fast where msgspec is installed.

It comes with the Python package. The collection that Galaxy has works with ansible-core alone.
"""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import msgspec
else:
    try:
        import msgspec
    except ImportError:
        msgspec: Any = None

__all__ = ["Value", "msgspec"]

if TYPE_CHECKING or msgspec:

    class _Fields:
        """An attribute of classes, made when somebody asks for it."""

        def __get__(self, instance: object, owner: type[Value]) -> Any:  # noqa: ANN401
            return _fields(owner)

    class Value(msgspec.Struct, frozen=True):
        """A value with fields, defaults and equality as a frozen dataclass has them.

        ``dataclasses.replace``, ``fields`` and ``asdict`` take it for one. Its class is made in a
        fiftieth of the time, which at every start is spent on some hundred of them.
        """

        if not TYPE_CHECKING:
            __dataclass_fields__ = _Fields()

else:

    class Value:
        """A value, as above: a frozen dataclass where the library is not installed."""

        def __init_subclass__(
            cls, *, kw_only: bool = False, order: bool = False, **_: object
        ) -> None:
            for name in vars(cls).get("__annotations__", {}):
                default = vars(cls).get(name)
                if isinstance(default, dict | list):
                    setattr(cls, name, dataclasses.field(default_factory=type(default)))
            dataclasses.dataclass(frozen=True, kw_only=kw_only, order=order)(cls)
            cls.__struct_fields__ = tuple(field.name for field in dataclasses.fields(cls))


@cache
def _fields(kind: type[Value]) -> dict[str, dataclasses.Field[Any]]:
    """Return the fields of a class as ``dataclasses`` wants them."""
    own = (vars(base).get("__annotations__", {}) for base in reversed(kind.__mro__))
    types = {name: hint for hints in own for name, hint in hints.items()}
    missing = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    defaults = [msgspec.NODEFAULT] * missing + list(kind.__struct_defaults__)
    made = dataclasses.make_dataclass(
        kind.__name__,
        [
            (name, types[name], _field(default))
            for name, default in zip(kind.__struct_fields__, defaults, strict=True)
        ],
        kw_only=True,
    )
    return {field.name: field for field in dataclasses.fields(made)}


def _field(default: Any) -> Any:  # noqa: ANN401 - any default
    if default is msgspec.NODEFAULT:
        return dataclasses.field()
    factory = getattr(default, "factory", None)
    return dataclasses.field(**({"default_factory": factory} if factory else {"default": default}))
