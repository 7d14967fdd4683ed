"""One closing line over several test suites: ``python -m tools.summary STATUS JUNIT.xml...``."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree as ET

_WIDTH = 100


def count(files: list[Path]) -> tuple[Counter[str], float]:
    """Add up outcomes and seconds of JUnit files.

    Raises:
        ET.ParseError: a file is not XML; its suite was cut off.

    """
    total: Counter[str] = Counter()
    seconds = 0.0
    for file in files:
        for suite in ET.parse(file).getroot().iter("testsuite"):  # noqa: S314 - our own pytest's
            number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors")}
            skipped = int(suite.get("skipped", 0))
            total["failed"] += number["failures"]
            total["errors"] += number["errors"]
            total["skipped"] += skipped
            total["passed"] += number["tests"] - number["failures"] - number["errors"] - skipped
            seconds += float(suite.get("time", 0))
    return total, seconds


def line(total: Counter[str], seconds: float) -> str:
    """Return what was counted, in pytest's own words."""
    order = ("failed", "passed", "skipped", "errors")
    told = ", ".join(f"{total[key]} {key}" for key in order if total[key]) or "no tests ran"
    minutes, rest = divmod(round(seconds), 60)
    return f" {told} in {seconds:.2f}s ({minutes // 60}:{minutes % 60:02d}:{rest:02d}) "


def main(arguments: list[str]) -> int:
    """Print the line; the exit status is 1 when a test failed or the run did."""
    status, *names = arguments
    total, seconds = count([Path(name) for name in names if Path(name).is_file()])
    print(line(total, seconds).center(_WIDTH, "="))
    good = status == "0" and total["passed"] and not total["failed"] and not total["errors"]
    if not good and not total["failed"] and not total["errors"]:
        print("failed, but no test did: lint, or the run itself; see above", file=sys.stderr)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
