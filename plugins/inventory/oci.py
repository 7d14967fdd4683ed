# Copyright the gpuprep project
# SPDX-License-Identifier: Apache-2.0
"""Shim between Ansible and gpuprep.oci, which decides everything."""

from __future__ import annotations

DOCUMENTATION = r"""
name: oci
author: The gpuprep project (@gpuprep)
short_description: GPU hosts of Oracle Cloud Infrastructure
version_added: 0.1.0
description:
  - Lists compute instances of Oracle Cloud Infrastructure, by default those with GPUs.
  - A tenancy takes a handful of requests, whatever the number of hosts.
  - Is complete or fails. A compartment or subnet that may not be read is an error that names the
    request and the missing policy; see O(on_partial).
  - Uses a file whose name ends in C(.oci.yml) or C(.oci.yaml).
requirements:
  - gpuprep
  - oci (Oracle's SDK for Python; imported only when a request is really needed)
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Marks the file as one for this plugin.
    type: str
    required: true
    choices: [gpuprep.core.oci]
  auth_type:
    description:
      - How to sign in.
      - V(auto) means V(security_token) when the profile has a C(security_token_file), else
        V(api_key).
    type: str
    default: auto
    choices:
      - auto
      - api_key
      - security_token
      - instance_principal
      - instance_obo_user
      - resource_principal
      - oke_workload_identity
    env:
      - name: OCI_ANSIBLE_AUTH_TYPE
      - name: OCI_CLI_AUTH
  config_file:
    description: The SDK's configuration file.
    type: str
    default: ~/.oci/config
    env:
      - name: OCI_CONFIG_FILE
      - name: OCI_CLI_CONFIG_FILE
  config_profile:
    description: Profile of the configuration file.
    type: str
    default: DEFAULT
    env:
      - name: OCI_CONFIG_PROFILE
      - name: OCI_CLI_PROFILE
  tenancy:
    description: OCID of the tenancy; overrides the profile.
    type: str
    env:
      - name: OCI_TENANCY
      - name: OCI_CLI_TENANCY
  region:
    description: Region of the sign-in; overrides the profile. What is listed is O(regions).
    type: str
    env:
      - name: OCI_REGION
      - name: OCI_CLI_REGION
  api_user:
    description: OCID of the user; overrides the profile.
    type: str
    env:
      - name: OCI_USER_ID
      - name: OCI_CLI_USER
  api_user_fingerprint:
    description: Fingerprint of the API key; overrides the profile.
    type: str
    env:
      - name: OCI_USER_FINGERPRINT
      - name: OCI_CLI_FINGERPRINT
  api_user_key_file:
    description: Private key (PEM); overrides the profile.
    type: str
    env:
      - name: OCI_USER_KEY_FILE
      - name: OCI_CLI_KEY_FILE
  api_user_key_pass_phrase:
    description: Passphrase of the private key; overrides the profile.
    type: str
    env:
      - name: OCI_USER_KEY_PASS_PHRASE
      - name: OCI_CLI_PASSPHRASE
  security_token_file:
    description: Token of a session; overrides the profile.
    type: str
    env:
      - name: OCI_CLI_SECURITY_TOKEN_FILE
  delegation_token_file:
    description: Token for O(auth_type=instance_obo_user).
    type: str
    env:
      - name: OCI_DELEGATION_TOKEN_FILE
      - name: OCI_CLI_DELEGATION_TOKEN_FILE
  service_endpoint:
    description:
      - Address to send all requests to, instead of Oracle's. For private realms and for tests.
      - C({region}) in it is replaced.
    type: str
    env:
      - name: GPUPREP_OCI_ENDPOINT
  federation_endpoint:
    description:
      - URL at which an instance gets its token, with its path (C(/v1/x509)), instead of the one of
        the instance's region. For private realms and for tests.
    type: str
    env:
      - name: GPUPREP_OCI_FEDERATION_ENDPOINT
  regions:
    description:
      - Regions to list; V(all) means those the tenancy is subscribed to.
      - Empty means the region of the profile.
    type: list
    elements: str
    default: []
  compartments:
    description:
      - Compartments to list, by OCID, name or path (V(/research/gpu)); V(/) is the root.
      - Empty means all of the tenancy.
    type: list
    elements: str
    default: []
  include_subcompartments:
    description: Whether what lies below O(compartments) is listed too.
    type: bool
    default: false
  exclude_compartments:
    description: Compartments to leave out with all that lies below, by OCID, name or path.
    type: list
    elements: str
    default: []
  gpu_only:
    description: Whether instances without a GPU are left out, before their addresses are asked.
    type: bool
    default: true
  shapes:
    description: Patterns of shapes to list, such as V(*H100*). Empty means all.
    type: list
    elements: str
    default: []
  lifecycle_states:
    description: States of the instances to list.
    type: list
    elements: str
    default: [RUNNING]
  filters:
    description:
      - What instances must have, all of it. Keys are V(display_name), V(availability_domain),
        V(fault_domain), V(compute_cluster_id), V(capacity_reservation_id), and the mappings
        V(freeform_tags) and V(defined_tags).
    type: dict
    default: {}
  include_filters:
    description:
      - Jinja expressions over the host variables. With some given, only hosts for which one holds
        are listed. An expression that fails is an error.
    type: list
    elements: str
    default: []
  exclude_filters:
    description:
      - Jinja expressions; hosts for which one holds are left out, whatever includes them.
      - What is missing of a host that is left out is no error, see O(on_partial).
    type: list
    elements: str
    default: []
  on_partial:
    description:
      - What to do when a part of the tenancy cannot be listed.
      - V(warn) lists the rest; a host without an address then has C(oci_address_missing). Such a
        result is never cached.
    type: str
    default: fail
    choices: [fail, warn]
  hostnames:
    description:
      - What to name hosts by; the first that a host has is taken. Of V(display_name),
        V(hostname_label), V(private_ip), V(public_ip), V(ipv6), V(fqdn), V(id).
      - Hosts that would share a name all get the last six signs of their OCID behind it, and so
        does one called like a group, the controller, or a host of an earlier source.
    type: list
    elements: str
    default: [display_name, private_ip]
  ansible_host_from:
    description:
      - Where C(ansible_host) comes from; the first that a host has is taken. Of V(private_ip),
        V(public_ip), V(ipv6), V(fqdn).
      - A host without any gets C(address-missing.invalid), to which nothing can connect.
    type: list
    elements: str
    default: [private_ip, ipv6]
  ssh_user:
    description:
      - C(ansible_user) of all hosts. Without it, O(resolve_images) sets the login user of the
        platform image.
    type: str
  hostvars_prefix:
    description: What the names of the host variables begin with.
    type: str
    default: oci_
  tag_groups:
    description:
      - Patterns of the tags that become groups, over C(key) of free-form and C(namespace.key) of
        defined tags. An empty list makes none.
    type: list
    elements: str
    default: ['*']
  resolve_images:
    description:
      - Whether to look up images, for C(os_*) groups, C(oci_image) and C(ansible_user). One
        request per distinct image.
    type: bool
    default: false
  resolve_public_ips:
    description:
      - Whether to look up public addresses.
      - V(auto) means when a preference begins with them or an expression names the variable.
    type: str
    default: auto
    choices: [auto, always, never]
  resolve_ipv6:
    description:
      - Whether to look up IPv6 addresses.
      - V(auto) means when a preference begins with them or an expression names the variable.
    type: str
    default: auto
    choices: [auto, always, never]
  resolve_clusters:
    description: Whether to look up cluster networks, GPU memory clusters and instance pools.
    type: bool
    default: false
  workers:
    description: Requests at a time, at most; halved when the service answers 429.
    type: int
    default: 8
  max_attempts:
    description: How often a request is sent before it has failed.
    type: int
    default: 6
  timeout:
    description: Seconds to wait for an answer.
    type: int
    default: 60
  stale_if_error:
    description:
      - Whether an expired cache is used, with a warning that tells its age, when the cloud cannot
        be listed.
    type: bool
    default: false
  fail_command:
    description:
      - Whether a failure ends the Ansible command. Ansible on its own warns, goes on with no
        hosts and exits 0. A wrong option always does.
    type: bool
    default: true
"""

