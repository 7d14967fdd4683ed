"""From Ansible variables to settings, typed.

The inputs and their defaults are read from the roles' ``meta/argument_specs.yml`` and from
``fleet_variables.yml``: nothing is written twice.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from gpuprep import kept
from gpuprep.components import COMPONENTS, KNOWN, NAMES, ROLES
from gpuprep.errors import ConfigError
from gpuprep.layout import collection_root, package_root
from gpuprep.model import DesiredStack, Environment, Settings
from gpuprep.workloads.python_lock import names_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


PREFIXES = tuple(f"{name}_" for name in (*ROLES, "gpuprep"))
NONE = "none"
KEEP = "keep"


@lru_cache
def role_options(role: str) -> Mapping[str, Mapping[str, Any]]:
    """Return the input options of a role, as its argument specification says."""
    path = collection_root() / "roles" / role / "meta/argument_specs.yml"
    loaded = kept.own(path)
    options: Mapping[str, Mapping[str, Any]] = loaded["argument_specs"]["main"]["options"]
    return options


@lru_cache
def fleet_options() -> Mapping[str, Mapping[str, Any]]:
    """Return the fleet-wide variables, in the form of an argument specification."""
    path = package_root() / "planner/fleet_variables.yml"
    options: dict[str, dict[str, Any]] = kept.own(path)["options"]
    # The names of the components have their home in gpuprep.components.
    options["gpuprep_components"] |= {"choices": list(KNOWN), "default": list(NAMES)}
    return options


@lru_cache
def all_options() -> Mapping[str, Mapping[str, Any]]:
    """Return every variable that gpuprep reads, with its specification."""
    merged = dict(fleet_options())
    for role in ROLES:
        merged |= role_options(role)
    return merged


def unknown_variables(names: Iterable[str]) -> dict[str, str | None]:
    """Return variables with one of our prefixes that nothing reads, with a likely spelling.

    A name without a close match is somebody else's variable more likely than a slip.
    """
    known = all_options()
    exported = {name for component in COMPONENTS for name in component.exports}
    ours = (n for n in names if n.startswith(PREFIXES) and n not in known)
    strays = (n for n in ours if n not in exported)  # facts of our roles are none of the inputs
    return {
        name: next(iter(difflib.get_close_matches(name, known, n=1, cutoff=0.85)), None)
        for name in strays
    }


def _environment(entry: Mapping[str, Any], files: Mapping[str, str]) -> Environment:
    """Read one entry of ``conda_environments``; exactly one kind of specification."""
    given = [key for key in ("packages", "file", "lock") if entry.get(key)]
    if len(given) != 1:
        raise ConfigError(
            f"conda_environments: environment {entry.get('name')!r} needs exactly one of packages,"
            f" file, lock; it has {' and '.join(given) or 'none of them'}"
        )
    kind = given[0]
    if kind == "packages":
        return Environment(entry["name"], kind, "\n".join(entry["packages"]))
    path = str(entry[kind])
    if path not in files:
        raise ConfigError(f"conda_environments: {kind} {path!r} of {entry['name']!r} is not there")
    return Environment(entry["name"], "yaml" if kind == "file" else "explicit", files[path])


def environment_files(variables: Mapping[str, Any]) -> list[str]:
    """Return the controller's files that the wanted environments and workloads name."""
    entries = variables.get("conda_environments") or []
    found = [str(e[key]) for e in entries for key in ("file", "lock") if e.get(key)]
    lock = variables.get("faceswap_lock")
    return [*found, str(lock)] if lock else found


def _python_lock(values: Mapping[str, Any], files: Mapping[str, str]) -> str | None:
    """Return the text of the lock that ``faceswap_lock`` names, held to the form of locks."""
    path = values["faceswap_lock"]
    if not path:
        return None
    if path not in files:
        raise ConfigError(f"faceswap_lock: {path!r} is not there")
    names_of(files[path], f"faceswap_lock: {path}")
    return files[path]


def _components(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the wanted components: those chosen, less those set to ``none``."""
    chosen = values["gpuprep_components"]
    return tuple(c.name for c in COMPONENTS if c.name in chosen and c.wanted(values))


def settings_from(
    variables: Mapping[str, Any],
    *,
    files: Mapping[str, str] | None = None,
) -> Settings:
    """Return the settings of one host.

    Args:
        variables: the host's variables, validated against the specifications; absent ones take
            their default.
        files: text of the controller's files that environments name.

    Raises:
        ConfigError: settings contradict each other.

    """
    values: dict[str, Any] = {name: o.get("default") for name, o in all_options().items()}
    values |= {name: value for name, value in variables.items() if name in values}
    terms = values["conda_accept_anaconda_terms"]
    if "defaults" in values["conda_channels"] and not terms:
        raise ConfigError(
            "conda_channels: Anaconda's 'defaults' channels need a licence in many organisations;"
            " set conda_accept_anaconda_terms: true if yours has one, or use conda-forge"
        )
    toolkits = tuple(v for v in values["cuda_toolkit_versions"] if v not in {"auto", NONE})
    default = values["cuda_toolkit_default"]
    branch = values["gpu_driver_branch"]
    stack = DesiredStack(
        components=_components(values),
        source=values["gpu_driver_source"],
        channel=values["gpuprep_channel"],
        branch="auto" if branch in {KEEP, NONE} else branch,
        version=values["gpu_driver_version"],
        flavour=values["gpu_driver_flavour"],
        profile=values["gpu_driver_profile"],
        cuda=toolkits,
        cuda_default=None if default == "auto" else default,
        cudnn="auto" if values["cudnn_version"] == NONE else values["cudnn_version"],
        forward_compat=values["cuda_toolkit_forward_compat"],
        allow_unknown_gpu=values["gpuprep_allow_unknown_gpu"],
        as_of=values["gpuprep_as_of"] or None,
        mirror=values["gpuprep_mirror"] or None,
        mirror_fingerprint=values["gpuprep_mirror_fingerprint"].replace(" ", "").upper() or None,
        conda_version="auto"
        if values["conda_installer_version"] == NONE
        else values["conda_installer_version"],
        conda_mirror=values["conda_mirror"] or None,
        conda_sha256=values["conda_installer_sha256"] or None,
        faceswap_variant=values["faceswap_variant"],
        faceswap_backend=values["faceswap_backend"],
        faceswap_python=values["faceswap_python"],
        faceswap_commit=values["faceswap_commit"].lower(),
    )
    kernel = values["gpu_driver_kernel"]
    entries = values["conda_environments"]
    if "faceswap" in (stack.components or ()) and "faceswap" in {e["name"] for e in entries}:
        raise ConfigError(
            "conda_environments: the environment 'faceswap' is made by the role faceswap; give"
            " yours another name"
        )
    return Settings(
        stack=stack,
        values=values,
        keep_driver=branch == KEEP,
        kernel=None if kernel == "running" else kernel,
        persistence=values["gpu_driver_persistence"],
        short_cut=values["gpuprep_short_cut"],
        reboot_allowed=values["gpu_driver_reboot_allowed"],
        conda_prefix=values["conda_prefix"],
        conda_channels=tuple(values["conda_channels"]),
        conda_channel_alias=values["conda_channel_alias"],
        lock_timeout=values["gpuprep_lock_timeout"],
        environments=tuple(_environment(entry, files or {}) for entry in entries),
        python_lock=_python_lock(values, files or {}),
        shape=variables.get("oci_shape"),
    )
