"""A live tail: what asks for one, and which WebSockets are trusted."""

from __future__ import annotations

import json
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yarl import URL

from keepalive.cloudflare.live_tail import LONGEST_URL, Doors, prepared, request
from keepalive.core.outcome import Accepted, Denied, Transient
from keepalive.core.target import Scope, Target
from keepalive.core.telemetry import Condition, Prepared, Wanted

ACCOUNT = "0123456789abcdef0123456789abcdef"
CLOUDFLARE = URL("https://api.cloudflare.com")
LOOPBACK = URL("http://127.0.0.1:8787")
ELSEWHERE = URL("https://api.example.com:8443")
KEY = "canary-5e55"
PATH = f"/connect?accountId={ACCOUNT}&userId=u%2F1&key={KEY}%2B%7e&serviceId=api"
SEEN = f"live-tail.observability.cloudflare.com{PATH}"


def asked(url: object, api: URL = CLOUDFLARE, *further: str) -> Prepared | Denied | Transient:
    body = json.dumps({"success": True, "result": {"wsUrl": url}}).encode()
    answer = prepared(Accepted(cf_ray="8f1c-FRA"), body, Doors(api, further))
    assert KEY not in repr(answer)
    return answer


def trusted(url: str, api: URL = CLOUDFLARE, *further: str) -> str:
    answer = asked(url, api, *further)
    assert isinstance(answer, Prepared)
    return answer.url


def refused(url: str, api: URL = CLOUDFLARE, *further: str) -> Denied:
    answer = asked(url, api, *further)
    assert isinstance(answer, Denied)
    assert (answer.fault.cause, answer.fault.cf_ray, answer.scope) == ("ws_url", "8f1c-FRA", Scope.TARGET)
    assert answer.fault.detail.isprintable()
    assert len(answer.fault.detail) <= 200
    assert answer.fault.hint
    return answer


def test_the_body_names_script_and_filters_where_there_are_any() -> None:
    wanted = Wanted((Condition("$metadata.level", "eq", value="error"),), any_of=True)
    one, whole = Target("prod", ACCOUNT, 'a"pi'), Target("prod", ACCOUNT)

    assert request(whole, Wanted()) == b"{}"
    assert request(one, Wanted()) == b'{"scriptId":"a\\"pi"}'
    assert json.loads(request(one, wanted)) == {
        "scriptId": 'a"pi',
        "filterCombination": "or",
        "filters": [{"key": "$metadata.level", "operation": "eq", "type": "string", "value": "error"}],
    }


def test_the_url_that_was_seen_is_taken_as_it_is() -> None:
    assert trusted(f"wss://{SEEN}") == f"wss://{SEEN}"


@pytest.mark.parametrize(
    ("given", "api", "taken"),
    [
        (f"https://{SEEN}", CLOUDFLARE, f"wss://{SEEN}"),
        ("HTTPS://API.Cloudflare.com/X?K=Y", CLOUDFLARE, "wss://api.cloudflare.com/X?K=Y"),
        ("wss://api.cloudflare.com:443", CLOUDFLARE, "wss://api.cloudflare.com/"),
        ("wss://api.cloudflare.com?key=1", CLOUDFLARE, "wss://api.cloudflare.com/?key=1"),
        ("wss://cloudflare.com/", CLOUDFLARE, "wss://cloudflare.com/"),
        ("wss://api.example.com/", ELSEWHERE, "wss://api.example.com/"),
        ("https://api.example.com:8443/", ELSEWHERE, "wss://api.example.com:8443/"),
        ("ws://127.0.0.1:8787/c", LOOPBACK, "ws://127.0.0.1:8787/c"),
        ("http://127.0.0.1:08787/c", LOOPBACK, "ws://127.0.0.1:8787/c"),
        ("ws://[::1]:8787/c", URL("http://[::1]:8787"), "ws://[::1]:8787/c"),
        ("ws://localhost:8787/c", URL("http://localhost:8787"), "ws://localhost:8787/c"),
    ],
)
def test_hosts_of_the_api_are_trusted_and_the_url_is_a_websockets(given: str, api: URL, taken: str) -> None:
    assert trusted(given, api) == taken


