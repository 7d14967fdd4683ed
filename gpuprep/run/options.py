"""Options of a run, and the arguments of ansible-playbook they become."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from gpuprep.errors import ConfigError
from gpuprep.fleet.patterns import check_pattern, is_name
from gpuprep.run.events import Event
from gpuprep.run.inventories import LONGEST, write_private
from gpuprep.run.paths import readable_file
from gpuprep.run.transports import Transport  # noqa: TC001 - typing.get_type_hints asks for it

Verb = Literal["plan", "apply", "verify", "status", "faceswap_jobs"]
_CHANGING: Final = frozenset({"plan", "apply"})  # verbs that speak of what is carried out
_NAMES: Final = {"faceswap_jobs": "run_jobs"}  # where the interface has another than the playbook
MOST_FORKS: Final = 50  # more gain nothing: one Ansible process feeds about 120 host-tasks/s

EventCallback = Callable[[Event], None]
Cancel = threading.Event | Callable[[], bool]
Limit = str | Collection[str]
Tags = str | Collection[str]
Variables = Mapping[str, Any] | Sequence[Mapping[str, Any] | str | os.PathLike[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How to get at the hosts, beyond what inventory and ssh's own configuration say.

    Attributes:
        user: login name.
        private_key: file with the login's private key.
        connection_password: password of the login; kept off disk and command line.
        become_password: password that sudo asks for; kept off disk and command line.
        vault_password_files: files, or programs, that give the passwords of encrypted data.
        vault_ids: the same for several identities, as ``label@file``.
        vault_passwords: passwords of encrypted data by label of their identity, ``default`` for
            data without one; kept off disk and command line.

    Raises:
        ConfigError: a value is of another kind, or empty where a name is expected.

    """

    user: str | None = None
    private_key: str | os.PathLike[str] | None = None
    connection_password: str | None = field(default=None, repr=False)
    become_password: str | None = field(default=None, repr=False)
    vault_password_files: tuple[str | os.PathLike[str], ...] = ()
    vault_ids: tuple[str, ...] = ()
    vault_passwords: Mapping[str, str] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        """Check the kinds of all values; no password is shown."""
        for name, words, fits in _ACCESS:
            value = getattr(self, name)
            if not fits(value):
                raise ConfigError(f"access: {name}: expected {words}, found {kind_of(value)}")

    @property
    def opens_vaults(self) -> bool:
        """Whether there is any password of encrypted data."""
        return bool(self.vault_password_files or self.vault_ids or self.vault_passwords)


def _is_file(value: object) -> bool:
    return isinstance(value, str | os.PathLike) and value != ""


