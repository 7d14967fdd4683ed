"""Strict reading of a mapping: unknown keys are named, values have the right type."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


def load_yaml(text: str) -> Any:  # noqa: ANN401 - of any kind
    """Return what YAML says.

    Raises:
        ValueError: it is none, or a key stands twice in it.

    """
    try:
        return yaml.load(text, _Strict)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002
        """Return the mapping of a node."""
        names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for number, name in enumerate(names):
            if name in names[:number]:
                place = node.start_mark.line + 1
                raise ValueError(f"{name} stands twice in the mapping of line {place}")
        return super().construct_mapping(node, deep)


class Reader:
    """A mapping under examination; what is wrong is told, and a usable value returned.

    Attributes:
        data: the mapping; empty when it is none.

    """

    def __init__(self, data: object, where: str, tell: Callable[[str], None]) -> None:
        self._where = where
        self._tell = tell
        if not isinstance(data, dict):
            self.wrong("expected a mapping")
            self._broken = True
        else:
            self._broken = False
        self.data: dict[Any, Any] = data if isinstance(data, dict) else {}

    def wrong(self, text: str) -> None:
        """Tell what is wrong here."""
        self._tell(f"{self._where}{text}")

    def only(self, *names: str) -> None:
        """Tell keys that are none of these, with the nearest that is."""
        for key in self.data:
            if key not in names:
                near = difflib.get_close_matches(str(key), names, 1)
                hint = f", did you mean {near[0]}?" if near else f"; known: {', '.join(names)}"
                self.wrong(f"{key}: unknown key{hint}")

    def part(self, key: str, *, optional: bool = False) -> Reader:
        """Return the reader of a mapping inside; where that is missing, its keys are not told."""
        value = self.data.get(key)
        inside = Reader({} if value is None else value, f"{self._where}{key}: ", self._tell)
        if value is None and not optional:
            self._missing(key)
            inside._broken = True
        return inside

    def items(self, key: str, *, optional: bool = False) -> Iterator[tuple[int, object]]:
        """Yield the entries of a list, numbered from 1."""
        value = self.data.get(key)
        if value is None:
            if not optional:
                self._missing(key)
        elif isinstance(value, list):
            yield from enumerate(value, 1)
        else:
            self.wrong(f"{key}: expected a list")

    def text(self, key: str, *, optional: bool = False) -> str | None:
        """Return a text that is not empty, None where there is none."""
        value = self.data.get(key)
        if value is None:
            if not optional:
                self._missing(key)
            return None
        if not isinstance(value, str) or not value.strip():
            self.wrong(f"{key}: expected a text, found {value!r}")
            return None
        return value

    def texts(self, key: str) -> list[str]:
        """Return a list of texts that is not empty."""
        value = self.data.get(key)
        if value is None:
            self._missing(key)
            return []
        if not isinstance(value, list) or not value or not all(isinstance(v, str) for v in value):
            self.wrong(f"{key}: expected a list of texts")
            return []
        return value

    def choice(self, key: str, choices: Collection[str], usual: str) -> str:
        """Return one of the choices."""
        value = self.data.get(key, usual)
        if isinstance(value, str) and value in choices:
            return value
        self.wrong(f"{key}: {value!r} is none of {', '.join(choices)}")
        return usual

    def number(self, key: str, least: int, most: int, usual: int | None) -> int:
        """Return a whole number within bounds."""
        value = self.data.get(key, usual)
        if value is None:
            self._missing(key)
            return least
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            if key not in self.data:
                return int(value)
            self.wrong(f"{key}: expected a whole number from {least} to {most}, found {value!r}")
            return least
        return value

    def numbers(self, key: str, least: int, most: int, usual: tuple[int, ...]) -> tuple[int, ...]:
        """Return a list of whole numbers within bounds."""
        value = self.data.get(key, list(usual))
        fits = isinstance(value, list) and all(
            isinstance(one, int) and not isinstance(one, bool) and least <= one <= most
            for one in value
        )
        if not fits:
            self.wrong(f"{key}: expected a list of whole numbers from {least} to {most}")
            return usual
        return tuple(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false."""
        value = self.data.get(key, default)
        if not isinstance(value, bool):
            self.wrong(f"{key}: expected true or false, found {value!r}")
            return default
        return value

    def _missing(self, key: str) -> None:
        if not self._broken:
            self.wrong(f"{key} is missing")
