"""The sandbox's web server: what it serves, what it notes, how it is found and stopped."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox import hosts, httpd, servers, services
from sandbox.fleet import HostSpec
from sandbox.paths import SandboxError


def test_without_a_container_the_missing_network_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = hosts.Host("vm", "127.0.0.1", "", HostSpec("vm"), "vm", 2222)
    monkeypatch.setattr(hosts, "running", lambda: (machine,))
    with pytest.raises(SandboxError, match="python -m sandbox host-up"):
        services.start([machine])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "www" / "kernel").mkdir(parents=True)
    (tmp_path / "www" / "kernel" / "Release").write_text("content")
    (tmp_path / "run").mkdir()
    return tmp_path


@pytest.fixture
def server(root: Path) -> Iterator[httpd.Server]:
    made = httpd.bind("127.0.0.1", 0, root / "www")
    with (root / "run" / "access.jsonl").open("ab", buffering=0) as made.log:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        made.shutdown()
        thread.join()
        made.server_close()


def get(port: int, path: str, **headers: str) -> tuple[int, bytes, str | None]:
    """Ask for a path; gives status, body and time stamp."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.getheader("Last-Modified")
    finally:
        connection.close()


def noted(root: Path) -> list[tuple[object, ...]]:
    """Read the log as it is now: an answer is noted before it is sent."""
    return [
        (line["method"], line["path"], line["status"], line["bytes"])
        for line in servers.requests(root)
    ]


def test_every_answer_is_noted_with_its_size(server: httpd.Server, root: Path) -> None:
    port = server.server_port
    status, body, stamp = get(port, "/kernel/Release")
    assert (status, body) == (200, b"content")
    assert stamp
    assert get(port, "/kernel/none")[0] == 404
    assert get(port, "/kernel/Release", **{"If-Modified-Since": stamp})[0] == 304
    assert noted(root) == [
        ("GET", "/kernel/Release", 200, len("content")),
        ("GET", "/kernel/none", 404, 0),
        ("GET", "/kernel/Release", 304, 0),
    ]


def test_a_request_that_cannot_be_read_is_refused_and_noted(
    server: httpd.Server, root: Path
) -> None:
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=5) as connection:
        connection.sendall(b"nonsense\r\n\r\n")
        assert b"400" in connection.recv(4096)
    assert noted(root) == [("", "", 400, 0)]


def test_answers_given_side_by_side_are_each_noted_once(server: httpd.Server, root: Path) -> None:
    paths = [f"/kernel/none-{number}" for number in range(200)]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda path: get(server.server_port, path), paths))
    assert {status for status, _, _ in answers} == {404}
    assert sorted(str(path) for _, path, _, _ in noted(root)) == sorted(paths)


def test_a_taken_port_gives_way_to_a_free_one(server: httpd.Server, root: Path) -> None:
    other = httpd.bind("127.0.0.1", server.server_port, root / "www")
    assert other.server_port not in {0, server.server_port}
    other.server_close()


def test_the_server_is_started_once_found_again_and_stopped(root: Path) -> None:
    state = servers.State(root)
    first = servers._serve(state, "127.0.0.1")
    try:
        assert servers._serve(state, "127.0.0.1") == first
        assert get(first.port, "/kernel/Release")[0] == 200
    finally:
        assert servers.stop(root)
    assert not servers.stop(root)
    with pytest.raises(ConnectionRefusedError):
        get(first.port, "/kernel/Release")


def test_a_process_of_the_same_number_is_not_taken_for_the_server(root: Path) -> None:
    state = servers.State(root)
    record = {"pid": 1, "gateway": "127.0.0.1", "port": 1}
    state.server.write_text(json.dumps(record))
    assert not servers.stop(root)
