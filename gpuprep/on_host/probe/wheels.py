"""cuDNN and cuBLAS as wheels bring them: below site-packages/nvidia of an environment."""

import glob
import os


def material(pythons):
    """Return ``cudnn`` (include, lib) and ``library_folders`` found beside these interpreters."""
    found = {"library_folders": []}
    for python in pythons:
        prefix = os.path.dirname(os.path.dirname(python))
        for folder in sorted(glob.glob(prefix + "/lib/python3*/site-packages/nvidia/*")):
            libraries = os.path.join(folder, "lib")
            if not os.path.isdir(libraries):
                continue
            found["library_folders"].append(libraries)
            header = os.path.join(folder, "include", "cudnn.h")
            if os.path.exists(header) and glob.glob(libraries + "/libcudnn.so*"):
                found["cudnn"] = {"include": os.path.dirname(header), "lib": libraries}
    return found
