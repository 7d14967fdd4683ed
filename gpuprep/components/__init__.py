"""The components of a stack, one object in one file each."""
