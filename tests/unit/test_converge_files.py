"""Managed files: written as a whole, keys as verified, in directories that are root's alone."""

from __future__ import annotations

import hashlib
import http.server
import io
import os
import stat
import threading
from typing import TYPE_CHECKING, Any

import pytest
from converge_rig import CONTEXT, LOOKING, names, served

from gpuprep.on_host import openpgp
from gpuprep.on_host.converge import fetch, files, folders
from gpuprep.on_host.converge.base import OperationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of root's need root")
# A version 4 key packet: what only_key() looks at is its framing and fingerprint.
BODY = b"\x04" + b"\0" * 40
KEY = b"\x98" + bytes((len(BODY),)) + BODY
FINGERPRINT = openpgp.fingerprints(KEY)[0]


@pytest.fixture(autouse=True)
def run_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(folders, "RUN", str(tmp_path / "run"))
    return tmp_path / "run"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = tmp_path / "web"
    folder.mkdir()
    with served(folder) as address:
        yield folder, address


def setting(path: Path, content: str | None = "new\n", **more: Any) -> dict[str, Any]:
    return {"path": str(path), "kind": "profile", "content": content, "mode": "0644", **more}


def converge(*settings: dict[str, Any], context: Any = CONTEXT, **more: Any) -> Any:
    return files.files({"files": list(settings), **more}, context)


def key_file(path: Path, url: str, fingerprint: str = FINGERPRINT) -> dict[str, Any]:
    return setting(path, None, kind="key", key={"url": url, "fingerprint": fingerprint})


def test_a_file_is_written_once(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    first = converge(setting(path))
    assert (first["changed"], first["items"]) == (True, [str(path)])
    assert first["diff"][0]["after"] == "new\n"
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("new\n", 0o644)
    assert not converge(setting(path))["changed"]
    assert names(path.parent) == ["b"]


def test_rights_alone_are_mended_without_writing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    converge(setting(path))
    path.chmod(0o600)
    node = path.stat().st_ino
    assert converge(setting(path))["changed"]
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_ino) == (0o644, node)


def test_check_mode_shows_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    answer = converge(setting(path), context=LOOKING)
    assert answer["changed"]
    assert answer["diff"][0]["after"] == "new\n"
    assert not path.exists()


def test_a_link_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    victim, path = tmp_path / "victim", tmp_path / "a"
    victim.write_text("old\n")
    path.symlink_to(victim)
    assert converge(setting(path))["changed"]
    assert (path.is_symlink(), victim.read_text()) == (False, "old\n")


def test_a_directory_in_the_way_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperationError, match="is a directory"):
        converge(setting(tmp_path / "run" / ".."), setting(tmp_path))


@pytest.mark.parametrize("how", ["of somebody else", "writable for all", "link in a shared one"])
def test_a_place_that_others_control_is_refused(tmp_path: Path, how: str) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    if how == "of somebody else":
        os.chown(folder, 65534, 65534)
    elif how == "writable for all":
        folder.chmod(0o777)
    else:
        folder.chmod(0o1777)
        (tmp_path / "etc").mkdir()
        (folder / "in").symlink_to(tmp_path / "etc")
        folder = folder / "in"
    with pytest.raises(OperationError) as raised:
        converge(setting(folder / "a"))
    assert raised.value.code == "E_UNSAFE_PATH"
    assert not (folder / "a").exists()


def test_links_that_only_root_can_make_are_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    converge(setting(tmp_path / "link" / "a"))
    assert (tmp_path / "real" / "a").read_text() == "new\n"


# --- keys ---------------------------------------------------------------------------------------


def test_a_key_is_written_as_verified(tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "key").write_bytes(openpgp.armor(KEY).replace(b"\n\n", b"\nComment: x\n\n", 1))
    armoured, binary = tmp_path / "k.asc", tmp_path / "k.gpg"
    converge(key_file(armoured, f"{address}/key"), key_file(binary, f"{address}/key"))
    assert armoured.read_bytes() == openpgp.armor(KEY)
    assert binary.read_bytes() == KEY
    (folder / "key").unlink()  # a key that is there is not fetched again
    assert not converge(key_file(armoured, f"{address}/key"))["changed"]


