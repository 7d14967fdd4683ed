"""In which order places are tried. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from gpuprep.oci.provision.desired import Placement


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A fault domain of an availability domain."""

    domain: str
    fault_domain: str

    def __str__(self) -> str:
        """In short: ``AD-1/FD-2``."""
        return f"{short(self.domain)}/{self.fault_domain.replace('FAULT-DOMAIN', 'FD')}"


@dataclass(frozen=True, slots=True)
class Hints:
    """What the cloud says of a domain before it is asked for a host. Never a veto.

    Attributes:
        limits: what the service limits leave, by limit name; None = it did not tell.
        capacity: status by fault domain: ``AVAILABLE``, ``OUT_OF_HOST_CAPACITY``, ...

    """

    limits: Mapping[str, int | None]
    capacity: Mapping[str, str]

    def worse(self, fault_domain: str) -> int:
        """Return 0 for a place that looks free, more for one that does not."""
        short_of = any(left is not None and left < 1 for left in self.limits.values())
        full = self.capacity.get(fault_domain, "AVAILABLE") != "AVAILABLE"
        return 2 * short_of + full


@dataclass(frozen=True, slots=True)
class Survey:
    """What is known of a domain that has the shape.

    Attributes:
        fault_domains: their names.
        hints: what it says of itself.
        billed_when_stopped: whether a stopped instance of the shape still costs.
        rdma: whether the shape sits on a cluster network.

    """

    fault_domains: tuple[str, ...]
    hints: Hints
    billed_when_stopped: bool = False
    rdma: bool = False


def short(domain: str) -> str:
    """Return a domain's own part of its name: ``AD-1`` of ``SdBx:US-ASHBURN-AD-1``."""
    head, sign, number = domain.rpartition("AD-")
    return f"AD-{number}" if sign and head else domain


def chosen_domains(domains: Iterable[str], placement: Placement) -> tuple[str, ...]:
    """Return the domains that the placement allows, in the order it names them."""
    every = tuple(sorted(domains))
    wanted = placement.availability_domains
    if not wanted:
        return every
    return tuple(
        dict.fromkeys(
            domain for one in wanted for domain in every if one in {domain, short(domain)}
        )
    )


def order(
    domains: Sequence[str], survey: Callable[[str], Survey | None], number: int
) -> Iterator[Place]:
    """Yield the places to try for a member, best first; a domain is looked at when its turn comes.

    Members are dealt out to the fault domains of a domain, so that one fault does not hit all of
    them. What looks full comes last: the looks deceive now and then.

    Args:
        domains: those that are allowed, in order.
        survey: tells what is known of a domain; None = it does not have the shape.
        number: of the member.

    """
    later: list[tuple[int, int, Place]] = []
    for domain in domains:
        found = survey(domain)
        if found is None:
            continue
        places = sorted(found.fault_domains)
        for turn in range(len(places)):
            place = Place(domain, places[(number - 1 + turn) % len(places)])
            worse = found.hints.worse(place.fault_domain)
            if worse:
                later.append((worse, len(later), place))
            else:
                yield place
    for *_, place in sorted(later):
        yield place
