"""What a command line of ssh means: asked of ssh itself (``ssh -G``), never read by us.

The question costs as much as a process does. Where ssh's configuration has nothing that could tell
two hosts apart, the answer for one holds for the other, and is asked for once.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from gpuprep.run.connections import configuration, lines, setting
from gpuprep.run.connections import words as words_of

Resolved = Mapping[str, Sequence[str]]  # values by option, both as ``ssh -G`` prints them
Ask = Callable[[Sequence[str]], str]
Tokens = Sequence[tuple[str, str]]

_SECONDS: Final = 10
_SCRIPT: Final = b"#!"
_LEFT_ALONE: Final = ("-E", "-O", "-W", "-y")  # arguments of ssh that ``ssh -G`` does not tell
_PATH: Final = "ControlPath"
_TOKEN: Final = re.compile("%.")
_ALIKE: Final = frozenset({"%d", "%i", "%j", "%L", "%l", "%r", "%u"})  # for all hosts of a question


class OnlySshError(Exception):
    """What is asked for, only ssh itself does as ssh does; says what that is."""


@contextlib.contextmanager
def else_by_ssh() -> Iterator[None]:
    """Leave to ssh what we stumble over: ssh can do it, and the reason is told like any other.

    Raises:
        OnlySshError: in place of any other error.

    """
    try:
        yield
    except OnlySshError:
        raise
    except Exception as error:
        raise OnlySshError(f"{type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Rules:
    """What in ssh's configuration depends on the host.

    Attributes:
        hosts: matches the names that a Host line speaks of in particular.
        apart: whether anything else does, so that each host must be asked for.
        tokens: those that stand for something else with each host, by their option.

    """

    hosts: re.Pattern[str]
    apart: bool
    tokens: Tokens

    def single_out(self, host: str) -> bool:
        """Return whether the configuration may say something of this host alone."""
        return self.apart or ":" in host or self.hosts.fullmatch(host.lower()) is not None


class Resolver:
    """Asks ssh what command lines mean, as few times as can be."""

    def __init__(self, ask: Ask | None = None) -> None:
        self._ask = ask or _ask
        self._lock = threading.Lock()
        self._rules: dict[tuple[str, ...], _Rules] = {}
        self._known: dict[tuple[str, ...], Resolved] = {}

    def defaults(self, program: str) -> Resolved:
        """Return what ssh does where nobody says anything."""
        return self.resolve([program, "-F", os.devnull, "unnamed"])

    def of_client(
        self, command: Sequence[str], sockets: Collection[str]
    ) -> tuple[list[str], Resolved]:
        """Return program and arguments without masters that nobody has chosen, and what they mean.

        Args:
            command: ssh's command line, the host and what it is to run at its end.
            sockets: directories of masters; those in others are the user's own choice.

        Raises:
            OnlySshError: only ssh itself knows.

        """
        program = _program(command[0])
        if program is None:
            raise OnlySshError(f"{command[0]} is a program of its own")
        words = [program, *_without_masters(command[1:-2], sockets)]
        if any(word.startswith(_LEFT_ALONE) for word in words):
            raise OnlySshError("an argument of ssh")
        return words, self.resolve([*words, command[-2]])

    def resolve(self, command: Sequence[str]) -> Resolved:
        """Return what ssh makes of a command line that ends with the host.

        Raises:
            OnlySshError: it makes nothing of it; it will say why when it is started.

        """
        *words, host = command
        with self._lock:
            rules = self._rules_of(tuple(_named_files(words)))
        if rules.single_out(host):
            return read(self._ask(command))
        port, others = _without_port(words)
        with self._lock:  # whoever comes second has the first one's answer
            known = self._known.get(others)
            if known is None:
                resolved = read(self._ask(command))
                tokens = (*rules.tokens, *_tokens(_settings_in(words)))
                if not _speaks_of(resolved, host, tokens):
                    self._known[others] = resolved
                return resolved
        own = {"host": (host,), "hostname": (host.lower(),)} | ({"port": (port,)} if port else {})
        return {**known, **own}

    def _rules_of(self, named: tuple[str, ...]) -> _Rules:
        if named not in self._rules:
            self._rules[named] = _rules(named)
        return self._rules[named]


def _ask(command: Sequence[str]) -> str:
    program, *words = command
    try:
        done = subprocess.run(
            [program, "-G", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        raise OnlySshError("ssh -G does not tell its settings") from None
    return os.fsdecode(done.stdout)


def read(text: str) -> Resolved:
    r"""Return the options in the output of ``ssh -G``.

    >>> read("port 22\nidentityfile a\nidentityfile b")
    {'port': ['22'], 'identityfile': ['a', 'b']}
    """
    found: dict[str, list[str]] = {}
    for line in text.split("\n"):  # a value may hold what else ends a line
        name, _, value = line.partition(" ")
        if name:
            found.setdefault(name.lower(), []).append(value)
    return found


@lru_cache
def _program(name: str) -> str | None:
    """Return the path of a program, None unless it is ssh itself."""
    found = shutil.which(name)
    return found if found and _is_plain(found) else None


def _is_plain(program: str) -> bool:
    """Return whether a program that is called ssh is no script around it, as far as can be seen."""
    try:
        with Path(program).open("rb") as file:
            return file.read(len(_SCRIPT)) != _SCRIPT
    except OSError:
        return False


def master(command: Sequence[str], sockets: Collection[str]) -> str | None:
    """Return the path of the master that a command line names, None unless it is in a directory."""
    found = [
        value.strip('"')
        for before, word in pairwise(command)
        for name, _, value in [word.partition("=")]
        if before == "-o" and name == _PATH
    ]
    return found[0] if found and os.path.dirname(found[0]) in sockets else None  # noqa: PTH120


def _without_masters(words: Sequence[str], sockets: Collection[str]) -> list[str]:
    """Return arguments without a path of a master that was not the user's choice."""
    kept: list[str] = []
    for word in words:
        if kept and kept[-1] == "-o" and master(("-o", word), sockets):
            kept.pop()
        else:
            kept.append(word)
    return kept