@pytest.mark.parametrize("foreign", ["second block", "second key", "text around", "other"])
def test_what_is_not_exactly_the_key_is_not_trusted(
    tmp_path: Path, web: tuple[Path, str], foreign: str
) -> None:
    folder, address = web
    other = b"\x98\x29\x04" + b"\1" * 40
    texts = {
        "second block": openpgp.armor(KEY) + openpgp.armor(other),
        "second key": openpgp.armor(KEY + other),
        "text around": openpgp.armor(KEY) + b"x\n",
        "other": openpgp.armor(other),
    }
    (folder / "key").write_bytes(texts[foreign])
    before = setting(tmp_path / "before")
    with pytest.raises(OperationError, match="gpuprep_mirror_fingerprint") as raised:
        converge(before, key_file(tmp_path / "k.asc", f"{address}/key"))
    assert raised.value.code == "E_KEY"
    assert not (tmp_path / "before").exists()  # nothing is written before all is verified


def test_a_key_file_with_a_foreign_block_is_replaced(tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "key").write_bytes(KEY)
    path = tmp_path / "k.asc"
    path.write_bytes(openpgp.armor(KEY) + openpgp.armor(b"\x98\x29\x04" + b"\1" * 40))
    assert converge(key_file(path, f"{address}/key"))["changed"]
    assert path.read_bytes() == openpgp.armor(KEY)


# A key whose fingerprint was never published: known by the checksum of its file.
PUBLISHED = openpgp.armor(KEY).replace(b"BLOCK-----\n\n", b"BLOCK-----\nVersion: GnuPG v2\n\n", 1)
PLAIN = openpgp.armor(KEY)
SUM = hashlib.sha256(PLAIN).hexdigest()


def summed(path: Path, url: str, sha256: str = SUM) -> dict[str, Any]:
    key = {"url": url, "fingerprint": None, "sha256": sha256}
    return setting(path, None, kind="key", key=key)


