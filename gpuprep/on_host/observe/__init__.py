"""The observation: read-only, standard library only, Python 3.6 or newer, one JSON object out."""