EXAMPLES = r"""
# inventory/gpus.oci.yml: all running GPU hosts of the tenancy in ~/.oci/config
plugin: gpuprep.core.oci
resolve_images: true
---
# one compartment, two regions, reached over public addresses
plugin: gpuprep.core.oci
regions: [us-ashburn-1, eu-frankfurt-1]
compartments: [/research/gpu]
include_subcompartments: true
ansible_host_from: [public_ip, private_ip]
exclude_filters:
  - oci_freeform_tags.maintenance is defined
keyed_groups:
  - key: oci_freeform_tags.team
    prefix: team
cache: true
cache_plugin: ansible.builtin.jsonfile
cache_connection: ~/.cache/gpuprep
"""

import dataclasses
import gc
import hashlib
import json
import os
import re
import sys
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible import constants
from ansible.errors import AnsibleError, AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.inventory.host import Host as AnsibleHost
from ansible.plugins.inventory import (
    BaseInventoryPlugin,
    Cacheable,
    Constructable,
    get_cache_plugin,
)
from ansible.utils.unsafe_proxy import wrap_var
from ansible_collections.gpuprep.core.plugins.plugin_utils._package import ensure_package

try:  # ansible-core 2.19: strings are inert unless trusted
    from ansible.template import trust_as_template
except ImportError:  # 2.18: strings are templates unless wrapped
    trust_as_template = None

