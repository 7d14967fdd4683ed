"""The call plan: a tenancy in a handful of requests, as many at a time as the service bears.

::

    [regions] -> [compartment tree] -> ListInstances per compartment
        -> only where hosts are left: ListVnicAttachments, then ListPrivateIps per subnet
        -> as options ask: images, clusters, public and IPv6 addresses, names
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, TypeVar

from gpuprep.errors import InventoryError
from gpuprep.oci import clusters, gaps, network, scope
from gpuprep.oci.client import Call, CallFailedError
from gpuprep.oci.hosts import NOWHERE, Composer
from gpuprep.oci.names import plain_name, renamed
from gpuprep.oci.records import Compartment, Gap, Image, Instance, Listing
from gpuprep.oci.selection import Funnel, select, server_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from gpuprep.catalog import Shape
    from gpuprep.oci.client import Client, Json
    from gpuprep.oci.options import Options
    from gpuprep.oci.records import Addresses, Cluster, Host

Place = tuple[str, Compartment]
Item = TypeVar("Item")
Result = TypeVar("Result")

_TOLD_AT_MOST: Final = 10


def list_hosts(client: Client, options: Options, shapes: Mapping[str, Shape]) -> Listing:
    """List the hosts that the options ask for, with the gaps that there are.

    Args:
        client: signed in.
        options: checked.
        shapes: the catalog's shapes.

    Raises:
        InventoryError: nothing can be listed without a request that failed.
        ConfigError: an option names a compartment or region that is not there.

    """
    with ThreadPoolExecutor(options.workers, thread_name_prefix="oci") as pool:
        lister = _Lister(client, options, shapes, pool)
        try:
            return lister.run()
        except CallFailedError as error:
            raise lister.hopeless(error) from None


class _Lister:
    """One listing on its way."""

    def __init__(
        self, client: Client, options: Options, shapes: Mapping[str, Shape], pool: Executor
    ) -> None:
        self._client = client
        self._options = options
        self._shapes = shapes
        self._pool = pool
        self._funnel = Funnel()
        self._gaps: list[Gap] = []
        self._policies: dict[str, None] = {}  # statements; an ordered set
        self._warnings = list(client.identity.warnings)

    def run(self) -> Listing:
        regions = scope.regions(self._client, self._options)
        compartments = scope.compartments(self._client, self._options)
        instances = self._instances([(region, one) for region in regions for one in compartments])
        found = self._addresses(instances)
        alive = [one for one in instances if one.id not in found.gone]
        images = self._images(alive) if self._options.resolve_images else {}
        members = self._clusters(alive) if self._options.resolve_clusters else {}
        return self._composed(alive, found.addresses, images, members)

    # --- steps ---------------------------------------------------------------------------------

    def _instances(self, places: Sequence[Place]) -> list[Instance]:
        """List instances, each page cut down at once to what the inventory uses."""

        def one(place: Place) -> list[Instance]:
            region, compartment = place
            call = Call(
                "iaas",
                region,
                "/instances",
                {"compartmentId": compartment.id, **server_side(self._options)},
                about=compartment.words,
                policy=f"read instance-family {compartment.where}",
            )
            return [
                Instance.from_json(raw, region, compartment)
                for page in self._client.pages(call)
                for raw in page
            ]

        found = (one for rows in self._each(one, places) for one in rows or ())
        # One that is moved to another compartment meanwhile is in both lists.
        distinct = {one.id: one for one in found}
        return select(distinct.values(), self._options, self._shapes, self._funnel)

    def _addresses(self, instances: Sequence[Instance]) -> network.Found:
        users = _users(instances, lambda one: (one.region, one.compartment))

        def attachments(place: Place) -> list[Json]:
            return self._client.all(network.attachments_call(*place))

        answers = dict(zip(users, self._each(attachments, users), strict=True))
        readable = [one for one in instances if answers[one.region, one.compartment] is not None]
        rows = (row for answer in answers.values() for row in answer or ())
        vnics = network.candidates(rows, {one.id for one in readable})
        found = network.Lookup(self._client, self._pool, self._options).run(readable, vnics)
        self._gaps += [
            Gap(text, frozenset({ocid}), lasting=True) for ocid, text in found.odd.items()
        ]
        for detour, count in found.detours:
            self._missing_policy(detour)
            self._warnings.append(f"{detour}; asked for {count} VNICs one by one instead")
        for error, ocids in found.failed:
            self._failed(error, ocids)
        if found.gone:
            self._funnel.left_out["terminated while listing"] = len(found.gone)
        return found

    def _images(self, instances: Iterable[Instance]) -> dict[str, Image]:
        """Fetch each distinct image once; that one was deleted since is no fault."""
        users = _users(
            (one for one in instances if one.image_id), lambda one: (one.region, one.image_id)
        )

        def image(key: tuple[str, str | None]) -> Image | None:
            region, ocid = key
            call = Call(
                "iaas",
                region,
                f"/images/{ocid}",
                about=f"image of {len(users[key])} hosts",
                policy="read instance-images in tenancy",
            )
            try:
                return Image.from_json(self._client.get(call))
            except CallFailedError as error:
                if not error.hidden:
                    raise
                self._warnings.append(f"{error}; its hosts get no ansible_user and no os group")
                return None

        found = self._each(image, users)
        return {one.id: one for one in found if one}

    def _clusters(self, instances: Sequence[Instance]) -> dict[str, Cluster]:
        users = _users(instances, lambda one: (one.region, one.compartment))
        jobs = {(kind, place): users[place] for place in users for kind in clusters.KINDS}

        def members(job: tuple[clusters.Kind, Place]) -> dict[str, Cluster]:
            kind, (region, compartment) = job
            return clusters.members(self._client, kind, region, compartment)

        return clusters.preferred(answer for answer in self._each(members, jobs) if answer)

    def _each(
        self,
        function: Callable[[Item], Result],
        items: Sequence[Item] | Mapping[Item, frozenset[str]],
    ) -> list[Result | None]:
        """Call the function for all items at once; None where the service refused.

        Items of a mapping come with the hosts that lack something then.
        """
        futures = {item: self._pool.submit(function, item) for item in items}
        results: list[Result | None] = []
        for item, future in futures.items():
            try:
                results.append(future.result())
            except CallFailedError as error:
                self._failed(error, items[item] if isinstance(items, Mapping) else None)
                results.append(None)
        return results

    # --- what is missing -----------------------------------------------------------------------

    def hopeless(self, error: CallFailedError) -> InventoryError:
        """Word a failure without which nothing can be listed."""
        self._failed(error)
        return InventoryError(gaps.incomplete(self._gaps, self._policies))

    def _failed(self, error: CallFailedError, hosts: frozenset[str] | None = None) -> None:
        self._gaps.append(Gap(str(error), hosts))
        self._missing_policy(error)

    def _missing_policy(self, error: CallFailedError) -> None:
        statement = error.statement(self._client.identity.principal)
        if statement:
            self._policies[statement] = None

    # --- the result ----------------------------------------------------------------------------

    def _composed(
        self,
        instances: Sequence[Instance],
        addresses: Mapping[str, Addresses],
        images: Mapping[str, Image],
        members: Mapping[str, Cluster],
    ) -> Listing:
        composer = Composer(self._options, self._shapes)
        hosts = [
            composer.host(
                plain_name(one, addresses.get(one.id), self._options.hostnames),
                one,
                addresses.get(one.id),
                images.get(one.image_id or ""),
                members.get(one.id),
            )
            for one in instances
        ]
        self._warn_of(hosts, composer.unknown_shapes)
        listing = Listing(
            hosts=tuple(hosts),
            group_parents=composer.group_parents,
            summary=f"{self._funnel}; {len(hosts)} hosts",
            warnings=tuple(self._warnings),
            gaps=tuple(self._gaps),
            policies=tuple(self._policies),
            requests=self._client.requests,
        )
        return renamed(listing, ())

    def _warn_of(self, hosts: Sequence[Host], shapes: set[str]) -> None:
        if shapes:
            self._warnings.append(
                f"shapes that the catalog does not know: {', '.join(sorted(shapes))}; their "
                "fabric and RDMA are left to what the hosts themselves show"
            )
        bare = [one.name for one in hosts if one.variables["ansible_host"] == NOWHERE]
        if bare and not self._gaps:
            self._warnings.append(
                f"{len(bare)} hosts have no {' or '.join(self._options.ansible_host_from)} and "
                f"cannot be reached: {', '.join(bare[:_TOLD_AT_MOST])}"
            )
        if not hosts:
            self._warnings.append(f"no host is left of {self._funnel}")


def _users(
    instances: Iterable[Instance], key: Callable[[Instance], Item]
) -> dict[Item, frozenset[str]]:
    """Return the OCIDs of the instances that share something, by what they share."""
    found: dict[Item, set[str]] = defaultdict(set)
    for one in instances:
        found[key(one)].add(one.id)
    return {item: frozenset(ocids) for item, ocids in found.items()}
