"""A client of ssh in this process: it takes ssh's command line, and asks ssh what that means."""
