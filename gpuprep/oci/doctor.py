"""Find out, step by step, why hosts cannot be listed, and what would fix it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import yaml

from gpuprep.errors import ConfigError, ExitCode, GpuprepError, InventoryError
from gpuprep.oci import listing, profile, scope
from gpuprep.oci.client import CallFailedError, Client
from gpuprep.oci.gaps import settled
from gpuprep.oci.options import Options, check_file, from_environment, of_gpuprep
from gpuprep.oci.sdk import sdk
from gpuprep.oci.signin import Identity, lacks_file, sign_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PLUGIN: Final = "gpuprep.core.oci"
_WORRYING_SKEW: Final = 60.0  # OCI refuses at 300


class Verdict(StrEnum):
    """How a step went."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Finding:
    """One step.

    Attributes:
        step: ``configuration``, ``profile``, ``sdk``, ``key``, ``network``, ``clock``,
            ``permissions`` or ``hosts``.
        verdict: how it went.
        detail: what was found, or what is wrong and what to do.
        policies: statements to add to a policy in OCI.
        exit_code: what the process should say when this is the worst.

    """

    step: str
    verdict: Verdict
    detail: str
    policies: tuple[str, ...] = ()
    exit_code: ExitCode = ExitCode.OK


def examine(path: Path | None, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Go through all steps; ends after the first that leaves no way on.

    Args:
        path: inventory file of the plugin; None = its defaults.
        environ: environment variables.

    """
    step = "configuration"
    try:
        options = read_options(path, environ)
        yield Finding(step, Verdict.OK, str(path) if path else "no file: the plugin's defaults")
        step = "profile"
        who = profile.load(options)
        yield _profile(who, options)
        step = "sdk"
        yield Finding(step, Verdict.OK, f"oci {sdk().__version__}")
        step = "key"
        identity = sign_in(options, who)
        yield _signed_in(identity)
        step = "network"
        client = Client(identity, options)
        yield from _reached(client, options)
        step = "permissions"
        yield from _listed(client, options)
    except CallFailedError as error:
        statement = error.statement(identity.principal)
        missing = (statement,) if statement else ()
        yield Finding(step, Verdict.FAILED, str(error), missing, error.exit_code)
    except GpuprepError as error:
        yield Finding(step, Verdict.FAILED, str(error), exit_code=error.exit_code)


def read_options(path: Path | None, environ: Mapping[str, str]) -> Options:
    """Read the options as the plugin would: the file first, then environment variables.

    Raises:
        ConfigError: the file is not one of this plugin, or an option is wrong.
        InventoryError: the file cannot be read.

    """
    content = read_file(path) if path else {}
    check_file(content)
    ours = {name: value for name, value in of_gpuprep(content).items() if value is not None}
    return Options.from_mapping({**from_environment(environ), **ours}).asked_by(content)


class _Loader(yaml.SafeLoader):
    """Leaves out what is encrypted: only Ansible can read it."""


_Loader.add_constructor("!vault", lambda _loader, _node: None)


def read_file(path: Path) -> dict[str, Any]:
    """Read an inventory file of the plugin.

    Raises:
        ConfigError: it is not one.
        InventoryError: it cannot be read.

    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)  # noqa: S506 - a safe one
    except (OSError, UnicodeDecodeError) as error:
        raise InventoryError(f"{path} cannot be read: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is no YAML: {error}") from None
    if not path.name.endswith((".oci.yml", ".oci.yaml")):
        raise ConfigError(f"{path}: the name must end in .oci.yml, or Ansible passes it by")
    named = content.get("plugin") if isinstance(content, dict) else None
    if named != PLUGIN:
        raise ConfigError(f"{path}: needs the line `plugin: {PLUGIN}`, not {named!r}")
    return dict(content)


def _profile(who: profile.Profile, options: Options) -> Finding:
    if who.found:
        return Finding("profile", Verdict.OK, who.source)
    if lacks_file(options, who):  # the key, which is looked at next, says what to do
        return Finding("profile", Verdict.WARNING, f"{who.source}: no such file")
    return Finding("profile", Verdict.OK, f"none needed; {who.source}: no such file")


def _signed_in(identity: Identity) -> Finding:
    if identity.warnings:
        return Finding("key", Verdict.WARNING, "; ".join(identity.warnings))
    return Finding("key", Verdict.OK, f"{identity.auth_type}: {identity.proof}")


def _reached(client: Client, options: Options) -> Iterator[Finding]:
    started = time.monotonic()
    found = scope.compartments(client, options)
    spent = time.monotonic() - started
    if not client.requests:  # compartments by OCID need no request
        yield Finding("network", Verdict.OK, f"{len(found)} compartments by OCID; see permissions")
        return
    yield Finding(
        "network", Verdict.OK, f"signed request answered in {spent * 1000:.0f} ms; "
        f"{len(found)} compartments"
    )  # fmt: skip
    skew = client.skew or 0.0
    worrying = abs(skew) > _WORRYING_SKEW
    yield Finding(
        "clock",
        Verdict.WARNING if worrying else Verdict.OK,
        f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} OCI's"
        + ("; OCI refuses at 300: set it (chrony, ntpd)" if worrying else ""),
    )


def _listed(client: Client, options: Options) -> Iterator[Finding]:
    from gpuprep.catalog import load  # noqa: PLC0415 - not needed before

    found = settled(listing.list_hosts(client, options, load().shapes), "warn")
    told = "\n".join(found.warnings[len(client.identity.warnings) :])
    if not found.complete:
        code = ExitCode.UNAVAILABLE
        yield Finding("permissions", Verdict.FAILED, told, found.policies, code)
    elif told:
        yield Finding("permissions", Verdict.WARNING, told, found.policies)
    else:
        yield Finding("permissions", Verdict.OK, f"{client.requests} requests, none refused")
    yield Finding("hosts", Verdict.OK if found.hosts else Verdict.WARNING, found.summary)
