"""Faceswap: its jobs, their consent and their labels."""
