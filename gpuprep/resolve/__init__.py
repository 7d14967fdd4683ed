"""The resolver: facts and desired stack in, a stack or a refusal out. Pure."""
