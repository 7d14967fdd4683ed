"""A substitute of NVIDIA's apt repository, generated and signed at test time.

Package names, version forms and dependencies follow NVIDIA's repositories for Debian 12 and 13;
the payload is ours, except where NVIDIA's wheels on PyPI carry the real thing (the CUDA compiler).
`docs/testing.md` says what each package is and is not.
"""
