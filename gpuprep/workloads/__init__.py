"""Workloads that run on prepared hosts; opt-in."""
