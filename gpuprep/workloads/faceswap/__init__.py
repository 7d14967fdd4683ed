"""Faceswap: what of it fits a host, and how it is installed and run."""
