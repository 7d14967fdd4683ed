"""The options of the OCI inventory: names, defaults, environment variables, checks.

The plugin's DOCUMENTATION says the same for Ansible; a contract test compares the two.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from gpuprep.errors import ConfigError

AUTH_TYPES: Final = (
    "auto",
    "api_key",
    "security_token",
    "instance_principal",
    "instance_obo_user",
    "resource_principal",
    "oke_workload_identity",
)
ADDRESSES: Final = ("private_ip", "public_ip", "ipv6", "fqdn")
NAMES: Final = ("display_name", "hostname_label", *ADDRESSES, "id")
RESOLVE: Final = ("auto", "always", "never")
ON_PARTIAL: Final = ("fail", "warn")
FILTERS: Final = (
    "display_name",
    "availability_domain",
    "fault_domain",
    "compute_cluster_id",
    "capacity_reservation_id",
    "freeform_tags",
    "defined_tags",
)
STATES: Final = (
    "MOVING",
    "PROVISIONING",
    "RUNNING",
    "STARTING",
    "STOPPING",
    "STOPPED",
    "CREATING_IMAGE",
    "TERMINATING",
    "TERMINATED",
)

# The official collection's names first, then the OCI CLI's; the first one that is set wins.
ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "auth_type": ("OCI_ANSIBLE_AUTH_TYPE", "OCI_CLI_AUTH"),
        "config_file": ("OCI_CONFIG_FILE", "OCI_CLI_CONFIG_FILE"),
        "config_profile": ("OCI_CONFIG_PROFILE", "OCI_CLI_PROFILE"),
        "tenancy": ("OCI_TENANCY", "OCI_CLI_TENANCY"),
        "region": ("OCI_REGION", "OCI_CLI_REGION"),
        "api_user": ("OCI_USER_ID", "OCI_CLI_USER"),
        "api_user_fingerprint": ("OCI_USER_FINGERPRINT", "OCI_CLI_FINGERPRINT"),
        "api_user_key_file": ("OCI_USER_KEY_FILE", "OCI_CLI_KEY_FILE"),
        "api_user_key_pass_phrase": ("OCI_USER_KEY_PASS_PHRASE", "OCI_CLI_PASSPHRASE"),
        "security_token_file": ("OCI_CLI_SECURITY_TOKEN_FILE",),
        "delegation_token_file": ("OCI_DELEGATION_TOKEN_FILE", "OCI_CLI_DELEGATION_TOKEN_FILE"),
        "service_endpoint": ("GPUPREP_OCI_ENDPOINT",),
        "federation_endpoint": ("GPUPREP_OCI_FEDERATION_ENDPOINT",),
    }
)

# Options that Ansible's part of the plugin reads: its own, and those of Ansible's fragments.
OF_THE_PLUGIN: Final = frozenset(
    {
        "plugin",
        "include_filters",
        "exclude_filters",
        "stale_if_error",
        "fail_command",
        "strict",
        "compose",
        "groups",
        "keyed_groups",
        "use_extra_vars",
        "leading_separator",
        "cache",
        "cache_plugin",
        "cache_timeout",
        "cache_connection",
        "cache_prefix",
    }
)

# What users of oracle.oci.oci may bring along, and what to write instead.
_ELSEWHERE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "hostname_format": "hostnames and ansible_host_from",
        "hostname_format_preferences": "hostnames and ansible_host_from",
        "include_host_filters": "include_filters",
        "exclude_host_filters": "exclude_filters",
        "enable_parallel_processing": "workers",
        "enable_ipv6": "resolve_ipv6",
        "default_groups": "nothing: the groups are always there",
        "default_groups_preferences": "nothing: the groups are always there",
        "primary_vnic_only": "nothing: a host is always listed once, by its primary VNIC",
        "fetch_compute_hosts": "nothing: compute instances are what is listed",
        "fetch_db_hosts": "the official plugin for database hosts",
        "debug": "ansible-inventory -vvv",
    }
)


@dataclass(frozen=True, slots=True)
class Options:
    """What to list and how to tell it; see docs/inventory.md for each option's meaning."""

    auth_type: str = "auto"
    config_file: str = "~/.oci/config"
    config_profile: str = "DEFAULT"
    tenancy: str | None = None
    region: str | None = None
    api_user: str | None = None
    api_user_fingerprint: str | None = None
    api_user_key_file: str | None = None
    api_user_key_pass_phrase: str | None = field(default=None, repr=False)
    security_token_file: str | None = None
    delegation_token_file: str | None = None
    service_endpoint: str | None = None
    federation_endpoint: str | None = None

    regions: tuple[str, ...] = ()
    compartments: tuple[str, ...] = ()
    include_subcompartments: bool = False
    exclude_compartments: tuple[str, ...] = ()
    gpu_only: bool = True
    shapes: tuple[str, ...] = ()
    lifecycle_states: tuple[str, ...] = ("RUNNING",)
    filters: Mapping[str, Any] = field(default_factory=dict)
    on_partial: str = "fail"

    hostnames: tuple[str, ...] = ("display_name", "private_ip")
    ansible_host_from: tuple[str, ...] = ("private_ip", "ipv6")
    ssh_user: str | None = None
    hostvars_prefix: str = "oci_"
    tag_groups: tuple[str, ...] = ("*",)
    resolve_images: bool = False
    resolve_public_ips: str = "auto"
    resolve_ipv6: str = "auto"
    resolve_clusters: bool = False

    workers: int = 8
    max_attempts: int = 6
    timeout: int = 60

    @classmethod
    def from_mapping(cls, given: Mapping[str, Any]) -> Options:
        """Check values and make options of them; an absent or null value means the default.

        Raises:
            ConfigError: an unknown option, or a value of the wrong kind.

        """
        reject_unknown(given)
        values = {
            one.name: _checked(one.name, given[one.name], _default(one))
            for one in fields(cls)
            if given.get(one.name) is not None
        }
        options = cls(**values)
        options._check()
        return options

    def _check(self) -> None:
        _one_of("auth_type", (self.auth_type,), AUTH_TYPES)
        _one_of("on_partial", (self.on_partial,), ON_PARTIAL)
        _one_of("resolve_public_ips", (self.resolve_public_ips,), RESOLVE)
        _one_of("resolve_ipv6", (self.resolve_ipv6,), RESOLVE)
        _one_of("hostnames", self.hostnames, NAMES)
        _one_of("ansible_host_from", self.ansible_host_from, ADDRESSES)
        _one_of("lifecycle_states", self.lifecycle_states, STATES)
        _one_of("filters", tuple(self.filters), FILTERS)
        for name in ("workers", "max_attempts", "timeout"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if not (self.hostvars_prefix + "x").isidentifier():
            raise ConfigError(
                f"hostvars_prefix: {self.hostvars_prefix!r} cannot begin a variable name"
            )

    def wants(self, fact: str) -> bool:
        """Return whether ``public_ip`` or ``ipv6`` must be looked up for every host."""
        choice = self.resolve_public_ips if fact == "public_ip" else self.resolve_ipv6
        if choice == "auto":
            return fact in {self.hostnames[0], self.ansible_host_from[0]}
        return choice == "always"


def names() -> frozenset[str]:
    """Names of all options."""
    return frozenset(one.name for one in fields(Options))


def reject_unknown(given: Mapping[str, Any]) -> None:
    """Refuse options nobody reads; a misspelt filter must not widen a run.

    Raises:
        ConfigError: naming each unknown option and what was probably meant.

    """
    known = names() | OF_THE_PLUGIN
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise ConfigError("; ".join(_advice(name, known) for name in unknown))


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the options that environment variables set."""
    found: dict[str, str] = {}
    for option, variables in ENVIRONMENT.items():
        value = next((environ[name] for name in variables if environ.get(name)), None)
        if value is not None:
            found[option] = value
    return found


def _advice(name: str, known: frozenset[str]) -> str:
    if name in _ELSEWHERE:
        return f"{name} is an option of oracle.oci.oci; here use {_ELSEWHERE[name]}"
    near = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"unknown option {name}{meant}"


def _default(one: Any) -> Any:  # noqa: ANN401 - dataclasses.Field is generic in its value
    return one.default if one.default is not MISSING else one.default_factory()


def _checked(name: str, value: Any, default: Any) -> Any:  # noqa: ANN401 - from YAML
    if isinstance(default, bool):
        return _as(bool, name, value, "true or false")
    if isinstance(default, int):
        return _as(int, name, value, "a whole number")
    if isinstance(default, tuple):
        return _strings(name, value)
    if isinstance(default, Mapping):
        return dict(_as(Mapping, name, value, "a mapping"))
    return _as(str, name, value, "a string")


def _as(kind: type[Any], name: str, value: Any, words: str) -> Any:  # noqa: ANN401 - from YAML
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ConfigError(f"{name}: needs {words}, not {type(value).__name__}")
    return value


def _strings(name: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - from YAML
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ConfigError(f"{name}: needs a list of strings, not {type(value).__name__}")
    for item in items:
        if isinstance(item, Mapping):
            raise ConfigError(f"{name}: {_flattened(name, item)}")
        if not isinstance(item, str):
            raise ConfigError(f"{name}: {item!r} is no string")
    if not items and name in {"hostnames", "ansible_host_from", "lifecycle_states"}:
        raise ConfigError(f"{name}: the list is empty")
    return tuple(items)


def _flattened(name: str, item: Mapping[str, Any]) -> str:
    if name != "compartments":
        return "the items must be strings, not mappings"
    which = item.get("compartment_ocid") or item.get("compartment_name") or "OCID, name or /path"
    return (
        f"write the compartment as a string, `- {which}`; "
        "fetch_hosts_from_subcompartments is now the option include_subcompartments"
    )


def _one_of(name: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise ConfigError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