try:
    ensure_package()
    from gpuprep import __version__
    from gpuprep.errors import GpuprepError
    from gpuprep.oci import Listing, Options, fetch, profiles, renamed, settled
    from gpuprep.oci import options as known_options
    from gpuprep.oci.names import is_reserved
except (ImportError, AnsibleError) as error:
    MISSING: str | None = str(error)
else:
    MISSING = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from ansible.parsing.dataloader import DataLoader

    from gpuprep.oci import Host
    from gpuprep.oci.profile import Profile

# Raised when what is stored in caches takes another form.
CACHE_FORM = 2
TRACEBACKS = 3  # verbosity from which on Ansible shows where an error comes from
UNDEFINED = re.compile(r"'(\w+)' is undefined").search
# Strings in which no template can hide.
OURS = re.compile(r"^plugin:\s*['\"]?gpuprep\.core\.oci['\"]?\s*$", re.MULTILINE).search
HARMLESS = re.compile(r"[\w\s.:,;/@=+*()\[\]<>~-]*").fullmatch


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """The inventory plugin gpuprep.core.oci."""

    NAME = "gpuprep.core.oci"
    inventory: InventoryData

    def verify_file(self, path: str) -> bool:
        """Take files named *.oci.yml and *.oci.yaml; tell of others that are meant for us."""
        if not super().verify_file(path):
            return False
        if path.endswith((".oci.yml", ".oci.yaml")):
            return True
        if path.endswith((".yml", ".yaml")) and OURS(Path(path).read_text(errors="replace")):
            self.display.warning(f"{self.NAME}: the name of {path} must end in .oci.yml")
            constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
        return False

    def set_options(
        self,
        task_keys: Any = None,
        var_options: Any = None,
        direct: Mapping[str, Any] | None = None,
    ) -> None:
        """Refuse wrong values of the file before Ansible makes of them what it can."""
        if direct and not MISSING:
            try:
                known_options.check_file(_plain_mapping(direct))
            except GpuprepError as error:
                raise AnsibleParserError(str(error)) from None
        super().set_options(task_keys, var_options, direct)

    def parse(
        self,
        inventory: InventoryData,
        loader: DataLoader,
        path: str,
        cache: bool = True,  # noqa: FBT001, FBT002 - Ansible's signature
    ) -> None:
        """List the hosts into the inventory."""
        super().parse(inventory, loader, path, cache)
        self._failures: dict[str, tuple[int, str]] = {}  # expression: how often, and why
        self._known_hosts = set(inventory.hosts)  # of other sources
        self._odd_groups: set[str] = set()
        try:
            config = self._read_config_data(path)
            with _one_generation():
                self._list(_plain_mapping(config), fresh=not cache)
        except Exception as error:
            if self.get_option("fail_command"):
                # Left alone, Ansible warns, goes on with no hosts, and exits 0.
                constants.INVENTORY_ANY_UNPARSED_IS_FAILED = True
                if _is_program_of_ansible() and self.display.verbosity < TRACEBACKS:
                    # Ansible would try its other plugins, and tell what each made of this file.
                    told = (
                        f"failed to parse inventory source {path} with plugin {self.NAME}: {error}"
                    )
                    self.display.error(told)
                    raise SystemExit(1) from None
            raise

    def _list(self, config: Mapping[str, Any], *, fresh: bool) -> None:
        if MISSING:
            raise AnsibleParserError(MISSING)
        try:
            options = Options.from_mapping(
                {name: _plain(self.get_option(name)) for name in known_options.names()}
            ).asked_by(config)
            listing = self._listing(options, fresh=fresh)
        except GpuprepError as error:
            raise AnsibleParserError(str(error)) from None
        others = {host.name for host in listing.hosts if self._is_another(host)}
        draft = self._drafted(listing, others)
        listing = renamed(listing, {*others, *self.inventory.groups, *draft.groups})
        for warning in listing.warnings:
            self.display.warning(f"{self.NAME}: {warning}")
        self.display.vv(f"{self.NAME}: {listing.summary}, {listing.requests or 0} requests")
        self._add(listing, draft)
        self._tell_odd_groups()
        self._tell_failures(listing, options.hostvars_prefix)

    # --- cache ---------------------------------------------------------------------------------

    def _listing(self, options: Options, *, fresh: bool) -> Listing:
        profile = profiles.load(options)
        if not self.get_option("cache"):
            return self._wanted(fetch(options, profile), options)
        identity = _identity(options, profile)
        stored = None if fresh else self._stored(self._cache, identity)
        if stored:
            listing = self._wanted(Listing.from_dict(stored["listing"]), options, "warn")
            # Filters may let in a host now of which something was missing then.
            if listing.complete:
                return listing
        try:
            found = fetch(options, profile)
            listing = self._wanted(found, options)
        except GpuprepError as error:
            return self._wanted(self._stale(identity, error), options)
        if listing.complete and all(gap.lasting for gap in found.gaps):
            self._store(identity, found)
        return listing

    def _wanted(self, found: Listing, options: Options, on_partial: str | None = None) -> Listing:
        """Return the hosts that the filters leave; see ``settled``."""
        return settled(self._filtered(found), on_partial or options.on_partial)

    def _stored(self, cache: Mapping[str, Any], identity: str) -> dict[str, Any] | None:
        try:
            stored: dict[str, Any] = cache[self.get_cache_key(identity)]
        except KeyError:
            return None
        # Ansible's key is short; another list must not be taken for this one.
        return stored if stored.get("identity") == identity else None

    def _store(self, identity: str, listing: Listing) -> None:
        key = self.get_cache_key(identity)
        content = {"identity": identity, "stored": time.time(), "listing": listing.to_dict()}
        self._cache[key] = content
        self._cache.set_cache()
        folder = Path(os.path.expandvars(self.get_option("cache_connection") or "")).expanduser()
        for file in folder.glob(f"*{key}") if folder.is_dir() else ():
            file.chmod(0o600)  # Ansible lets others read its file caches

    def _stale(self, identity: str, error: GpuprepError) -> Listing:
        """Fall back to what was stored once, however old, if that is wanted."""
        if not self.get_option("stale_if_error"):
            raise error
        ageless = get_cache_plugin(
            self.get_option("cache_plugin"),
            _uri=self.get_option("cache_connection"),
            _prefix=self.get_option("cache_prefix"),
            _timeout=0,
        )
        stored = self._stored(ageless, identity)
        if stored is None:
            raise error
        age = (time.time() - stored["stored"]) / 60
        self.display.warning(f"{self.NAME}: using a list {age:.0f} minutes old, because {error}")
        return Listing.from_dict(stored["listing"])

    # --- filters and inventory -----------------------------------------------------------------

    def _filtered(self, listing: Listing) -> Listing:
        include, exclude = self.get_option("include_filters"), self.get_option("exclude_filters")
        if not include and not exclude:
            return listing
        hosts = []
        for host in listing.hosts:
            variables = _safe(host.variables)
            if include and not self._holds(include, host.name, variables):
                continue
            if not self._holds(exclude, host.name, variables):
                hosts.append(host)
        return dataclasses.replace(listing, hosts=tuple(hosts))

    def _holds(self, expressions: Iterable[str], name: str, variables: Mapping[str, Any]) -> bool:
        """Return whether one of the expressions is true for a host."""
        for expression in expressions:
            try:
                if self._compose(expression, {**variables, "inventory_hostname": name}):
                    return True
            except Exception as error:  # noqa: BLE001 - templates raise anything
                raise AnsibleParserError(
                    f"filter {str(expression)!r} fails for host {name}: {error}"
                ) from None
        return False

    def _sanitize_group_name(self, name: str) -> str:
        """Make a valid name that means neither the controller nor a host of another source.

        Whoever may tag an instance chooses it, if keyed_groups gives no prefix.
        """
        safe: str = super()._sanitize_group_name(name)
        if not is_reserved(safe) and safe not in self._known_hosts:
            return safe
        self._odd_groups.add(safe)
        return f"{safe}_group"

    def _compose(self, template: Any, variables: Any) -> Any:
        """Evaluate an expression; count its failures, which Ansible passes over in silence."""
        try:
            return super()._compose(template, variables)
        except Exception as error:
            self._failed(template, error)
            raise

    def _failed(self, expression: object, error: Exception) -> None:
        before = self._failures.get(str(expression), (0, ""))
        self._failures[str(expression)] = (before[0] + 1, str(error))

    def _tell_failures(self, listing: Listing, prefix: str) -> None:
        """Warn of expressions that fail for every host; the doctor tells of the others, too."""
        known = {name for host in listing.hosts[:1] for name in host.variables}
        for expression, (count, reason) in self._failures.items():
            missing = UNDEFINED(reason)
            meant = prefix + missing[1] if missing else ""
            text = (
                f"expression {expression!r} fails for {count} of {len(listing.hosts)} hosts: "
                + (f"{missing[1]} is undefined" if missing else reason)
            )
            text += f"; did you mean {meant}?" if meant in known else ""
            self.display.v(f"{self.NAME}: {' '.join(text.split())}")
            if count == len(listing.hosts):
                self.display.warning(f"{self.NAME}: {text}")

    def _tell_odd_groups(self) -> None:
        if self._odd_groups:
            self.display.warning(
                f"{self.NAME}: groups whose names mean another host, or this machine, now end in "
                f"_group: {', '.join(sorted(self._odd_groups))}; give keyed_groups a prefix"
            )

    def _is_another(self, host: Host) -> bool:
        """Return whether a host of an earlier source only happens to have this host's name.

        A source may well add to a host of the cloud: then it does not say how to reach it.
        """
        known = self.inventory.hosts.get(host.name)
        if known is None or host.id in known.vars.values():
            return False
        return not {"ansible_host", "ansible_connection"}.isdisjoint(known.vars)

    def _drafted(self, listing: Listing, others: set[str]) -> InventoryData:
        """Return an inventory of the listing alone: by its OCID, no host is called like a group."""
        real = self.inventory
        self.inventory = draft = InventoryData()
        try:
            for host in listing.hosts:
                draft.hosts[host.id] = AnsibleHost(host.name)
                if host.name in real.hosts and host.name not in others:
                    draft.hosts[host.id].vars.update(real.hosts[host.name].vars)
                self._draft(host, listing.group_parents)
        except AnsibleError as error:  # an expression, with strict
            raise AnsibleParserError(str(error).replace(host.id, host.name)) from None
        finally:
            self.inventory = real
        return draft

    def _draft(self, host: Host, parents: Mapping[str, Sequence[str]]) -> None:
        strict, variables = self.get_option("strict"), _safe(host.variables)
        self.inventory.hosts[host.id].vars.update(variables)
        for group in host.groups:
            self._add_group(group, parents)
            self.inventory.add_host(host.id, group)
        if compose := self.get_option("compose"):
            self._set_composite_vars(compose, variables, host.id, strict)
        for group, condition in (self.get_option("groups") or {}).items():
            try:  # one by one, to learn which fails
                self._add_host_to_composed_groups(
                    {group: condition}, variables, host.id, strict=True
                )
            except AnsibleError as error:
                self._failed(condition, error)
                if strict:
                    raise
        if keyed := self.get_option("keyed_groups"):
            self._add_host_to_keyed_groups(keyed, variables, host.id, strict)

    def _add_group(self, group: str, parents: Mapping[str, Sequence[str]]) -> None:
        if group in self.inventory.groups:
            return
        self.inventory.add_group(group)
        for parent in parents.get(group, ()):
            self.inventory.add_group(parent)
            self.inventory.add_child(parent, group)

    def _add(self, listing: Listing, draft: InventoryData) -> None:
        """Take over what was drafted, with the names that the hosts got."""
        names = {}
        for host in listing.hosts:
            names[draft.hosts[host.id]] = self.inventory.add_host(host.name)
            # All at once: one by one, Ansible marks each value's origin, for 0.3 ms a host.
            self.inventory.hosts[host.name].vars.update(_safe(host.variables))
            for variable in self.get_option("compose") or ():
                if variable in draft.hosts[host.id].vars:
                    value = draft.hosts[host.id].vars[variable]
                    self.inventory.set_variable(host.name, variable, value)
        made = [one for name, one in draft.groups.items() if name not in {"all", "ungrouped"}]
        for group in made:
            self.inventory.add_group(group.name)
            for one in group.hosts:
                self.inventory.add_host(names[one], group.name)
        for group in made:
            for child in group.child_groups:
                self.inventory.add_child(group.name, child.name)