def test_a_key_known_by_its_file_is_kept_as_checked(tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "key").write_bytes(PUBLISHED)
    path = tmp_path / "k.asc"
    first = converge(summed(path, f"{address}/key"))
    assert first["changed"]
    assert f"the key's fingerprint is {FINGERPRINT}" in first["detail"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SUM  # what the next plan looks at
    (folder / "key").unlink()
    assert not converge(summed(path, f"{address}/key"))["changed"]
    path.write_bytes(PUBLISHED)  # as another tool may have put it there
    assert converge(summed(path, f"{address}/key"))["changed"]
    assert path.read_bytes() == PLAIN


@pytest.mark.parametrize("foreign", ["other key", "two keys", "no key", "text around"])
def test_a_file_with_another_checksum_or_more_than_the_key_is_not_trusted(
    tmp_path: Path, web: tuple[Path, str], foreign: str
) -> None:
    folder, address = web
    other = b"\x98\x29\x04" + b"\1" * 40
    data = {
        "other key": openpgp.armor(other),
        "two keys": openpgp.armor(KEY + other),
        "no key": b"nothing\n",
        "text around": PLAIN + b"x\n",
    }[foreign]
    (folder / "key").write_bytes(data)
    own_sum = hashlib.sha256(data).hexdigest()
    for sha256 in (SUM, own_sum) if foreign != "other key" else (SUM,):
        with pytest.raises(OperationError) as raised:
            converge(summed(tmp_path / "k.asc", f"{address}/key", sha256))
        assert raised.value.code == "E_KEY"
    assert not (tmp_path / "k.asc").exists()


def test_another_files_key_is_told(tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "key").write_bytes(PUBLISHED)
    with pytest.raises(OperationError, match=rf"checksum {SUM}.* it holds {FINGERPRINT}"):
        converge(summed(tmp_path / "k.asc", f"{address}/key", "0" * 64))


def test_a_download_has_a_limit(tmp_path: Path, web: tuple[Path, str]) -> None:
    folder, address = web
    (folder / "key").write_bytes(openpgp.armor(KEY) + b"\n" * files.MAX_KEY)
    with pytest.raises(OperationError, match="larger than"):
        converge(key_file(tmp_path / "k.asc", f"{address}/key"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://x/y"])
def test_only_http_is_fetched(tmp_path: Path, url: str) -> None:
    with pytest.raises(OperationError, match="no http or https"):
        converge(key_file(tmp_path / "k.asc", url))


def test_messages_show_no_login() -> None:
    assert fetch.without_secrets("http://bot:secret@h:80/a?token=x") == "http://h:80/a"


# --- taken back -----------------------------------------------------------------------------------


def test_a_repositorys_files_can_be_taken_back(tmp_path: Path) -> None:
    there, gone, other = tmp_path / "there", tmp_path / "gone", tmp_path / "other"
    there.write_text("old\n")
    there.chmod(0o600)
    converge(
        setting(there, kind="pin"), setting(gone, kind="repository"), setting(other, kind="profile")
    )
    converge(setting(there, "newer\n", kind="pin"))  # what counts is how it was at first
    assert files.take_back() == [str(gone), str(there)]
    assert (there.read_text(), stat.S_IMODE(there.stat().st_mode)) == ("old\n", 0o600)
    assert (gone.exists(), other.read_text()) == (False, "new\n")
    assert files.take_back() == []


def test_files_of_a_repository_that_works_stay(tmp_path: Path) -> None:
    converge(setting(tmp_path / "a", kind="repository"))
    files.keep_replaced()
    assert files.take_back() == []
    assert (tmp_path / "a").exists()


def test_a_source_of_others_is_set_aside_and_can_come_back(tmp_path: Path) -> None:
    source = tmp_path / "cuda.list"
    source.write_text("deb x /\n")
    (tmp_path / "cuda.list.disabled").write_text("older\n")
    operation = {"paths": [str(source), str(tmp_path / "absent.list")]}
    assert files.set_aside(operation, LOOKING)["items"] == [str(source)]
    assert source.exists()
    assert files.set_aside(operation, CONTEXT)["items"] == [str(source)]
    assert (tmp_path / "cuda.list.2.disabled").read_text() == "deb x /\n"
    assert not source.exists()
    assert not files.set_aside(operation, CONTEXT)["changed"]
    assert files.take_back() == [str(source)]
    assert source.read_text() == "deb x /\n"


def test_what_an_earlier_run_replaced_is_not_taken_back(tmp_path: Path) -> None:
    converge(setting(tmp_path / "a", kind="repository"))
    book = os.path.join(folders.RUN, files.REPLACED)  # noqa: PTH118 - as the program names it
    os.utime(book, (1, 1))
    assert files.take_back() == []
    assert (tmp_path / "a").exists()


@pytest.mark.parametrize(("status", "tries"), [(503, 3), (429, 3), (408, 3), (404, 1), (403, 1)])
def test_a_fault_of_the_moment_is_tried_again_and_told_with_address_and_status(
    monkeypatch: pytest.MonkeyPatch, status: int, tries: int
) -> None:
    asked: list[str] = []

    class Refusing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(status)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/key"
        with pytest.raises(OperationError, match=f"{url} cannot be fetched: HTTP status {status}"):
            fetch.fetch(url, io.BytesIO(), 10, 60)
        server.shutdown()
    assert len(asked) == tries


def test_a_redirection_without_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Circling(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"/{len(self.path)}{self.path[-1]}")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    monkeypatch.setattr(fetch, "PAUSE_SECONDS", 0)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Circling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/key"
        with pytest.raises(OperationError, match=f"{url} cannot be fetched: HTTP status 302"):
            fetch.fetch(url, io.BytesIO(), 10, 60)
        server.shutdown()


def test_what_not_everybody_may_read_is_not_shown(tmp_path: Path) -> None:
    (change,) = converge(setting(tmp_path / "a", "secret\n", mode="0600"))["diff"]
    assert "secret" not in change["after"]
    (change,) = converge(setting(tmp_path / "a", "newer\n", mode="0600"))["diff"]
    assert "secret" not in change["before"] + change["after"]