@pytest.mark.parametrize(
    ("given", "api"),
    [
        ("wss://evil.example/", CLOUDFLARE),
        ("wss://cloudflare.com.evil.example/", CLOUDFLARE),
        ("wss://evilcloudflare.com/", CLOUDFLARE),
        ("wss://api.cloudflare.com:8443/", CLOUDFLARE),
        ("wss://127.0.0.1/", CLOUDFLARE),
        ("wss://169.254.169.254/latest/meta-data", CLOUDFLARE),
        ("wss://live-tail.example.com/", ELSEWHERE),
        ("wss://example.com/", ELSEWHERE),
        ("wss://api.cloudflare.com/", ELSEWHERE),
        ("wss://api.cloudflare.com/", LOOPBACK),
        ("wss://live.cloudflare.com/", URL("http://api.cloudflare.com")),
        ("wss://live.cloudflare.com/", URL("https://cloudflare.com.example")),
        ("ws://127.0.0.1:8788/", LOOPBACK),
        ("ws://127.0.0.2:8787/", LOOPBACK),
        ("wss://127.0.0.1/", LOOPBACK),
        (f"wss://{'x' * 150}.example/", CLOUDFLARE),
    ],
)
def test_a_strange_host_or_port_is_refused_and_the_hint_says_how_to_allow_it(given: str, api: URL) -> None:
    fault = refused(given, api).fault
    place = given.partition("//")[2].partition("/")[0]

    assert place in fault.detail
    assert f'live_tail_hosts = ["{place}"]' in fault.hint
    assert trusted(given, api, place)


@pytest.mark.parametrize(
    ("given", "api", "further"),
    [
        ("ws://live-tail.observability.cloudflare.com/", CLOUDFLARE, ()),
        ("http://api.cloudflare.com/", CLOUDFLARE, ("api.cloudflare.com", "api.cloudflare.com:80")),
        ("ws://127.0.0.1:8787/", CLOUDFLARE, ("127.0.0.1:8787",)),
        ("ws://tail.example.com:8787/", LOOPBACK, ("tail.example.com:8787",)),
        ("ws://127.0.0.1.nip.example:8787/", LOOPBACK, ("127.0.0.1.nip.example:8787",)),
    ],
)
def test_without_tls_no_list_opens_anything_but_loopback(
    given: str, api: URL, further: tuple[str, ...]
) -> None:
    assert "without TLS" in refused(given, api, *further).fault.detail


@pytest.mark.parametrize(
    ("further", "given"),
    [
        ("tail.example.net", "wss://tail.example.net/"),
        ("tail.example.net:443", "wss://tail.example.net/"),
        ("tail.example.net", "https://TAIL.example.net:443/"),
        ("tail.example.net:8443", "wss://tail.example.net:8443/"),
    ],
)
def test_an_allowed_host_is_allowed_at_its_port(further: str, given: str) -> None:
    assert trusted(given, CLOUDFLARE, further)


@pytest.mark.parametrize(
    ("further", "given"),
    [
        ("tail.example.net", "wss://tail.example.net:8443/"),
        ("tail.example.net:8443", "wss://tail.example.net/"),
        ("tail.example.net", "wss://a.tail.example.net/"),
        ("tail.example.net", "wss://example.net/"),
        ("tail.example.net:65536", "wss://tail.example.net:65536/"),
        ("tail.example.net:0", "wss://tail.example.net:0/"),
    ],
)
def test_an_allowed_host_allows_neither_a_neighbour_nor_a_port_that_is_out_of_range(
    further: str, given: str
) -> None:
    refused(given, CLOUDFLARE, further)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "/connect",
        "//api.cloudflare.com/",
        "api.cloudflare.com",
        "wss:api.cloudflare.com",
        "wss:///connect",
        f"wss://api.cloudflare.com/?key={KEY}#part",
        f"wss://user@api.cloudflare.com/{KEY}",
        f"wss://user:{KEY}@api.cloudflare.com/",
        "wss://@api.cloudflare.com/",
        "wss://evil.example\\@api.cloudflare.com/",
        "wss://evil.example\\.cloudflare.com/",
        "wss://evil.example#.cloudflare.com/",
        "wss://evil.example?.cloudflare.com/",
        "wss://evil.example%2f.cloudflare.com/",
        "wss://evil.example%00.cloudflare.com/",
        "wss://api.cloudflare.com./",
        "wss://.cloudflare.com/",
        "wss://ａpi.cloudflare.com/",  # noqa: RUF001 - full-width, which some parsers fold
        "wss://api。cloudflare.com/",
        "wss://[api.cloudflare.com]/",
        "wss://[::1%25eth0]/",
        "wss://api.cloudflare.com:/",
        "wss://api.cloudflare.com:+443/",
        "wss://api.cloudflare.com:0/",
        "wss://api.cloudflare.com:65536/",
        "wss://api.cloudflare.com:٤٤٣/",
        "wss://api.cloudflare.com/a b",
        "wss://api.cloudflare.com/a\tb",
        "wss://api.cloudflare.com/\r\nHost: evil.example",
        "wss://api.cloudflare.com/\x00",
        "wss://api.cloudflare.com/\x7f",
        "wss://api.cloudflare.com/ä",
        " wss://api.cloudflare.com/",
        "wss://api.cloudflare.com/\n",
        "javascript://api.cloudflare.com/",
        "file://api.cloudflare.com/etc/passwd",
        "unix:///run/keepalive.sock",
        "\x1b[31mwss://api.cloudflare.com/",
        f"wss://api.cloudflare.com/{'x' * LONGEST_URL}",
        f"wss://{'x' * 300}.cloudflare.com/",
    ],
)
def test_what_is_no_plain_url_is_refused(given: str) -> None:
    refused(given)


