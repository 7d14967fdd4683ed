"""Virtual cloud networks: what is asked for is kept and told again; nothing is enforced."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.oci import bodies
from sandbox.oci.refusals import RefusedError, hidden
from sandbox.oci.routes import Json, Query, Result, Sent, chosen, needed

if TYPE_CHECKING:
    from collections.abc import Callable

    from sandbox.oci.retry_tokens import Tokens
    from sandbox.oci.tenancy import Tenancy

_LIST: Final = "limit page compartmentId sortBy sortOrder displayName lifecycleState vcnId"
# As a new network has it at OCI: ssh from everywhere.
_OPEN: Final = {
    "protocol": "6", "source": "0.0.0.0/0", "sourceType": "CIDR_BLOCK", "isStateless": False,
    "tcpOptions": {"destinationPortRange": {"min": 22, "max": 22}},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of resource: its path, the table it is kept in, and the model of its creation."""

    path: str
    table: str
    model: str
    name: str


KINDS: Final = (
    Kind("vcns", "vcns", "CreateVcnDetails", "vcn"),
    Kind("subnets", "subnets", "CreateSubnetDetails", "subnet"),
    Kind("internetGateways", "internet_gateways", "CreateInternetGatewayDetails",
         "internetgateway"),
    Kind("natGateways", "nat_gateways", "CreateNatGatewayDetails", "natgateway"),
    Kind("routeTables", "route_tables", "CreateRouteTableDetails", "routetable"),
    Kind("securityLists", "security_lists", "CreateSecurityListDetails", "securitylist"),
    Kind("networkSecurityGroups", "security_groups", "CreateNetworkSecurityGroupDetails",
         "networksecuritygroup"),
)  # fmt: skip


