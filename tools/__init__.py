"""Programs that keep the repository itself in order; no part of the package."""
