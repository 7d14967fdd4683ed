"""What all tests need: helpers' assertions explained, Ctrl-C as at a terminal, programs."""

import os
import shutil
import signal

import pytest

pytest.register_assert_rewrite("drift", "lab", "stranger")


def pytest_configure() -> None:
    """Take Ctrl-C also where it was ignored: a shell starts background jobs so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose programs this machine lacks; a whole run installs them and must not."""
    wanted = (name for mark in item.iter_markers("needs") for name in mark.args)
    missing = [name for name in wanted if shutil.which(name) is None]
    if missing:
        give_up = pytest.fail if os.environ.get("TESTS_SKIP_NO_PROGRAM") else pytest.skip
        give_up(f"not on this machine: {', '.join(missing)}")
