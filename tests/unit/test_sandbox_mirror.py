"""The Debian mirror is found in this machine's own apt configuration."""

import pytest

from sandbox import images
from sandbox.mirror import Mirror, Source, choose, parse_deb822, parse_list, transport_options

DEB822 = """\
# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
 contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: bookworm
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: bookworm
Components: main
"""


def test_deb822_gives_enabled_binary_sources_one_per_suite() -> None:
    assert list(parse_deb822(DEB822)) == [
        Source("http://mirror.example/debian", "bookworm", ("main", "contrib")),
        Source("http://mirror.example/debian", "bookworm-updates", ("main", "contrib")),
        Source("http://mirror.example/debian-security", "bookworm-security", ("main",)),
    ]


def test_one_line_sources_with_options_and_comments() -> None:
    text = """\
    # deb http://commented.example/debian bookworm main
    deb [arch=amd64 signed-by=/k.gpg] https://a.example/debian bookworm main contrib # why
    deb-src https://a.example/debian bookworm main
    deb http://flat.example/ ./
    """
    assert list(parse_list(text)) == [
        Source("https://a.example/debian", "bookworm", ("main", "contrib")),
        Source("http://flat.example/", "./", ()),
    ]


def test_the_archive_and_its_security_archive_are_chosen() -> None:
    assert choose(parse_deb822(DEB822), "bookworm") == Mirror(
        "http://mirror.example/debian", "http://mirror.example/debian-security"
    )


def test_a_vendor_with_the_same_suite_name_is_not_taken_for_debian() -> None:
    sources = [
        Source("https://vendor.example/linux", "bookworm", ("main",)),
        Source("https://vendor.example/other", "bookworm", ("stable",)),
        Source("http://near.example/debian/", "bookworm", ("main",)),
    ]
    assert choose(sources, "bookworm") == Mirror("http://near.example/debian/")


def test_a_source_that_no_host_can_reach_is_not_chosen() -> None:
    sources = [
        Source("file:/srv/debian", "bookworm", ("main",)),
        Source("mirror+file:/etc/apt/mirrors.txt", "bookworm", ("main",)),
        Source("http://near.example/debian", "trixie", ("main",)),
    ]
    assert choose(sources, "bookworm") is None


def test_lines_for_another_release_of_the_same_mirror() -> None:
    assert Mirror("http://m/debian", "http://m/debian-security").sources("trixie") == (
        "deb http://m/debian trixie main contrib non-free non-free-firmware",
        "deb http://m/debian trixie-updates main contrib non-free non-free-firmware",
        "deb http://m/debian-security trixie-security main contrib non-free non-free-firmware",
    )


def test_only_settings_that_reach_the_mirror_are_carried_into_a_host() -> None:
    dump = """\
Acquire::http::Proxy "http://proxy.example:3128";
Acquire::Check-Valid-Until "false";
Acquire::https::Proxy "";
Acquire::Languages:: "none";
APT::Install-Recommends "false";
"""
    assert transport_options(dump) == (
        'Acquire::http::Proxy "http://proxy.example:3128"',
        'Acquire::Check-Valid-Until "false"',
    )


def test_a_recipe_names_the_mirror_and_another_mirror_makes_another_image() -> None:
    mirror = Mirror("http://m/debian")
    one = images.recipe("bookworm", mirror, ())
    assert one.sources == mirror.sources("bookworm")
    assert one == images.recipe("bookworm", mirror, ())
    others = [
        images.recipe("bookworm", Mirror("http://n/debian"), ()),
        images.recipe("trixie", mirror, ()),
        images.recipe("bookworm", mirror, ("Acquire::Check-Date false",)),
        images.recipe("bookworm", mirror, (), ("systemd",)),
        images.recipe("bookworm", None, ()),
    ]
    assert len({one.digest, *(other.digest for other in others)}) == 6


@pytest.mark.parametrize(
    ("name", "system"),
    [("debian-12", "debian-12"), ("trixie", "debian-13"), ("localhost/x:snapshot", None)],
)
def test_an_image_name_tells_the_operating_system(name: str, system: str | None) -> None:
    assert images.os_of(name) == system


def test_hosts_are_bare() -> None:
    assert not {"gcc", "make", "dkms", "build-essential"} & set(images.PACKAGES)