def _without_port(words: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the port that arguments name, and the others: of all ports ssh says the same.

    A first ``-o Port=`` goes before all else that says something of it.
    """
    for index, (word, after) in enumerate(pairwise(words)):
        if word.startswith("-p"):
            break
        if word == "-o" and after.startswith("Port=") and after[5:].isdigit():
            # What is left in their place tells them from arguments without any.
            return after[5:], (*words[:index], "-o", "Port=", *words[index + 2 :])
    return "", tuple(words)


def _settings_in(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Return those settings among arguments that have tokens in them."""
    for before, word in pairwise(("", *words)):
        if "%" not in word:
            continue
        if before == "-o" or word.startswith("-o"):
            yield setting(word if before == "-o" else word[2:])
        else:  # of a host's name no token is left: so each host is asked for
            yield "identityfile" if before == "-i" else "hostname", word


def _tokens(settings: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Return options, and the tokens in them that stand for something else with each host."""
    for keyword, rest in settings:
        for token in _TOKEN.findall(rest):
            if token not in _ALIKE:
                yield keyword, token


def _speaks_of(resolved: Resolved, host: str, tokens: Tokens) -> bool:
    """Return whether an answer holds for its host, or its port, alone."""
    for option, token in tokens:
        values = resolved.get(option, ())
        if values and not any(token in value for value in values):
            return True  # it was replaced; what is left as it was, is for all
    others = (
        v for name, values in resolved.items() if name not in {"host", "hostname"} for v in values
    )
    named = host.lower()
    return resolved.get("hostname") != [named] or any(named in value.lower() for value in others)


def _named_files(words: Sequence[str]) -> list[str]:
    """Return the files that a command line names in place of the user's configuration."""
    found = [after for word, after in pairwise(words) if word == "-F"]
    return found + [word[2:] for word in words if word.startswith("-F") and word != "-F"]


def _rules(named: tuple[str, ...]) -> _Rules:
    patterns: list[str] = []
    tokens: set[tuple[str, str]] = set()
    found = configuration(named)
    apart = not found.is_all
    for _path, text in found.files:
        for keyword, rest in lines(text):
            if keyword == "host":
                values = words_of(rest.lower())
                apart = apart or values is None or any(value.startswith("!") for value in values)
                patterns += [value for value in values or () if value != "*"]
            elif keyword == "match":
                apart = apart or words_of(rest.lower()) != ["all"]
            elif "%" in rest:
                tokens.update(_tokens([(keyword, rest)]))
    either = "|".join(
        re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns
    )
    return _Rules(re.compile(either), apart, sorted(tokens))