class Networks:
    """Makes, lists and shows networks and their parts."""

    def __init__(self, tenancy: Tenancy, tokens: Tokens, check: Callable[[str], None]) -> None:
        self._tenancy = tenancy
        self._tokens = tokens
        self._check = check

    def table(self) -> dict[tuple[str, str], tuple[Callable[..., Result], str]]:
        """Return the routes."""
        found: dict[tuple[str, str], tuple[Callable[..., Result], str]] = {}
        for kind in KINDS:
            found["POST", f"/{kind.path}"] = (self._creator(kind), "")
            found["GET", f"/{kind.path}"] = (self._lister(kind), _LIST)
            found["GET", f"/{kind.path}/{{id}}"] = (self._getter(kind), "")
        rules = "/networkSecurityGroups/{id}"
        found["GET", f"{rules}/securityRules"] = (self._rules, "limit page direction")
        found["POST", f"{rules}/actions/addSecurityRules"] = (self._add_rules, "")
        return found

    def _rows(self, kind: Kind) -> dict[str, Json]:
        rows: dict[str, Json] = getattr(self._tenancy, kind.table)
        return rows

    def _getter(self, kind: Kind) -> Callable[..., Result]:
        def get(region: str, _: Query, ocid: str) -> Result:
            one = self._rows(kind).get(ocid)
            if one is None or not self._tenancy.is_in(one, region):
                raise RefusedError(404)
            try:
                self._check(one["compartmentId"])
            except RefusedError:
                raise RefusedError(404) from None
            return Result(one)

        return get

    def _lister(self, kind: Kind) -> Callable[..., Result]:
        def get(region: str, query: Query) -> Result:
            self._check(needed(query, "compartmentId"))
            rows = [one for one in self._rows(kind).values() if self._tenancy.is_in(one, region)]
            names = "compartmentId displayName lifecycleState vcnId"
            return Result(rows=chosen(rows, query, names))

        return get

    def _creator(self, kind: Kind) -> Callable[[Sent], Result]:
        def post(sent: Sent) -> Result:
            bodies.check(sent.body, kind.model)
            self._check(sent.body["compartmentId"])
            rows, now = self._rows(kind), self._tenancy.now()
            earlier = self._tokens.earlier(sent.token, sent.body, now)
            if earlier in rows:
                return Result(rows[earlier])
            row = self._row(kind, sent)
            rows[row["id"]] = row
            if sent.region != self._tenancy.regions[0]:
                self._tenancy.region_of[row["id"]] = sent.region
            self._tokens.use(sent.token, sent.body, row["id"], now)
            return Result(row)

        return post

    def _row(self, kind: Kind, sent: Sent) -> Json:
        body = sent.body
        ocid = self._tenancy.new_id(kind.name)
        row: Json = {
            "displayName": f"{kind.name}{len(self._rows(kind))}",
            "freeformTags": {}, "definedTags": {},
            **body,
            "id": ocid, "lifecycleState": "AVAILABLE", "timeCreated": self._tenancy.stamp(),
        }  # fmt: skip
        if kind.name == "vcn":
            return self._vcn(row)
        vcn = self._tenancy.vcns.get(body["vcnId"])
        if vcn is None:
            raise hidden("vcn", body["vcnId"])
        if kind.name == "subnet":
            self._check_subnet(row, vcn)
        if kind.name == "routetable":
            gateways = {**self._tenancy.internet_gateways, **self._tenancy.nat_gateways}
            for rule in row["routeRules"]:
                if rule["networkEntityId"] not in gateways:
                    raise hidden("networkEntityId", rule["networkEntityId"])
        return row

    def _vcn(self, row: Json) -> Json:
        blocks = row.get("cidrBlocks") or ([row["cidrBlock"]] if row.get("cidrBlock") else [])
        if not blocks:
            raise RefusedError(400, "cidrBlock or cidrBlocks is required", "MissingParameter")
        for one in blocks:
            _network(one)
        default = self._tenancy.new_id("securitylist")
        self._tenancy.security_lists[default] = {
            "id": default, "vcnId": row["id"], "compartmentId": row["compartmentId"],
            "displayName": f"Default Security List for {row['displayName']}",
            "ingressSecurityRules": [dict(_OPEN)], "egressSecurityRules": [],
            "lifecycleState": "AVAILABLE", "timeCreated": row["timeCreated"],
            "freeformTags": {}, "definedTags": {},
        }  # fmt: skip
        if row.get("dnsLabel"):
            row["vcnDomainName"] = f"{row['dnsLabel']}.oraclevcn.com"
        return {**row, "cidrBlock": blocks[0], "cidrBlocks": blocks,
                "defaultSecurityListId": default}  # fmt: skip

    def _check_subnet(self, row: Json, vcn: Json) -> None:
        block = _network(row["cidrBlock"])
        if not any(block.subnet_of(_network(one)) for one in vcn.get("cidrBlocks", [])):
            text = f"The requested CIDR {block} is not contained in the CIDRs of the VCN"
            raise RefusedError(400, text)
        for one in self._tenancy.subnets.values():
            if one["vcnId"] == vcn["id"] and block.overlaps(_network(one["cidrBlock"])):
                text = f"The requested CIDR {block} overlaps with that of subnet {one['id']}"
                raise RefusedError(400, text)
        for name, table in (("routeTableId", self._tenancy.route_tables),
                            ("securityListIds", self._tenancy.security_lists)):  # fmt: skip
            wanted = row.get(name) or ()
            for ocid in [wanted] if isinstance(wanted, str) else wanted:
                if ocid not in table:
                    raise hidden(name, ocid)
        if not row.get("securityListIds"):
            row["securityListIds"] = [vcn["defaultSecurityListId"]]
        row.setdefault("prohibitPublicIpOnVnic", False)
        if row.get("dnsLabel") and vcn.get("vcnDomainName"):
            row["subnetDomainName"] = f"{row['dnsLabel']}.{vcn['vcnDomainName']}"

    def _rules(self, _: str, query: Query, ocid: str) -> Result:
        if ocid not in self._tenancy.security_groups:
            raise RefusedError(404)
        rows = self._tenancy.security_rules.get(ocid, [])
        return Result(rows=chosen(rows, query, "direction"))

    def _add_rules(self, sent: Sent, ocid: str) -> Result:
        bodies.check(sent.body, "AddNetworkSecurityGroupSecurityRulesDetails")
        if ocid not in self._tenancy.security_groups:
            raise RefusedError(404)
        rows = self._tenancy.security_rules.setdefault(ocid, [])
        added = []
        for rule in sent.body["securityRules"]:
            for name in ("source", "destination"):
                if rule.get(f"{name}Type") == "NETWORK_SECURITY_GROUP":
                    if rule.get(name) not in self._tenancy.security_groups:
                        raise hidden(name, str(rule.get(name)))
                elif rule.get(name):
                    _network(rule[name])
            serial = self._tenancy.new_id("rule")[-6:]
            added.append({**rule, "id": serial, "isValid": True,
                          "timeCreated": self._tenancy.stamp()})  # fmt: skip
        rows.extend(added)
        return Result({"securityRules": added})


def _network(text: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise RefusedError(400, f"{text!r} is no CIDR: {error}") from None
