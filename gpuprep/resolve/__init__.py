"""The resolver: facts and desired stack in, a stack or a refusal out. Pure."""

from gpuprep.resolve.resolver import resolve

__all__ = ["resolve"]
