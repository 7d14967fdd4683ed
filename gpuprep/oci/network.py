"""Addresses of many hosts in few requests.

ListVnicAttachments of a compartment says which host has which VNIC, ListPrivateIps of a subnet
which VNIC has which address: two requests for hundreds of hosts. GetVnic, one per host, is asked
only where these cannot tell: several VNICs, a subnet that may not be read, no IPv4 address.
"""

from __future__ import annotations

from collections import defaultdict
from concurrent.futures import as_completed
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from gpuprep.oci.client import Call, CallFailedError
from gpuprep.oci.records import Addresses, Compartment, Instance, address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from concurrent.futures import Executor

    from gpuprep.oci.client import Client, Json
    from gpuprep.oci.options import Options

# States in which a host has, or keeps, its VNIC.
_WITH_VNIC: Final = frozenset({"RUNNING", "STARTING", "STOPPING", "STOPPED"})
_GONE: Final = frozenset({"TERMINATING", "TERMINATED"})


@dataclass(slots=True)
class Found:
    """What became of the hosts.

    Attributes:
        addresses: by instance OCID.
        gone: OCIDs of instances terminated since they were listed.
        failed: requests that failed, and the OCIDs of the hosts that lack something for it.
        odd: hosts that should have a primary VNIC and show none, in words, by OCID.
        detours: requests that were refused, and the number of requests that made good for each.

    """

    addresses: dict[str, Addresses] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    failed: list[tuple[CallFailedError, frozenset[str]]] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)
    detours: list[tuple[CallFailedError, int]] = field(default_factory=list)


def attachments_call(region: str, compartment: Compartment) -> Call:
    """Ask for all VNIC attachments of a compartment."""
    return Call(
        "iaas",
        region,
        "/vnicAttachments",
        {"compartmentId": compartment.id},
        about=compartment.words,
        policy=f"read instance-family {compartment.where}",
    )


