"""What our client does for a connection, from what ssh would do; or why only ssh can do that."""

from __future__ import annotations

import os
import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from gpuprep.run.connections import home
from gpuprep.run.ssh.resolved import OnlySshError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from gpuprep.run.ssh.resolved import Resolved

NEW_KEYS_PASS: Final = frozenset({"no", "off", "false", "accept-new"})
_DEFAULT_PORT: Final = 22
_NO: Final = frozenset({"no", "none", "false"})
# Options that are carried out below.
_DONE: Final = frozenset({
    "addressfamily", "ciphers", "compression", "connecttimeout", "globalknownhostsfile", "host",
    "hostkeyalgorithms", "hostkeyalias", "hostname", "identitiesonly", "identityagent",
    "identityfile", "kexalgorithms", "macs", "port", "preferredauthentications", "proxycommand",
    "proxyjump", "pubkeyacceptedalgorithms", "pubkeyauthentication", "sendenv", "user",
    "serveralivecountmax", "serveraliveinterval", "setenv", "stricthostkeychecking", "tcpkeepalive",
    "userknownhostsfile",
})  # fmt: skip
# Options that decide nothing for a command without a terminal and without a password.
_IDLE: Final = frozenset({
    "batchmode", "controlmaster", "controlpersist", "escapechar", "exitonforwardfailure",
    "enableescapecommandline", "fingerprinthash", "forwardx11timeout", "forwardx11trusted",
    "gatewayports", "gssapidelegatecredentials", "gssapikexalgorithms", "gssapirenewalforcesrekey",
    "gssapitrustdns", "hashknownhosts", "kbdinteractiveauthentication", "loglevel", "logverbose",
    "numberofpasswordprompts", "passwordauthentication", "streamlocalbindmask",
    "streamlocalbindunlink", "syslogfacility", "updatehostkeys", "visualhostkey", "xauthlocation",
})  # fmt: skip
_FAMILIES: Final = {"any": "any", "inet": "inet", "inet6": "inet6"}
_TOKEN: Final = re.compile(r"%(.)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Algorithms:
    """Names of the algorithms that ssh would offer, in its order of preference.

    Attributes:
        any_cipher: whether nobody has said which ciphers are to be used.

    """

    key_exchange: Sequence[str]
    encryption: Sequence[str]
    any_cipher: bool
    integrity: Sequence[str]
    host_keys: Sequence[str]
    signatures: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One connection, as ssh would make it.

    Attributes:
        host: name or address to connect to.
        port: of the host.
        user: who logs in.
        family: ``any``, ``inet`` or ``inet6``.
        known_as: name of the host in files of known hosts, and in certificates.
        names_port: whether its port is a part of that name.
        known_hosts: those files.
        new_keys_pass: whether ssh would take the key of a host that is in none of them, and keep it
            nowhere.
        algorithms: see there.
        compression: whether data is compressed.
        seconds: until the host must have answered, None for as long as it takes.
        alive_interval: seconds of silence after which the host is asked for a sign of life.
        alive_most: how many of them may be missed.
        tcp_keepalive: whether the kernel looks after the connection too.
        environment: variables that are sent along.
        proxy: command that connects to the host, for the user's shell; None for a plain socket.
        identities: files of keys, in the order in which they are tried.
        identities_only: whether the agent's other keys are left out.
        agent: socket of the agent, None without one.

    """

    host: str
    port: int
    user: str
    family: str
    known_as: str
    names_port: bool
    known_hosts: tuple[str, ...]
    new_keys_pass: bool
    algorithms: Algorithms
    compression: bool
    seconds: float | None
    alive_interval: int
    alive_most: int
    tcp_keepalive: bool
    environment: Mapping[str, str]
    proxy: str | None
    identities: tuple[str, ...]
    identities_only: bool
    agent: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names under which the host's key may be known; the first known one counts."""
        if self.names_port and self.port != _DEFAULT_PORT:
            return f"[{self.known_as}]:{self.port}", self.known_as
        return (self.known_as,)


def settings(
    resolved: Resolved, defaults: Resolved, environ: Mapping[str, str], command: Sequence[str]
) -> Settings:
    """Return what to do for a connection.

    Args:
        resolved: what ssh makes of its command line.
        defaults: what it does where nobody says anything.
        environ: this process's environment.
        command: the program and its arguments without the host, for a jump host.

    Raises:
        OnlySshError: our client cannot do the same.

    """
    _refuse_others(resolved, defaults)
    one = _Values(resolved)
    host, port, user = one["hostname"], int(one["port"]), one["user"]
    alias = one.get("hostkeyalias")
    files = [*_words(one, "userknownhostsfile"), *_words(one, "globalknownhostsfile")]
    tokens = _Tokens(one, environ)
    timeout = one.get("connecttimeout", "none")
    return Settings(
        host=host,
        port=port,
        user=user,
        family=_FAMILIES[one.get("addressfamily", "any")],
        known_as=alias or host,
        names_port=not alias,
        known_hosts=tuple(tokens.path(name) for name in files if name != "none"),
        # Where the key of a new host would be kept, ssh itself has to keep it.
        new_keys_pass=one.get("stricthostkeychecking") in NEW_KEYS_PASS
        and files[:1] == [os.devnull],
        algorithms=_algorithms(one, any_cipher=_same("ciphers", resolved, defaults)),
        compression=one.get("compression", "no") not in _NO,
        seconds=None if timeout in _NO else float(timeout),
        alive_interval=int(one.get("serveraliveinterval", "0")),
        alive_most=int(one.get("serveralivecountmax", "3")),
        tcp_keepalive=one.get("tcpkeepalive", "yes") not in _NO,
        environment=dict(_environment(resolved, environ)),
        proxy=_proxy(one, tokens, command),
        identities=tuple(
            tokens.path(name) for name in resolved.get("identityfile", ()) if name != "none"
        ),
        identities_only=one.get("identitiesonly", "no") not in _NO,
        agent=_agent(one, tokens, environ),
    )


def of_session(
    resolved: Resolved, defaults: Resolved, environ: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the variables that go to a host with a command, over a connection that is there.

    Args:
        resolved: as for :func:`settings`.
        defaults: as above.
        environ: as above.

    Raises:
        OnlySshError: more goes with it than these.

    """
    _refuse_others(resolved, defaults)
    return dict(_environment(resolved, environ))


def wants_kerberos(resolved: Resolved) -> bool:
    """Return whether ssh would try a Kerberos ticket first, if there were one."""
    return _Values(resolved).get("gssapiauthentication", "no") not in _NO


class _Values:
    """The options that have one value."""

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved

    def __getitem__(self, name: str) -> str:
        found = self.get(name)
        if not found:
            raise OnlySshError(f"ssh -G does not tell its {name}")
        return found

    def get(self, name: str, default: str = "") -> str:
        values = self._resolved.get(name)
        return values[0] if values else default


def _refuse_others(resolved: Resolved, defaults: Resolved) -> None:
    """Refuse what is neither carried out here, nor without effect, nor as it always is."""
    one = _Values(resolved)
    for name, values in resolved.items():
        if name in _DONE or name in _IDLE or _same(name, resolved, defaults):
            continue
        if name == "gssapiauthentication" or (
            name == "requesttty" and values[0] in {"auto", "no", "false"}
        ):
            continue
        if name == "controlpath" and values[0] == "none":
            continue
        raise OnlySshError(f"{name} {' '.join(values)}".strip())
    if one.get("pubkeyauthentication", "yes") in _NO:
        raise OnlySshError("pubkeyauthentication no")
    methods = one.get("preferredauthentications")
    if methods and "publickey" not in methods.split(","):
        raise OnlySshError(f"preferredauthentications {methods}")


def _same(name: str, resolved: Resolved, defaults: Resolved) -> bool:
    return list(resolved.get(name, ())) == list(defaults.get(name, ()))


def _algorithms(one: _Values, *, any_cipher: bool) -> Algorithms:
    def names(option: str) -> tuple[str, ...]:
        return tuple(one[option].split(","))

    return Algorithms(
        key_exchange=names("kexalgorithms"),
        encryption=names("ciphers"),
        any_cipher=any_cipher,
        integrity=names("macs"),
        host_keys=names("hostkeyalgorithms"),
        signatures=names("pubkeyacceptedalgorithms"),
    )


def _words(one: _Values, name: str) -> list[str]:
    words = one.get(name).split()
    if any(word != "none" and not word.startswith(("/", "~")) for word in words):
        raise OnlySshError(f"{name} {' '.join(words)}")  # a blank in a path, or a relative one
    return words


class _Tokens:
    """Replaces in paths and commands what ssh replaces."""

    def __init__(self, one: _Values, environ: Mapping[str, str]) -> None:
        self._environ = environ
        host = one["hostname"]
        self._known = {
            "%": "%",
            "d": home(),
            "h": host,
            "i": str(os.getuid()),
            "n": one.get("host") or host,
            "p": one["port"],
            "r": one["user"],
        }

    def text(self, text: str) -> str:
        """Return a text with its tokens replaced."""

        def value(found: re.Match[str]) -> str:
            if found[1] not in self._known:
                raise OnlySshError(f"%{found[1]} in {text}")
            return self._known[found[1]]

        return _TOKEN.sub(value, text)

    def path(self, text: str) -> str:
        """Return a path with tokens and ``~`` replaced."""
        if "${" in text:
            raise OnlySshError(f"a variable in {text}")
        path = self.text(text)
        if path.startswith("~"):
            if not path.startswith("~/"):
                raise OnlySshError(f"the path {path}")
            path = home() + path[1:]
        return path


def _agent(one: _Values, tokens: _Tokens, environ: Mapping[str, str]) -> str | None:
    named = one.get("identityagent", "SSH_AUTH_SOCK")
    if named == "none":
        return None
    if named == "SSH_AUTH_SOCK":
        return environ.get("SSH_AUTH_SOCK") or None
    if named.startswith("$") and not named.startswith("${"):
        return environ.get(named[1:]) or None
    return tokens.path(named)


def _environment(resolved: Resolved, environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    patterns = tuple(pattern for value in resolved.get("sendenv", ()) for pattern in value.split())
    for name in _sent(patterns, tuple(environ)):
        yield name, environ[name]
    for text in resolved.get("setenv", ()):  # one each, without the quotes that it was set with
        name, _, value = text.partition("=")
        yield name, value


@lru_cache  # hosts differ in neither
def _sent(patterns: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of variables that patterns mean."""
    plain = [pattern.replace("[", "[[]") for pattern in patterns]  # a class only for fnmatch
    return tuple(name for name in names if any(fnmatchcase(name, each) for each in plain))


def _proxy(one: _Values, tokens: _Tokens, command: Sequence[str]) -> str | None:
    """Return the command that connects to the host: ssh makes one of a jump host, this one."""
    jump, proxy = one.get("proxyjump", "none"), one.get("proxycommand", "none")
    if jump.lower() != "none":
        first, _, last = jump.rpartition(",")
        words = [command[0], *(["-J", first] if first else []), *_kept_words(command)]
        to = f"[{one['hostname']}]:{one['port']}"
        return shlex.join([*words, "-W", to, *_jump_host(last)])
    return None if proxy == "none" else tokens.text(proxy)


def _kept_words(command: Sequence[str]) -> list[str]:
    """Return what ssh passes on to the ssh that jumps: which configuration it reads."""
    for word, after in pairwise(command):
        if word == "-F":
            return ["-F", after]
        if word.startswith("-F"):
            return [word]
    return []


def _jump_host(text: str) -> list[str]:
    """Return the arguments for one jump host, ``[user@]host[:port]`` or a URI of ssh's.

    >>> _jump_host("ops@[::1]:2222"), _jump_host("gate")
    (['-l', 'ops', '-p', '2222', '--', '::1'], ['--', 'gate'])
    """
    text = text.removeprefix("ssh://").rstrip("/")
    user, _, place = text.rpartition("@")
    found = re.fullmatch(r"\[(.+)\](?::(\d+))?|([^:]+)(?::(\d+))?|(.+)", place)
    host, port = place, None
    if found:
        host, port = found[1] or found[3] or found[5], found[2] or found[4]
    return [*(["-l", user] if user else []), *(["-p", port] if port else []), "--", host]
