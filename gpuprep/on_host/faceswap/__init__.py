"""The runner of Faceswap's jobs. Standard library, Python 3.6 or newer."""
