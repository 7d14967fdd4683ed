"""A stand-in for Faceswap's checkout, and drawn material that shows nobody."""
