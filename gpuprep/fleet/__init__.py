"""Decisions about a fleet as a whole: pure."""
