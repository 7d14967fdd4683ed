"""Give the evaluation what the catalog knows. The only place here that reads the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gpuprep.ladder.evidence import Expectation

if TYPE_CHECKING:
    from gpuprep.catalog import Catalog
    from gpuprep.model import Family


def expectation(
    catalog: Catalog, family: Family | None = None, shape: str | None = None
) -> Expectation:
    """Return what must be seen on a host of a package family and an OCI shape.

    Args:
        catalog: the facts.
        family: package format of the host; None = not known.
        shape: OCI shape; one that the catalog does not list promises nothing.

    """
    known = catalog.shapes.get(shape or "")
    return Expectation(
        gpus=catalog.gpus,
        gpu_count=known.count if known and known.vendor == "nvidia" else None,
        shape=shape,
        shape_fabric=known.fabric if known else None,
        version_locked=next(
            (names for name, names in catalog.driver.closure.items() if name == family), ()
        ),
        compat_package=catalog.cuda.compat_package,
        fabrics=catalog.fabrics,
        rdma=bool(known and known.rdma),
        kernels=catalog.kernels,
    )
