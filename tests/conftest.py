"""What all tests need: helpers' assertions explained, Ctrl-C as at a terminal."""

import signal

import pytest

pytest.register_assert_rewrite("drift", "lab", "stranger")


def pytest_configure() -> None:
    """Take Ctrl-C also where it was ignored: a shell starts background jobs so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
