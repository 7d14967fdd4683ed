"""A substitute of Miniforge and of the conda-forge channel, generated at test time.

`target/conda` is the `conda` that hosts get: our command line over py-rattler, which really
solves, fetches, checks and links packages. `docs/testing.md` says what differs from conda.
"""
