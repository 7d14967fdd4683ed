"""Lock files: exact versions for a fleet, and what a repository offers."""