def candidates(attachments: Iterable[Json], wanted: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Give, by instance, the (VNIC, subnet) pairs that can be its primary one, likeliest first.

    The primary VNIC is attached at launch, stays attached, and sits in a subnet; one in a VLAN
    is always secondary.
    """
    found: dict[str, list[tuple[int, str, str, str]]] = defaultdict(list)
    for one in attachments:
        usable = one.get("lifecycleState") == "ATTACHED" and one.get("vnicId")
        if usable and one.get("subnetId") and one["instanceId"] in wanted:
            order = (one.get("nicIndex") or 0, one.get("timeCreated") or "")
            found[one["instanceId"]].append((*order, one["vnicId"], one["subnetId"]))
    return {
        ocid: [(vnic, subnet) for _, _, vnic, subnet in sorted(rows)]
        for ocid, rows in found.items()
    }


class Lookup:
    """Finds the addresses of instances."""

    def __init__(self, client: Client, pool: Executor, options: Options) -> None:
        self._client = client
        self._pool = pool
        self._options = options
        self._found = Found()
        self._vnics: dict[str, tuple[str, str]] = {}
        self._told: set[str] = set()  # instances whose lack of an address is a gap already

    def run(
        self, instances: Sequence[Instance], vnics: Mapping[str, list[tuple[str, str]]]
    ) -> Found:
        """Look up all instances.

        Args:
            instances: hosts to be.
            vnics: result of ``candidates``.

        """
        by_id = {one.id: one for one in instances}
        self._vnics = {ocid: pairs[0] for ocid, pairs in vnics.items() if len(pairs) == 1}
        several = [by_id[ocid] for ocid, pairs in vnics.items() if len(pairs) > 1]
        tasks: list[Callable[[], None]] = [
            *(_bind(self._primary_of, one, vnics[one.id]) for one in several),
            *(_bind(self._subnet, key, group) for key, group in self._by_subnet(by_id).items()),
        ]
        self._together(tasks)
        self._ask_vnics(by_id)
        if self._options.wants("public_ip"):
            self._public_ips(by_id)
        if "fqdn" in {*self._options.hostnames, *self._options.ansible_host_from}:
            self._domains(by_id)
        self._explain_missing(instances)
        return self._found

    # --- a subnet at a time --------------------------------------------------------------------

    def _by_subnet(self, by_id: Mapping[str, Instance]) -> dict[tuple[str, str], dict[str, str]]:
        groups: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
        for ocid, (vnic, subnet) in self._vnics.items():
            groups[by_id[ocid].region, subnet][vnic] = ocid
        # For a single host GetVnic costs as much and tells more.
        return {key: group for key, group in groups.items() if len(group) > 1}

    def _subnet(self, key: tuple[str, str], owners: dict[str, str]) -> None:
        region, subnet = key
        wanted = dict(owners)
        try:
            self._private_ips(_subnet_call(region, subnet, "/privateIps"), subnet, wanted)
            if self._options.wants("ipv6"):
                self._ipv6(_subnet_call(region, subnet, "/ipv6"), subnet, owners)
            elif len(wanted) > 1:
                self._ipv6(_subnet_call(region, subnet, "/ipv6"), subnet, wanted)
        except CallFailedError as error:
            if error.hidden:
                self._found.detours.append((error, len(wanted)))
            else:  # a service in trouble is not to be asked a hundred times more
                self._failed(error, wanted.values())

    def _private_ips(self, call: Call, subnet: str, wanted: dict[str, str]) -> None:
        """Take the primary addresses of the wanted VNICs, and no more pages than that is worth."""
        for number, page in enumerate(self._client.pages(call), start=1):
            for row in page:
                if row.get("vnicId") in wanted and row.get("isPrimary"):
                    vnic = row["vnicId"]
                    self._found.addresses[wanted.pop(vnic)] = Addresses(
                        vnic,
                        subnet,
                        private_ip=address(row["ipAddress"]),
                        private_ip_id=row["id"],
                        hostname_label=row.get("hostnameLabel"),
                    )
            if len(wanted) <= number:  # GetVnic for the rest costs no more than going on
                return

    def _ipv6(self, call: Call, subnet: str, owners: Mapping[str, str]) -> None:
        for row in self._client.all(call):
            ocid = owners.get(row.get("vnicId") or "")
            if ocid and address(row["ipAddress"]):
                known = self._found.addresses.get(ocid) or Addresses(row["vnicId"], subnet)
                self._found.addresses[ocid] = replace(known, ipv6=(*known.ipv6, row["ipAddress"]))

    # --- a VNIC at a time ----------------------------------------------------------------------

    def _ask_vnics(self, by_id: Mapping[str, Instance]) -> None:
        self._together(
            [
                _bind(self._vnic, by_id[ocid], vnic)
                for ocid, (vnic, _) in self._vnics.items()
                if not self._addressed(ocid) and ocid not in self._told
            ]
        )

    def _addressed(self, ocid: str) -> bool:
        known = self._found.addresses.get(ocid)
        return bool(known and (known.private_ip or known.ipv6))

    def _vnic(self, instance: Instance, vnic: str) -> Json | None:
        call = Call(
            "iaas",
            instance.region,
            f"/vnics/{vnic}",
            about=f"host {instance.name} in {instance.compartment.words}",
            policy=f"read virtual-network-family {instance.compartment.where}",
        )
        raw = self._get_unless_gone(call, instance)
        if raw:
            self._found.addresses[instance.id] = Addresses.from_vnic(raw)
        return raw

    def _primary_of(self, instance: Instance, pairs: Sequence[tuple[str, str]]) -> None:
        for vnic, _ in pairs:
            raw = self._vnic(instance, vnic)
            if raw and raw.get("isPrimary"):
                return
            self._found.addresses.pop(instance.id, None)

    def _get_unless_gone(self, call: Call, instance: Instance) -> Json | None:
        """Fetch something of an instance; find out whether a refusal means it was terminated."""
        try:
            return self._client.get(call)
        except CallFailedError as error:
            if not (error.hidden and self._is_gone(instance)):
                self._failed(error, [instance.id])
            return None

    def _is_gone(self, instance: Instance) -> bool:
        call = Call(
            "iaas",
            instance.region,
            f"/instances/{instance.id}",
            about=f"host {instance.name} in {instance.compartment.words}",
            policy=f"read instance-family {instance.compartment.where}",
        )
        try:
            gone = self._client.get(call).get("lifecycleState") in _GONE
        except CallFailedError as error:
            gone = error.hidden  # it could be listed a moment ago
            if not gone:
                self._failed(error, [instance.id])
        if gone:
            self._found.gone.add(instance.id)
        return gone

    # --- public addresses and names ------------------------------------------------------------

    def _public_ips(self, by_id: Mapping[str, Instance]) -> None:
        """List public addresses by compartment, then ask for the VNICs that seem to have none."""
        users: dict[tuple[str, Compartment, str | None], set[str]] = defaultdict(set)
        for one in by_id.values():
            users[one.region, one.compartment, one.availability_domain].add(one.id)
            users[one.region, one.compartment, None].add(one.id)
        tables: dict[str, str] = {}
        self._together(
            [
                _bind(self._public_table, _public_ips_call(*place), tables, ocids)
                for place, ocids in users.items()
            ]
        )
        without = []
        for ocid, known in self._found.addresses.items():
            public = tables.get(known.private_ip_id or "")
            if public:
                self._found.addresses[ocid] = replace(known, public_ip=public)
            elif known.private_ip_id:  # GetVnic would have told
                without.append(ocid)
        self._together(
            [_bind(self._vnic, by_id[one], self._found.addresses[one].vnic_id) for one in without]
        )

    def _public_table(self, call: Call, table: dict[str, str], users: set[str]) -> None:
        try:
            for row in self._client.all(call):
                owner = row.get("privateIpId") or row.get("assignedEntityId")
                if owner and address(row["ipAddress"]):
                    table[owner] = row["ipAddress"]
        except CallFailedError as error:
            if not error.hidden:
                self._failed(error, users)

    def _domains(self, by_id: Mapping[str, Instance]) -> None:
        domains: dict[str, str] = {}
        users: dict[tuple[str, str], set[str]] = defaultdict(set)
        for ocid, known in self._found.addresses.items():
            users[by_id[ocid].region, known.subnet_id].add(ocid)
        self._together([_bind(self._domain, *place, domains, o) for place, o in users.items()])
        for ocid, known in self._found.addresses.items():
            self._found.addresses[ocid] = replace(known, domain=domains.get(known.subnet_id))

    def _domain(self, region: str, subnet: str, domains: dict[str, str], users: set[str]) -> None:
        call = replace(_subnet_call(region, subnet, f"/subnets/{subnet}"), params={})
        try:
            domains[subnet] = self._client.get(call).get("subnetDomainName") or ""
        except CallFailedError as error:
            self._failed(error, users)

    # --- the rest ------------------------------------------------------------------------------

    def _explain_missing(self, instances: Sequence[Instance]) -> None:
        """Find out why hosts have no primary VNIC: terminated meanwhile, or something is wrong."""
        settled = {*self._found.addresses, *self._found.gone, *self._told}
        lost = [one for one in instances if one.id not in settled and one.state in _WITH_VNIC]
        self._together([_bind(self._is_gone, one) for one in lost])
        self._found.odd |= {
            one.id: f"host {one.name} ({one.id}) is {one.state}, "
            "but no primary VNIC is attached to it"
            for one in lost
            if one.id not in self._found.gone | self._told
        }

    def _failed(self, error: CallFailedError, hosts: Iterable[str]) -> None:
        ocids = frozenset(hosts)
        self._found.failed.append((error, ocids))
        self._told |= ocids

    def _together(self, tasks: Sequence[Callable[[], object]]) -> None:
        for done in as_completed([self._pool.submit(task) for task in tasks]):
            done.result()


def _bind(function: Callable[..., object], *arguments: object) -> Callable[[], None]:
    def call() -> None:
        function(*arguments)

    return call


def _subnet_call(region: str, subnet: str, path: str) -> Call:
    return Call(
        "iaas",
        region,
        path,
        {"subnetId": subnet},
        about=f"subnet {subnet}",
        policy=f"read virtual-network-family in compartment <the one of subnet {subnet}>",
    )


def _public_ips_call(region: str, compartment: Compartment, domain: str | None = None) -> Call:
    scope = (
        {"scope": "AVAILABILITY_DOMAIN", "availabilityDomain": domain, "lifetime": "EPHEMERAL"}
        if domain
        else {"scope": "REGION", "lifetime": "RESERVED"}
    )
    return Call(
        "iaas",
        region,
        "/publicIps",
        {"compartmentId": compartment.id, **scope},
        about=compartment.words,
        policy=f"read virtual-network-family {compartment.where}",
    )