def _all(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    """Return a test of several values: a single text is its letters to Python."""
    return lambda value: (
        isinstance(value, Collection) and not isinstance(value, str) and all(map(fits, value))
    )


def _is_password(value: object) -> bool:
    return value is None or isinstance(value, str)


# Attributes of an access, what is expected of them, and whether a value is that.
_ACCESS: Final[tuple[tuple[str, str, Callable[[Any], bool]], ...]] = (
    ("user", "a login name", lambda v: v is None or (isinstance(v, str) and v != "")),
    ("private_key", "the path of a file", lambda v: v is None or _is_file(v)),
    ("connection_password", "text", _is_password),
    ("become_password", "text", _is_password),
    ("vault_password_files", "a list of paths", _all(_is_file)),
    ("vault_ids", "a list of texts, label@file", _all(lambda v: v != "" and isinstance(v, str))),
    (
        "vault_passwords",
        "a mapping of passwords by label",
        lambda v: isinstance(v, Mapping) and _all(lambda t: isinstance(t, str))([*v, *v.values()]),
    ),
)


def kind_of(value: object) -> str:
    """Return what a value of a wrong kind is, without what it says: that may be a secret.

    >>> kind_of(""), kind_of("x"), kind_of({})
    ('empty text', 'text', 'dict')
    """
    if isinstance(value, str):
        return "text" if value else "empty text"
    return "None" if value is None else type(value).__name__


class RunOptions(TypedDict, total=False):
    """Options that every verb takes beside its own; None is as good as left out.

    Attributes:
        timeout: seconds after which the run is stopped as if it were cancelled.
        access: how to get at the hosts.
        forks: hosts worked on at a time.
        verbosity: 0 to 4; more of Ansible's own output in the events of kind ``output``.
        tags: the parts of the roles to carry out: ``install``, ``configure``, ``verify``, or those
            of one role, ``conda_install``; a list, or text with commas; for plan and apply.
        skip_tags: the parts to leave out, likewise.
        diff: also tell what files become, of ``HostResult.diffs``; for plan and apply.
        keep_connections: leave ssh's connections to the hosts open for the next run, a few minutes
            (the default); otherwise no process of the run is alive after it.
        transport: ``ssh``, or ``asyncssh`` to look at hosts without starting ssh where it would
            have to connect; None: what the variable ``gpuprep_transport`` says.

    """

    timeout: float | None
    access: Access | None
    forks: int | None
    verbosity: int | None
    tags: Tags | None
    skip_tags: Tags | None
    diff: bool | None
    keep_connections: bool | None
    transport: Transport | None


def extra_variables(variables: Variables | None) -> tuple[Mapping[str, Any] | Path, ...]:
    """Bring variables, in the forms that callers may give, into one: mappings and files.

    Raises:
        ConfigError: a file is not there, or something is neither mapping nor file.

    """
    if variables is None:
        return ()
    parts = (variables,) if isinstance(variables, Mapping) else variables
    if not isinstance(parts, Sequence) or isinstance(parts, str | bytes):
        raise ConfigError(
            f"variables: expected a mapping or a list, found {kind_of(variables)}; a list has"
            " mappings and paths of files"
        )
    return tuple(_variables_part(part) for part in parts)


def _variables_part(part: Mapping[str, Any] | str | os.PathLike[str]) -> Mapping[str, Any] | Path:
    if isinstance(part, Mapping):
        wrong = next((name for name in part if not isinstance(name, str)), None)
        if wrong is not None:
            raise ConfigError(f"variables: expected names that are text, found {wrong!r}")
        return part
    if not isinstance(part, str | os.PathLike):
        raise ConfigError(
            f"variables: expected mappings and paths of files in the list, found {kind_of(part)}"
        )
    return Path(_file("variables file", part))


def variables_arguments(extra: Sequence[Mapping[str, Any] | Path], run_dir: Path) -> list[str]:
    """Hand over variables by files, never on the command line, which every user can read."""
    arguments = []
    for index, part in enumerate(extra):
        path = part
        if isinstance(part, Mapping):
            path = run_dir / f"variables-{index}.json"
            write_private(path, part)
        arguments += ["--extra-vars", f"@{path}"]
    return arguments


def limit_pattern(limit: Limit | None) -> str | None:
    """Return a limit as Ansible writes it."""
    return limit if limit is None or isinstance(limit, str) else ",".join(limit)


def named_hosts(limit: Limit | None) -> list[str]:
    """Return the names, of hosts or groups, in a list of hosts: each of them must be there."""
    if limit is None or isinstance(limit, str):
        return []
    names = (part.strip() for text in limit for part in text.split(","))
    return [name for name in names if is_name(name)]


def limit_arguments(limit: Limit | None, run_dir: Path) -> list[str]:
    """Return the arguments for a host pattern; Ansible takes one that names nothing for all hosts.

    Raises:
        ConfigError: a pattern that is given names no host, or cannot be read.

    """
    pattern = limit_pattern(limit)
    if pattern is None:
        return []
    check_pattern("limit", pattern)
    for part in pattern.split(","):
        name = part.strip().lstrip("!&")
        if name.startswith("@"):
            _check_limit_file(Path(_file("limit file", name[1:])))
    if len(pattern) > LONGEST:
        path = run_dir / "limit"
        path.write_text(pattern.replace(",", "\n"), encoding="utf-8")
        return [f"--limit=@{path}"]
    return [f"--limit={pattern}"]


def _check_limit_file(path: Path) -> None:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"limit file {path} cannot be read: {error}") from error
    parts = [part for line in lines if (part := line.strip()) and not part.startswith("#")]
    check_pattern(f"limit file {path}:", ",".join(parts))
    nested = [part for part in parts if part.lstrip("!&").startswith("@")]
    if nested:
        raise ConfigError(f"limit file {path}: {nested[0]} is a file again; name its hosts")


