"""Throw-away hosts for the demo, the tests and the benchmarks; see README.md here."""
