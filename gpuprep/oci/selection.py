"""Which instances become hosts, and a count of why the others do not. Pure."""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from gpuprep.oci.gpu import has_gpu

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from gpuprep.catalog import Shape
    from gpuprep.oci.options import Options
    from gpuprep.oci.records import Instance


class Funnel:
    """Counts instances at each stage."""

    def __init__(self) -> None:
        self.seen = 0
        self.shapes: set[str] = set()
        self.left_out: Counter[str] = Counter()

    def __str__(self) -> str:
        """In words: ``412 instances: 398 without a GPU, 14 not in state RUNNING``."""
        reasons = ", ".join(f"{count} {why}" for why, count in self.left_out.items())
        return f"{self.seen} instances" + (f": {reasons}" if reasons else "")


def select(
    instances: Iterable[Instance], options: Options, shapes: Mapping[str, Shape], funnel: Funnel
) -> list[Instance]:
    """Keep the instances that the options ask for; count the others."""
    chosen = []
    for instance in instances:
        funnel.seen += 1
        funnel.shapes.add(instance.shape)
        reason = _refusal(instance, options, shapes)
        if reason:
            funnel.left_out[reason] += 1
        else:
            chosen.append(instance)
    return chosen


def idle_patterns(options: Options, funnel: Funnel) -> list[str]:
    """Return the patterns of shapes that no instance has, so perhaps misspelt."""
    return [
        one for one in options.shapes if not any(fnmatchcase(shape, one) for shape in funnel.shapes)
    ]


def server_side(options: Options) -> dict[str, str]:
    """Return the query parameters of ListInstances that do part of the work."""
    names = {
        "display_name": "displayName",
        "availability_domain": "availabilityDomain",
        "compute_cluster_id": "computeClusterId",
        "capacity_reservation_id": "capacityReservationId",
    }
    params = {
        parameter: str(options.filters[name])
        for name, parameter in names.items()
        if name in options.filters
    }
    if len(options.lifecycle_states) == 1:  # the service takes one
        params["lifecycleState"] = options.lifecycle_states[0]
    return params


def _refusal(instance: Instance, options: Options, shapes: Mapping[str, Shape]) -> str | None:
    if instance.state not in options.lifecycle_states:
        return f"not in state {' or '.join(options.lifecycle_states)}"
    if options.gpu_only and not has_gpu(instance, shapes):
        return "without a GPU"
    if options.shapes and not any(fnmatchcase(instance.shape, one) for one in options.shapes):
        return "of other shapes"
    if not _tags_match(instance, options.filters):
        return "not matching filters"
    return None


def _tags_match(instance: Instance, filters: Mapping[str, Any]) -> bool:
    domain = filters.get("fault_domain")
    if domain and instance.fault_domain != domain:
        return False
    if not _holds(instance.freeform_tags, filters.get("freeform_tags") or {}):
        return False
    spaces = filters.get("defined_tags") or {}
    return all(_holds(instance.defined_tags.get(space, {}), tags) for space, tags in spaces.items())


def _holds(tags: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(key in tags and str(tags[key]) == str(value) for key, value in wanted.items())
