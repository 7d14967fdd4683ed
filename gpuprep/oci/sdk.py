"""Oracle's SDK, imported when a request is really needed."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from gpuprep.errors import InventoryError

if TYPE_CHECKING:
    from types import ModuleType


def sdk() -> ModuleType:
    """Import the OCI SDK.

    Raises:
        InventoryError: it is not installed for this interpreter.

    """
    # SDKs before lazy loading import 500 MB of service modules without this.
    os.environ.setdefault("OCI_PYTHON_SDK_NO_SERVICE_IMPORTS", "1")
    try:
        import oci  # noqa: PLC0415 - heavy: only when a request is really needed
        import oci.auth.signers  # noqa: PLC0415
        import oci.base_client  # noqa: PLC0415
        import oci.signer  # noqa: PLC0415
    except ImportError as error:
        raise InventoryError(
            f"the OCI SDK is missing for {sys.executable} ({error}); "
            f"install it there: {sys.executable} -m pip install oci, "
            "or gpuprep with its extra [oci], which brings it"
        ) from None
    module: ModuleType = oci
    return module
