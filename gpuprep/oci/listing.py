"""The call plan: a tenancy in a handful of requests, as many at a time as the service bears.

::

    [regions] -> [compartment tree] -> ListInstances per compartment
        -> only where hosts are left: ListVnicAttachments, then ListPrivateIps per subnet
        -> as options ask: images, clusters, public and IPv6 addresses, names
"""

from __future__ import annotations

from concurrent.futures import Executor, ThreadPoolExecutor
from operator import attrgetter
from typing import TYPE_CHECKING, Final, TypeVar

from gpuprep.errors import InventoryError
from gpuprep.oci import clusters, network, scope
from gpuprep.oci.client import Call, CallFailedError
from gpuprep.oci.hosts import Composer, host_names
from gpuprep.oci.records import Compartment, Image, Instance, Listing
from gpuprep.oci.selection import Funnel, select, server_side

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from gpuprep.catalog import Shape
    from gpuprep.oci.client import Client, Json
    from gpuprep.oci.options import Options
    from gpuprep.oci.records import Addresses, Cluster, Host

Place = tuple[str, Compartment]
Item = TypeVar("Item")
Result = TypeVar("Result")

_TOLD_AT_MOST: Final = 10


def list_hosts(client: Client, options: Options, shapes: Mapping[str, Shape]) -> Listing:
    """List the hosts that the options ask for.

    Args:
        client: signed in.
        options: checked.
        shapes: the catalog's shapes.

    Raises:
        InventoryError: something could not be listed and ``on_partial`` is ``fail``; names each
            request, its opc-request-id and the policies that are missing.
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
        self._gaps: list[str] = []
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
        self._check_complete()
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
        return select(found, self._options, self._shapes, self._funnel)

    def _addresses(self, instances: Sequence[Instance]) -> network.Found:
        places = list(dict.fromkeys((one.region, one.compartment) for one in instances))

        def attachments(place: Place) -> list[Json]:
            return self._client.all(network.attachments_call(*place))

        answers = dict(zip(places, self._each(attachments, places), strict=True))
        readable = [one for one in instances if answers[one.region, one.compartment] is not None]
        rows = (row for answer in answers.values() for row in answer or ())
        vnics = network.candidates(rows, {one.id for one in readable})
        found = network.Lookup(self._client, self._pool, self._options).run(readable, vnics)
        self._gaps += found.odd
        for detour, count in found.detours:
            self._missing_policy(detour)
            self._warnings.append(f"{detour}; asked for {count} VNICs one by one instead")
        for error in found.gaps:
            self._failed(error)
        if found.gone:
            self._funnel.left_out["terminated while listing"] = len(found.gone)
        return found

    def _images(self, instances: Iterable[Instance]) -> dict[str, Image]:
        """Fetch each distinct image once; that one was deleted since is no fault."""
        users = {one.image_id: one for one in instances if one.image_id}

        def image(user: Instance) -> Image | None:
            call = Call(
                "iaas",
                user.region,
                f"/images/{user.image_id}",
                about=f"image of host {user.name}",
                policy="read instance-images in tenancy",
            )
            try:
                return Image.from_json(self._client.get(call))
            except CallFailedError as error:
                if not error.hidden:
                    raise
                self._warnings.append(f"{error}; its hosts get no ansible_user and no os group")
                return None

        found = self._each(image, list(users.values()))
        return {one.id: one for one in found if one}

    def _clusters(self, instances: Sequence[Instance]) -> dict[str, Cluster]:
        places = dict.fromkeys((one.region, one.compartment) for one in instances)
        jobs = [(kind, place) for place in places for kind in clusters.KINDS]

        def members(job: tuple[clusters.Kind, Place]) -> dict[str, Cluster]:
            kind, (region, compartment) = job
            return clusters.members(self._client, kind, region, compartment)

        return clusters.preferred(answer for answer in self._each(members, jobs) if answer)

    def _each(
        self, function: Callable[[Item], Result], items: Sequence[Item]
    ) -> list[Result | None]:
        """Call the function for all items at once; None where the service refused."""
        futures = [self._pool.submit(function, item) for item in items]
        results: list[Result | None] = []
        for future in futures:
            try:
                results.append(future.result())
            except CallFailedError as error:
                self._failed(error)
                results.append(None)
        return results

    # --- what is missing -----------------------------------------------------------------------

    def hopeless(self, error: CallFailedError) -> InventoryError:
        """Word a failure without which nothing can be listed."""
        self._failed(error)
        return InventoryError(self._incomplete())

    def _failed(self, error: CallFailedError) -> None:
        self._gaps.append(str(error))
        self._missing_policy(error)

    def _missing_policy(self, error: CallFailedError) -> None:
        statement = error.statement(self._client.identity.principal)
        if statement:
            self._policies[statement] = None

    def _check_complete(self) -> None:
        if not self._gaps:
            return
        text = self._incomplete()
        if self._options.on_partial == "fail":
            raise InventoryError(
                f"{text}\nNothing is listed, because a part looks like the whole; "
                "on_partial: warn lists what can be seen"
            )
        self._warnings.append(text)

    def _incomplete(self) -> str:
        told = self._gaps[:_TOLD_AT_MOST]
        if len(self._gaps) > len(told):
            told.append(f"... and {len(self._gaps) - len(told)} more")
        lines = [f"the inventory is incomplete, {len(self._gaps)} answers are missing:", *told]
        if self._policies:
            lines.append("OCI answers 404 when a policy is missing; these would allow it:")
            lines += [f"  {one}" for one in self._policies]
        return "\n".join(lines)

    # --- the result ----------------------------------------------------------------------------

    def _composed(
        self,
        instances: Sequence[Instance],
        addresses: Mapping[str, Addresses],
        images: Mapping[str, Image],
        members: Mapping[str, Cluster],
    ) -> Listing:
        pairs = [(one, addresses.get(one.id)) for one in instances]
        names, shared = host_names(pairs, self._options.hostnames)
        composer = Composer(self._options, self._shapes)
        hosts = [
            composer.host(name, one, where, images.get(one.image_id or ""), members.get(one.id))
            for name, (one, where) in zip(names, pairs, strict=True)
        ]
        hosts.sort(key=attrgetter("name"))
        self._warn_of(hosts, shared, composer.unknown_shapes)
        return Listing(
            hosts=tuple(hosts),
            group_parents=composer.group_parents,
            summary=f"{self._funnel}; {len(hosts)} hosts",
            warnings=tuple(self._warnings),
            complete=not self._gaps,
            policies=tuple(self._policies),
            requests=self._client.requests,
        )

    def _warn_of(self, hosts: Sequence[Host], shared: Sequence[str], shapes: set[str]) -> None:
        if shared:
            self._warnings.append(
                f"{len(shared)} names are shared by several hosts; these now end in the last six "
                f"signs of their OCID: {', '.join(shared[:_TOLD_AT_MOST])}"
            )
        if shapes:
            self._warnings.append(
                f"shapes that the catalog does not know: {', '.join(sorted(shapes))}; their "
                "fabric and RDMA are left to what the hosts themselves show"
            )
        bare = [one.name for one in hosts if "ansible_host" not in one.variables]
        if bare and not self._gaps:
            self._warnings.append(
                f"{len(bare)} hosts have no {' or '.join(self._options.ansible_host_from)} and get "
                f"no ansible_host: {', '.join(bare[:_TOLD_AT_MOST])}"
            )
        if not hosts:
            self._warnings.append(f"no host is left of {self._funnel}")
