"""What belongs together: the data file, and the resolver that walks it.

``resolve(facts, desired, catalog)`` is pure and imports nothing of Ansible.
"""

from gpuprep.catalog.load import load
from gpuprep.catalog.resolve import resolve
from gpuprep.catalog.tables import Catalog, Gpu, Shape

__all__ = ["Catalog", "Gpu", "Shape", "load", "resolve"]
