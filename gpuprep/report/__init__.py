"""Reports of a run: in a terminal, as a page, for CI, for a chat."""
