"""Reading a fleet file: everything that is wrong with it is told at once, with its line."""

from __future__ import annotations

import base64
import difflib
import ipaddress
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from gpuprep.catalog.schema import line_of
from gpuprep.errors import ConfigError
from gpuprep.oci.provision.desired import (
    Capacity,
    Desired,
    FleetState,
    ImageChoice,
    Network,
    Placement,
    Wait,
)
from gpuprep.oci.provision.sshkeys import is_public_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCHEMA_FILE: Final = Path(__file__).with_name("fleet.schema.json")
_LARGEST: Final = 1 << 20
_LARGEST_METADATA: Final = 32000  # bytes, OCI's limit for all of an instance's metadata
_SMALLEST_PREFIX, _LARGEST_PREFIX = 16, 29  # of a network that is made
_WIDEST: Final = 8  # the largest block that one holder can have
_KEY_TYPES: Final = (
    "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
)  # fmt: skip
Place = tuple[str | int, ...]
Problem = tuple[Place, str]


@dataclass(frozen=True, slots=True)
class Source:
    """What a fleet file says, before it is checked.

    Attributes:
        data: the settings.
        name: of the file, for messages.
        folder: where relative paths begin.
        text: the file itself, for line numbers.

    """

    data: Any
    name: str = "fleet"
    folder: Path = Path()
    text: str | None = None

    def but(self, **settings: Any) -> Source:  # noqa: ANN401 - of any kind
        """Return it with other values of some settings."""
        data = {**self.data, **settings} if isinstance(self.data, dict) else self.data
        return replace(self, data=data)


def load(path: str | Path) -> Source:
    """Read a fleet file without checking what it says.

    Raises:
        ConfigError: it cannot be read.

    """
    path = Path(path).expanduser()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error  # without the path, which is named
        raise ConfigError(f"fleet file {path} cannot be read: {why}") from None
    if len(text) > _LARGEST:
        raise ConfigError(f"fleet file {path} is larger than 1 MiB")
    try:
        data = yaml.load(text, _Strict)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"fleet file {path} is no YAML: {_one_line(error)}") from None
    return Source(data, str(path), path.absolute().parent, text)


def desired(source: Source) -> Desired:
    """Check settings and return them as values.

    Raises:
        ConfigError: settings are wrong: names each with its line.

    """
    data = source.data
    if not isinstance(data, dict):
        raise ConfigError(f"{source.name}: expected settings such as `fleet: train`, found none")
    problems = list(_by_schema(data))
    if not problems:
        problems += _beyond_schema(data)
    keys: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    user_data: str | None = None
    if not problems:
        keys, files, more = _keys(data["ssh_public_keys"], source.folder)
        problems += more
        user_data, more = _user_data(data.get("user_data"), source.folder)
        problems += more
        if sum(map(len, keys)) + len(user_data or "") > _LARGEST_METADATA:
            told = "ssh_public_keys and user_data together are larger than 32,000 bytes"
            problems.append((("user_data",), told))
    if problems:
        raise ConfigError(_told(problems, source.name, source.text))
    return _values(data, source, keys, files, user_data)


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                mark = key.start_mark
                raise yaml.YAMLError(f"line {mark.line + 1}: {key.value} stands twice")
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


# --- the form ---------------------------------------------------------------------------------


def _by_schema(data: Mapping[str, Any]) -> Iterator[Problem]:
    import jsonschema  # noqa: PLC0415  (slow to import)

    rules = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    for error in jsonschema.Draft202012Validator(rules).iter_errors(data):
        place: Place = tuple(error.absolute_path)
        yield from _worded(error, place)


def _worded(error: Any, place: Place) -> Iterator[Problem]:  # noqa: ANN401 - jsonschema's
    rule, schema = error.validator, error.schema
    if rule == "additionalProperties" and isinstance(error.instance, dict):
        known = schema.get("properties", {})
        for name in error.instance:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
                yield (*place, name), f"unknown setting; {hint}"
    elif rule == "required":
        for name in error.validator_value:
            if name not in error.instance:
                meant = schema["properties"][name].get("description", "")
                yield place, f"{name} is missing; it needs {meant}"
        return
    elif rule == "oneOf" and "properties" in schema:
        yield place, f"needs {schema['description']}, not both and not neither"
    else:
        needs = schema.get("description") or error.message
        yield place, f"{_short(error.instance)} does not fit; it needs {needs}"


def _short(value: Any) -> str:  # noqa: ANN401 - from YAML
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."  # noqa: PLR2004 - a line's length


def _told(problems: Sequence[Problem], source: str, text: str | None) -> str:
    lines = []
    for place, words in problems:
        at = f", line {line_of(text, place)}" if text is not None else ""
        where = ".".join(map(str, place)) or "top level"
        lines.append(f"{source}{at}: {where}: {words}")
    return "\n".join(dict.fromkeys(lines))


# --- what a schema cannot say -----------------------------------------------------------------