def tags_environment(verb: Verb, options: RunOptions) -> dict[str, str]:
    """Return the variables by which Ansible chooses a part of the plan: ours, whatever is set.

    Not arguments: Ansible adds those to what the user's own configuration chooses.

    Raises:
        ConfigError: a tag that no task has; or the verb carries no plan out.

    """
    run, skip = tags_in(options)
    for what, given in (("tags are", run or skip), ("diff is", options.get("diff"))):
        if given and verb not in _CHANGING:
            raise ConfigError(
                f"{_NAMES.get(verb, verb)} carries no plan out: {what} for plan and apply"
            )
    if run or skip:
        from gpuprep.fleet import tags  # noqa: PLC0415 - the components make starting long

        tags.check((*run, *skip))
    return {"ANSIBLE_RUN_TAGS": ",".join(run) or "all", "ANSIBLE_SKIP_TAGS": ",".join(skip)}


def tags_in(options: RunOptions) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the tags to run and those to skip, one by one; Ansible takes them with commas too."""
    run, skip = (
        tuple(
            name.strip()
            for part in ([value] if isinstance(value, str) else value or ())
            for name in part.split(",")
        )
        for value in (options.get("tags"), options.get("skip_tags"))
    )
    return run, skip


def access_arguments(access: Access) -> list[str]:
    """Return the arguments that an access needs; passwords only as prompts to answer.

    Raises:
        ConfigError: a file is not there.

    """
    arguments = []
    if access.user is not None:
        arguments += ["--user", access.user]
    if access.private_key is not None:
        arguments += ["--private-key", _file("private key", access.private_key)]
    for file in access.vault_password_files:
        arguments += ["--vault-password-file", _file("vault password file", file)]
    for label, file in map(split_vault_id, access.vault_ids):
        arguments.append(f"--vault-id={label}@{_file('vault password file', file)}")
    arguments += [f"--vault-id={label}@prompt" for label in access.vault_passwords]
    if access.connection_password is not None:
        arguments.append("--ask-pass")
    if access.become_password is not None:
        arguments.append("--ask-become-pass")
    return arguments


def _file(what: str, path: str | os.PathLike[str]) -> str:
    found = readable_file(path)
    if found is None:
        said = f"{path}: no such file, or not readable" if os.fspath(path) else "has an empty name"
        raise ConfigError(f"{what} {said}")
    return str(found)


def split_vault_id(text: str) -> tuple[str, str]:
    """Return label and source of a vault id; as for Ansible, the first @ parts them.

    >>> split_vault_id("prod@pass@word"), split_vault_id("file")
    (('prod', 'pass@word'), ('default', 'file'))
    """
    label, at, source = text.partition("@")
    return (label or "default", source) if at else ("default", text)


def check_prompts(access: Access, asking: Sequence[str]) -> None:
    """Refuse settings of Ansible that would make it wait for an answer that nobody gives.

    Args:
        access: with the answers that there are.
        asking: see :func:`gpuprep.run.environment.asking`.

    Raises:
        ConfigError: names the setting, and how the password is given instead.

    """
    for setting in asking:
        option, answered = {
            "ask_pass": ("--ask-pass", access.connection_password is not None),
            "become_ask_pass": ("--ask-become-pass", access.become_password is not None),
            "ask_vault_pass": ("--ask-vault-pass", access.opens_vaults),
        }.get(
            setting,
            (f"--vault-id {setting}", split_vault_id(setting)[0] in access.vault_passwords),
        )
        if not answered:
            raise ConfigError(
                f"Ansible's configuration wants to ask for a password ({setting}), which needs a"
                f" terminal: give {option}, or take the setting out"
            )


def prompt_answers(access: Access) -> dict[str, str]:
    """Answers to the prompts of ansible-playbook, by pattern."""
    answers = {r"^SSH password:\s*$": access.connection_password}
    answers[r"^BECOME password.*:\s*$"] = access.become_password
    # What Ansible asks for an identity whose source is prompt_ask_vault_pass; it names none.
    answers[r"^Vault password:\s*$"] = next(iter(access.vault_passwords.values()), None)
    for label, password in access.vault_passwords.items():
        answers[rf"^Vault password \({re.escape(label)}\):\s*$"] = password
    return {prompt: answer for prompt, answer in answers.items() if answer is not None}


def cancel_check(cancel: Cancel | None) -> Callable[[], bool]:
    """Return a function that says whether to stop."""
    if cancel is None:
        return lambda: False
    return cancel.is_set if isinstance(cancel, threading.Event) else cancel
