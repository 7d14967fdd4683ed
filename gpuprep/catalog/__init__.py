"""What belongs together: the data file ``nvidia.yml``, typed. Pure."""

from gpuprep.catalog.load import load
from gpuprep.catalog.tables import Catalog, Gpu, Shape

__all__ = ["Catalog", "Gpu", "Shape", "load"]