def _beyond_schema(data: Mapping[str, Any]) -> Iterator[Problem]:
    network, count = data["network"], data["count"]
    if network.get("create"):
        yield from _created(network)
    else:
        for name in ("cidr", "ssh_from"):
            if name in network:
                yield ("network", name), "is of a network that is made; it needs create: true"
    for at, number in enumerate(data.get("members", ())):
        if number > count:
            yield ("members", at), f"there is no member {number}: count is {count}"
    if data.get("prune") and data.get("members"):
        yield ("prune",), "does not go with members; leave one of them out"
    state = FleetState(data.get("state", "present"))
    if data.get("prune") and state in {FleetState.ABSENT, FleetState.STOPPED}:
        yield ("prune",), f"does not go with state: {state}; leave it out"
    placement = data.get("placement", {})
    if placement.get("capacity") == "preemptible" and data["shape"].startswith("BM."):
        words = "only virtual machines can be preemptible; choose on_demand or a reservation"
        yield ("placement", "capacity"), words


def _created(network: Mapping[str, Any]) -> Iterator[Problem]:
    for name in ("security_groups", "compartment"):
        if name in network:
            yield ("network", name), "is of a subnet that is there; it does not go with create"
    try:
        block = ipaddress.IPv4Network(network.get("cidr", "10.66.0.0/24"))
    except ValueError as error:
        yield ("network", "cidr"), f"{error}; it needs addresses such as 10.66.0.0/24"
    else:
        if not block.is_private or not _SMALLEST_PREFIX <= block.prefixlen <= _LARGEST_PREFIX:
            yield ("network", "cidr"), "it needs private addresses, /16 to /29"
    for at, one in enumerate(network.get("ssh_from", ())):
        yield from _let_in(one, ("network", "ssh_from", at))
    if network.get("public_ip") and not network.get("ssh_from"):
        yield ("network",), "public_ip without ssh_from: nobody could connect; name who does"


def _let_in(source: str, place: Place) -> Iterator[Problem]:
    try:
        block = ipaddress.IPv4Network(source)
    except ValueError as error:
        yield place, f"{error}; it needs addresses such as 203.0.113.0/24"
    else:
        if block.prefixlen < _WIDEST:
            yield place, f"{source} opens ssh to (nearly) the whole world; name who connects"


def _keys(
    given: Sequence[str], folder: Path
) -> tuple[tuple[str, ...], tuple[Path, ...], list[Problem]]:
    keys: list[str] = []
    files: list[Path] = []
    problems: list[Problem] = []
    for at, one in enumerate(given):
        place: Place = ("ssh_public_keys", at)
        if one.startswith(_KEY_TYPES):
            content = one
        else:
            path = folder / Path(one).expanduser()
            try:
                content = path.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                words = getattr(error, "strerror", None) or "is no text"
                problems.append(
                    (place, f"{path}: {words}; make a key with ssh-keygen, or name one")
                )
                continue
            if path.suffix == ".pub" and path.with_suffix("").is_file():
                files.append(path.with_suffix(""))
        lines = [line.strip() for line in content.splitlines()]
        found = [line for line in lines if line and not line.startswith("#")]
        if "PRIVATE KEY" in content:
            problems.append((place, "is a private key; name the public one (.pub)"))
        elif not found or not all(map(_is_key, found)):
            problems.append((place, "is no public key of OpenSSH: `ssh-ed25519 AAAA... name`"))
        else:
            keys += found
    return tuple(dict.fromkeys(keys)), tuple(files), problems


def _is_key(line: str) -> bool:
    kind, blob = (*line.split()[:2], "", "")[:2]
    return kind in _KEY_TYPES and is_public_key(kind, blob)


def _user_data(given: str | None, folder: Path) -> tuple[str | None, list[Problem]]:
    if given is None:
        return None, []
    path = folder / Path(given).expanduser()
    try:
        content = path.read_bytes()
    except OSError as error:
        return None, [(("user_data",), f"{path}: {error.strerror}")]
    if b"PRIVATE KEY" in content:
        words = "holds a private key, and whoever may read the instance could read it there"
        return None, [(("user_data",), words)]
    return base64.b64encode(content).decode(), []


# --- values -----------------------------------------------------------------------------------


def _values(
    data: Mapping[str, Any],
    source: Source,
    keys: tuple[str, ...],
    files: tuple[Path, ...],
    user_data: str | None,
) -> Desired:
    network = {**data["network"]}
    for name in ("security_groups", "ssh_from"):
        network[name] = tuple(network.get(name, ()))
    placement = data.get("placement", {})
    domains = placement.get("availability_domains", "any")
    capacity = placement.get("capacity", "on_demand")
    reserved = isinstance(capacity, dict)
    plain = ("boot_volume_gb", "boot_volume_vpus", "compartment", "count", "fleet", "prune",
             "region", "shape", "tags")  # fmt: skip
    return Desired(
        **{name: data[name] for name in plain if name in data},
        image=ImageChoice(**data["image"]),
        ssh_keys=keys,
        key_files=files,
        network=Network(**network),
        state=FleetState(data.get("state", "present")),
        members=tuple(sorted(data.get("members", ()))),
        user_data=user_data,
        placement=Placement(
            () if domains == "any" else tuple(domains),
            Capacity.RESERVATION if reserved else Capacity(capacity),
            capacity["reservation"] if reserved else None,
            placement.get("compute_cluster", "auto"),
        ),
        wait=Wait(**data.get("wait", {})),
        source=str(source.folder / source.name),
    )