def test_only_the_host_of_a_refused_url_is_said() -> None:
    fault = refused(f"wss://evil.example/{KEY}?key={KEY}").fault

    assert fault.detail == (
        "the wsUrl is refused: evil.example is neither the API's host nor one of cloudflare.live_tail_hosts"
    )


@pytest.mark.parametrize("url", [None, 7, ["wss://api.cloudflare.com/"], {}, True])
def test_a_url_that_is_no_text_is_a_passing_fault(url: object) -> None:
    answer = asked(url)

    assert isinstance(answer, Transient)
    assert (answer.fault.cause, answer.fault.cf_ray) == ("not_accepted", "8f1c-FRA")


@pytest.mark.parametrize(
    "body",
    [b'{"success":true}', b'{"success":true,"result":null}', b'{"result":[]}', b'{"result":{"wsurl":""}}'],
)
def test_a_reply_without_a_url_is_a_passing_fault(body: bytes) -> None:
    answer = prepared(Accepted(), body, Doors(CLOUDFLARE))

    assert isinstance(answer, Transient)
    assert answer.fault.detail == "a reply without a wsUrl"


HOSTS = (
    "api.cloudflare.com",
    "cloudflare.com",
    "evil.example",
    "127.0.0.1",
    "[::1]",
    "localhost",
    "tail.example.net",
)
PIECES = st.sampled_from(
    [
        *("wss:", "ws:", "https:", "http:", "//", "/", "\\", "@", ":", "?", "#", "%", ".", "[", "]"),
        *(
            ":8787",
            ":443",
            ":80",
            "user",
            "key=1",
            " ",
            "\t",
            "\x00",
            "ä",
            "。",
            "0x7f.1",
            "2130706433",
            *HOSTS,
        ),
    ]
)
URLS = st.one_of(
    st.text(),
    st.lists(PIECES, max_size=10).map("".join),
    st.builds(
        "{}//{}{}{}".format, st.sampled_from(["wss:", "ws:", "https:", "http:"]), PIECES, PIECES, st.text()
    ),
)


@given(URLS, st.sampled_from([CLOUDFLARE, LOOPBACK, ELSEWHERE]))
@example("ws://127.0.0.1:8787", LOOPBACK)
@example("https://api.cloudflare.com", CLOUDFLARE)
def test_whatever_is_taken_leads_to_a_trusted_place_for_every_parser(url: str, api: URL) -> None:
    answer = asked(url, api, "tail.example.net")
    if not isinstance(answer, Prepared):
        assert isinstance(answer, Denied)
        return
    yarl, split = URL(answer.url, encoded=True), urlsplit(answer.url)
    assert URL(answer.url).host == yarl.host == split.hostname
    assert yarl.port == (split.port or {"wss": 443, "ws": 80}[split.scheme])
    assert (yarl.user, split.username, split.password, split.fragment) == (None, None, None, "")
    assert answer.url.isascii()
    assert answer.url.isprintable()
    assert " " not in answer.url
    host = yarl.host or ""
    if yarl.scheme == "ws":
        assert (api, host, yarl.port) == (LOOPBACK, "127.0.0.1", 8787)
    elif api is CLOUDFLARE and yarl.port == 443:
        assert host in ("cloudflare.com", "tail.example.net") or host.endswith(".cloudflare.com")
    else:
        assert (yarl.scheme, host) in (("wss", api.host), ("wss", "tail.example.net"))
        assert yarl.port in (443, api.port)
