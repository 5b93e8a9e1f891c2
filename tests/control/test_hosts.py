from __future__ import annotations

import socket

import pytest

from keepalive.control.hosts import is_ours, own_names

NAMES = own_names("Probes.example.com:9786")


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:9786",
        "keepalive",
        "127.0.0.1",
        "127.0.0.1:9786",
        "10.1.2.3:9786",
        "[::1]",
        "[2001:db8::1]:9786",
        "probes.example.com:9786",
        socket.gethostname(),
    ],
)
def test_a_host_that_no_other_page_can_have_is_answered(host: str) -> None:
    assert is_ours([host], NAMES)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:9786",
        "evil",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "keepalive.evil.example",
        "probes.example.com.evil.example",
        "localhost.",
        "localhost@evil.example",
        "evil.example:80@localhost",
        "0x7f.1",
        "[::1",
        "[evil.example]",
        "",
        ":9786",
    ],
)
def test_any_other_host_is_refused(host: str) -> None:
    assert not is_ours([host], NAMES)


def test_a_probe_that_sends_no_host_is_answered() -> None:
    assert is_ours([], NAMES)


def test_two_hosts_are_none() -> None:
    assert not is_ours(["localhost", "localhost"], NAMES)


def test_an_empty_listen_names_nobody() -> None:
    assert "" not in own_names("")
