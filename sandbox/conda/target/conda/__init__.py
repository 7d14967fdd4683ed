"""A conda for tests: conda's commands and files over py-rattler. Runs on the host."""
