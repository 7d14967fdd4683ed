"""Commands that are imported only when they are called, so that ``--help`` is quick."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import click

from gpuprep.model.value import Value

if TYPE_CHECKING:
    from collections.abc import Sequence

_LIMIT: Final = ("--limit", "-l")  # what is wrong with one is told where it is read


class LazyCommand(Value, frozen=True):
    """A command and where it is: ``gpuprep.cli.<module>``, attribute ``attribute``."""

    name: str
    module: str
    attribute: str
    summary: str

    @property
    def path(self) -> str:
        """Full name of the module."""
        return f"{__package__}.{self.module}"

    def load(self) -> click.Command:
        """Import the command."""
        command: click.Command = getattr(importlib.import_module(self.path), self.attribute)
        return command


class LazyGroup(click.Group):
    """A group of commands that it knows by name and summary alone."""

    def __init__(self, *args: Any, commands: Sequence[LazyCommand], **more: Any) -> None:  # noqa: ANN401
        super().__init__(*args, **more)
        self._lazy = {
            command.name: command
            for command in commands
            if importlib.util.find_spec(command.path) is not None
        }

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's interface
        """Return the names in the order they were registered in."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the command of a name."""
        command = self._lazy.get(cmd_name)
        return None if command is None else command.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(c.name, c.summary) for c in self._lazy.values()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of the first argument; suggest what may have been meant."""
        if args and args[0] not in self._lazy and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self._lazy, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such command {args[0]!r}.{hint}")
        _refuse_empty(ctx, args)
        return super().resolve_command(ctx, args)


def _refuse_empty(ctx: click.Context, args: Sequence[str]) -> None:
    """Refuse an empty value of any option: mostly that of a shell's variable that is not set.

    Python takes an empty path for the working directory, Ansible an empty pattern for all hosts.
    """
    for before, value in pairwise([*args, "."]):
        name, equals, said = before.partition("=")
        if equals and not said and name.startswith("--") and name != _LIMIT[0]:
            ctx.fail(f"{name} is given an empty value: name one, or leave it out.")
        if value == "" and before not in _LIMIT:
            ctx.fail(f"An empty value stands after {before}: name one, or leave it out.")