def _is_program_of_ansible() -> bool:
    """Return whether the process is a command of Ansible's, not a program that uses its parts."""
    program = Path(sys.argv[0])
    return program.name.startswith("ansible") or program.parent.name == "ansible"


@contextmanager
def _one_generation() -> Iterator[None]:
    """Make objects that live as long as the process, without the garbage collector's help.

    Spares its walks over a growing heap, here and in all that follows, and spares forked workers
    the copies of pages that such walks cause.
    """
    active = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if active:
            gc.enable()


def _identity(options: Options, profile: Profile) -> str:
    """Sum up everything that the result depends on; no secret among it."""
    who = [profile.values.get(key) for key in ("tenancy", "user", "region")]
    text = json.dumps([__version__, CACHE_FORM, repr(options), who])
    return hashlib.sha256(text.encode()).hexdigest()


def _safe(value: Any) -> Any:
    """Make sure that no string from the cloud is ever run as a template.

    Who may name or tag an instance must not run code on the controller. Harmless strings are
    trusted, since Ansible marks all others in its output, as ``{"__ansible_unsafe": ...}``.
    """
    if isinstance(value, str):
        return _safe_string(value)
    if isinstance(value, dict):
        return {key: _safe(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_safe(one) for one in value]
    return value


@cache  # most strings are those of many hosts
def _safe_string(value: str) -> str:
    if HARMLESS(value):
        return trust_as_template(value) if trust_as_template else value
    return value if trust_as_template else wrap_var(value)


def _plain_mapping(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the file's values without Ansible's marks; what is encrypted is left to Ansible."""
    kinds = (str, bool, int, float, list, dict)
    return {
        str(key): _plain(value)
        for key, value in config.items()
        if value is None or isinstance(value, kinds)
    }


def _plain(value: Any) -> Any:
    """Take Ansible's marks off an option's value: no option of ours is a template."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return type(value + 0)(value)
    return value
