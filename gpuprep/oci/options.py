"""The options of the OCI inventory: names, defaults, environment variables, checks.

The plugin's DOCUMENTATION says the same for Ansible; a contract test compares the two.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
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

# Options that Ansible's part of the plugin reads, its own and those of Ansible's fragments, with a
# value of the right kind.
_OF_THE_PLUGIN: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "plugin": "",
        "include_filters": (),
        "exclude_filters": (),
        "stale_if_error": False,
        "fail_command": True,
        "strict": False,
        "compose": {},
        "groups": {},
        "keyed_groups": [],
        "use_extra_vars": False,
        "leading_separator": True,
        "cache": False,
        "cache_plugin": "",
        "cache_timeout": 0,
        "cache_connection": "",
        "cache_prefix": "",
    }
)
_KEYED_GROUP: Final = (
    "key", "prefix", "separator", "parent_group", "default_value", "trailing_separator",
)  # fmt: skip
# What holds expressions: everything else is taken as it is written.
_EXPRESSIONS: Final = (
    "include_filters", "exclude_filters", "compose", "groups", "keyed_groups",
)  # fmt: skip

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
        "fetch_hosts_from_subcompartments": "include_subcompartments, for all compartments",
        "instance_principal_authentication": "auth_type: instance_principal",
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
        _check_filters(self.filters)
        for one in fields(self):
            _refuse_templates(one.name, getattr(self, one.name))
        for name in ("workers", "max_attempts", "timeout"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name}: must be at least 1, not {getattr(self, name)}")
        if not (self.hostvars_prefix + "x").isidentifier():
            raise ConfigError(
                f"hostvars_prefix: {self.hostvars_prefix!r} cannot begin a variable name"
            )

    def asked_by(self, content: Mapping[str, Any]) -> Options:
        """Return the options, with the addresses looked up that the file's expressions name."""
        text = repr([content.get(name) for name in _EXPRESSIONS])

        def choice(now: str, fact: str) -> str:
            word = rf"\b{re.escape(self.hostvars_prefix + fact)}\b"
            return "always" if now == "auto" and re.search(word, text) else now

        return replace(
            self,
            resolve_public_ips=choice(self.resolve_public_ips, "public_ip"),
            resolve_ipv6=choice(self.resolve_ipv6, "ipv6"),
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
    known = names() | _OF_THE_PLUGIN.keys()
    unknown = [str(name) for name in given if name not in known]
    if unknown:
        raise ConfigError("; ".join(_advice(name, known) for name in unknown))


def check_file(content: Mapping[str, Any]) -> None:
    """Check all values of an inventory file, as they are written there.

    Raises:
        ConfigError: naming the option, what it needs, and what was given.

    """
    reject_unknown(content)
    Options.from_mapping(of_gpuprep(content))
    for name, example in _OF_THE_PLUGIN.items():
        if content.get(name) is not None:
            _check_ansibles(name, content[name], example)


def of_gpuprep(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file says for ``Options``."""
    return {key: value for key, value in content.items() if key not in _OF_THE_PLUGIN}


def has_expressions(content: Mapping[str, Any]) -> bool:
    """Return whether a file holds expressions, which only Ansible can evaluate."""
    return any(content.get(name) for name in _EXPRESSIONS)


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


def _check_ansibles(name: str, value: Any, example: Any) -> None:  # noqa: ANN401 - from YAML
    if isinstance(example, list):
        _check_keyed_groups(name, value)
        return
    checked = _checked(name, value, example)
    if isinstance(example, Mapping):
        for key, expression in checked.items():
            _expression(f"{name}: {key}", expression)
    elif isinstance(example, tuple) and isinstance(value, str) and "," in value:
        raise ConfigError(f"{name}: write the expression as an item of a list: - {value}")


def _check_keyed_groups(name: str, value: Any) -> None:  # noqa: ANN401 - from YAML
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{name}: needs a list of mappings, not {type(value).__name__}")
    for item in value:
        if not isinstance(item, Mapping):
            raise ConfigError(f"{name}: needs mappings with a key, not {type(item).__name__}")
        _one_of(name, tuple(item), _KEYED_GROUP)
        _expression(f"{name}: key", item.get("key"))


def _expression(where: str, value: Any) -> None:  # noqa: ANN401 - from YAML
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(f"{where}: needs an expression in quotes, not {value!r}")


def _check_filters(filters: Mapping[str, Any]) -> None:
    if "lifecycle_state" in filters:
        raise ConfigError("filters: lifecycle_state is the option lifecycle_states, a list")
    _one_of("filters", tuple(filters), FILTERS)
    for name, value in filters.items():
        if name == "freeform_tags":
            _check_tags(f"filters: {name}", value)
        elif name == "defined_tags":
            for space, tags in _as(Mapping, f"filters: {name}", value, "a mapping").items():
                _check_tags(f"filters: {name}: {space}", tags)
        elif not _as(str, f"filters: {name}", value, "a string"):
            raise ConfigError(f"filters: {name}: is empty")


def _check_tags(where: str, tags: Any) -> None:  # noqa: ANN401 - from YAML
    for key, value in _as(Mapping, where, tags, "a mapping of tags to values").items():
        if isinstance(value, bool) or not isinstance(value, str | int):
            # OCI's values are strings: YAML's own reading of `true` or `1.10` is none of them
            raise ConfigError(f"{where}: {key}: needs a string in quotes, not {value!r}")


def _refuse_templates(name: str, value: Any) -> None:  # noqa: ANN401 - from YAML
    if isinstance(value, Mapping):
        for inner in value.values():
            _refuse_templates(name, inner)
    elif isinstance(value, tuple):
        for inner in value:
            _refuse_templates(name, inner)
    elif isinstance(value, str) and ("{{" in value or "{%" in value):
        raise ConfigError(
            f"{name}: templates are not evaluated here: write the value itself, or set the "
            "environment variable of the option, where it has one"
        )


def _strings(name: str, value: Any) -> tuple[str, ...]:  # noqa: ANN401 - from YAML
    # Ansible takes a string for a list, parted by commas.
    items = [one.strip() for one in value.split(",")] if isinstance(value, str) else value
    if not isinstance(items, list | tuple):
        raise ConfigError(f"{name}: needs a list of strings, not {type(value).__name__}")
    for item in items:
        if isinstance(item, Mapping):
            raise ConfigError(f"{name}: {_flattened(name, item)}")
        if not isinstance(item, str) or not item:
            raise ConfigError(f"{name}: {item!r} is no string, or an empty one")
    if not items and name in {"hostnames", "ansible_host_from", "lifecycle_states"}:
        raise ConfigError(f"{name}: the list is empty")
    return tuple(items)


def _flattened(name: str, item: Mapping[str, Any]) -> str:
    if name not in {"compartments", "exclude_compartments"}:
        return "the items must be strings, not mappings"
    which = item.get("compartment_ocid") or item.get("compartment_name") or "OCID, name or /path"
    return f"write the compartment as a string, `- {which}`; " + (
        "fetch_hosts_from_subcompartments is now the option include_subcompartments"
        if name == "compartments"
        else "all that lies below is left out, too"
    )


def _one_of(name: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    for value in values:
        if value not in allowed:
            raise ConfigError(f"{name}: {value!r} is not one of {', '.join(allowed)}")
