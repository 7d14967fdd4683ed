"""Proof: the ladder of checks, the probe that gathers evidence, the rules that judge it."""
