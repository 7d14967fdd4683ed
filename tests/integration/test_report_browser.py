"""The page in a real browser: it draws, quickly, without a word on the console."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from report_cases import fleet

from gpuprep.report.formats import render

BROWSER = "chromium"
pytestmark = pytest.mark.needs("chromium")
QUIET = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--hide-scrollbars",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def browse(page: Path, *arguments: str, fragment: str = "") -> tuple[str, list[str]]:
    """Open a page in a fresh profile; give what is printed, and the console's lines."""
    command = [
        BROWSER,
        *QUIET,
        f"--user-data-dir={page.parent / 'profile'}",
        "--enable-logging=stderr",
        *arguments,
        f"{page.as_uri()}{fragment}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def page_of(size: int, folder: Path) -> Path:
    page = folder / "report.html"
    page.write_text(render(fleet(size), "html"), encoding="utf-8")
    return page


@pytest.mark.parametrize("size", [1, 50, 1000])
def test_page_is_drawn_in_two_seconds_without_errors(size: int, tmp_path: Path) -> None:
    page = page_of(size, tmp_path)
    dom, console = browse(page, "--dump-dom")
    assert console == []
    assert len(re.findall(r'<details class="host"', dom)) == size
    drawn = re.search(r'data-drawn="(\d+)"', dom)
    assert drawn is not None
    assert int(drawn.group(1)) < 2000


def test_of_thousands_the_first_are_drawn_and_all_are_found(tmp_path: Path) -> None:
    page = page_of(2500, tmp_path)
    dom, console = browse(page, "--dump-dom")
    assert console == []
    assert visible(dom) == 1000
    assert "2500 hosts" in dom
    assert re.search(r'<button id="next"[^>]*>Show 1000 more<', dom)
    shown = dom.partition("<script")[0]
    last = next(name for name in fleet(2500)["hosts"] if name not in shown)
    assert visible(browse(page, "--dump-dom", fragment=f"#q={last}")[0]) == 1
    # A link to a host far below draws as far as that.
    assert last in browse(page, "--dump-dom", fragment=f"#host={last}")[0].partition("<script")[0]


def visible(dom: str) -> int:
    return len(re.findall(r'<details class="host"(?![^>]*hidden)', dom))


def test_filters_travel_in_the_address(tmp_path: Path) -> None:
    page = page_of(50, tmp_path)
    assert visible(browse(page, "--dump-dom")[0]) == 50
    assert visible(browse(page, "--dump-dom", fragment="#q=h100-0011")[0]) == 1
    drifted = browse(page, "--dump-dom", fragment="#state=drifted")[0]
    assert 0 < visible(drifted) < 10
    assert re.search(r'aria-pressed="true"[^>]*data-state="drifted"', drifted)
    nothing = browse(page, "--dump-dom", fragment="#q=no-such-host")[0]
    assert visible(nothing) == 0
    assert re.search(r'<p id="none" class="none">', nothing)


def test_a_host_can_be_linked_to_and_shows_its_evidence(tmp_path: Path) -> None:
    page = page_of(50, tmp_path)
    dom, console = browse(page, "--dump-dom", fragment="#host=gpu-h100-0011")
    assert console == []
    assert dom.count('class="body"') == 1
    assert "/dev/nvidia-uvm" in dom


def test_of_few_hosts_the_worst_is_open_and_a_refused_one_says_so(tmp_path: Path) -> None:
    result = fleet(4)
    refused = {"state": "refused", "code": "E_RUNFILE_PRESENT", "error": "a runfile", "steps": []}
    for host in result["hosts"].values():
        host.update(state="ready", steps=[])
    next(iter(result["hosts"].values())).update(refused)
    page = tmp_path / "report.html"
    page.write_text(render({**result, "verb": "apply"}, "html"), encoding="utf-8")
    dom, console = browse(page, "--dump-dom")
    assert console == []
    dom = dom.partition("<script")[0]
    assert dom.count('class="body"') == 1
    assert "nothing was planned and nothing was touched" in dom
    assert "Nothing differs" not in dom
    assert "What is wrong" not in dom
    assert re.search(r'id="legend"(?![^>]*hidden)', dom)


def test_what_a_host_did_and_what_files_became_is_shown_with_times(tmp_path: Path) -> None:
    result = fleet(1)
    (host,) = result["hosts"].values()
    done = {"role": "conda", "op": "files", "detail": "wrote /a", "changed": True, "seconds": 0.02}
    diff = {"path": "/a", "before": "kept\n<old>\n", "after": "kept\nnew\n"}
    host.update(operations=[done], diffs=[diff])
    page = tmp_path / "report.html"
    page.write_text(render({**result, "verb": "apply"}, "html"), encoding="utf-8")
    dom, console = browse(page, "--dump-dom")
    assert console == []
    drawn = re.sub("<[^>]*>", "\n", dom.partition("<script")[0])
    assert "Carried out" in drawn
    assert "20 ms" in drawn
    for line in ("-&lt;old&gt;", "+new", " kept"):
        assert line in drawn.splitlines()


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", ["gpu-1", f"gpu-{'1' * 30}.{'sub' * 9}.oraclevcn.com"])
def test_nothing_runs_over_the_edge(width: int, name: str, tmp_path: Path) -> None:
    """Measure in a frame of the wanted width: headless windows are never narrower than 500."""
    result = fleet(1)
    (host,) = result["hosts"].values()
    page = tmp_path / "report.html"
    renamed = {**result, "hosts": {name: {**host, "name": name}}}
    page.write_text(render(renamed, "html"), encoding="utf-8")
    frame = tmp_path / "frame.html"
    script = (
        "onmessage = (event) => { document.title = event.data; };"
        "const p = frames[0];"
        "addEventListener('load', () => setTimeout(() => { const d = p.document.documentElement;"
        " document.title = d.scrollWidth + '/' + d.clientWidth; }, 300));"
    )
    frame.write_text(
        f'<iframe src="{page.name}" width="{width}" height="900"></iframe><script>{script}</script>'
    )
    dom, _ = browse(
        frame, "--dump-dom", "--allow-file-access-from-files", "--virtual-time-budget=3000"
    )
    found = re.search(r"<title>(\d+)/(\d+)</title>", dom)
    assert found is not None, dom[:300]
    assert int(found.group(1)) <= int(found.group(2)) <= width


def test_it_prints(tmp_path: Path) -> None:
    page = page_of(20, tmp_path)
    paper = tmp_path / "report.pdf"
    browse(page, f"--print-to-pdf={paper}", "--no-pdf-header-footer")
    pages = paper.read_bytes().count(b"/Type /Page\n") or paper.read_bytes().count(b"/Type /Page")
    assert pages >= 3  # the hosts were opened for the paper
