from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from keepalive.cli.board import WORST_FIRST, Board, Seen, Size, board, plain, title
from keepalive.cli.screen import drawn, lost
from keepalive.control.answers import GroupPage, GroupSaid, Overview, TargetPage, TargetSaid
from keepalive.core.eligibility import Eligibility
from keepalive.errors import DaemonUnreachableError
from tests.support.answering import STATES, Json, overview, rate_group, target

SCREEN = Size(100, 24)
NOW = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
ACCOUNT_ID = "0123456789abcdef0123456789abcdef"
OTHER_ACCOUNT_ID = "fedcba9876543210fedcba9876543210"
DENIED = {
    "cause": "forbidden",
    "detail": "no permission.",
    "http_status": 403,
    "error_code": 10000,
    "cf_ray": None,
    "hint": "give the token Workers Observability > Edit",
}


def whole(**changes: Any) -> Overview:
    return Overview.model_validate_json(json.dumps(overview(**changes)))


def counts(**states: int) -> Json:
    return {"total": sum(states.values()), **dict.fromkeys(STATES, 0), **states}


def targets(*items: Json) -> tuple[TargetSaid, ...]:
    page = {"schema": 1, "targets": items, "next": None}
    return TargetPage.model_validate_json(json.dumps(page)).targets


def groups(*items: Json) -> tuple[GroupSaid, ...]:
    page = {"schema": 1, "rate_groups": items, "next": None}
    return GroupPage.model_validate_json(json.dumps(page)).rate_groups


def shown(*items: Json, size: Size | None = None, group: Json | None = None, **changes: Any) -> Board:
    states = counts(**{state: sum(one["state"] == state for one in items) for state in STATES})
    of_groups = groups(group) if group else ()
    return board(
        Seen(whole(targets=states) if not changes else whole(**changes), targets(*items), of_groups),
        NOW,
        size,
    )


class TestTitle:
    def test_it_counts_who_is_eligible_first_and_leaves_out_what_is_none(self) -> None:
        said = title(whole(targets=counts(eligible=58, at_risk=2, lapsed=1)))
        assert said == "58 eligible, 2 at risk, 1 lapsed · budget 71 % used · up 3h12m"

    def test_a_daemon_that_just_began_holds_nobody(self) -> None:
        assert title(whole(uptime_seconds=0.2)) == "no targets · budget 71 % used · up 0s"
        assert title(whole(uptime_seconds=61.9)).endswith("up 1m1s")

    def test_a_drain_is_told(self) -> None:
        assert title(whole(draining=True)).endswith(" · draining")


def test_a_pipe_gets_aligned_lines() -> None:
    fault = {**DENIED, "hint": "give the token another permission"}
    lines = list(
        plain(shown(target("web", "denied", fault=fault, failures=3, eligible_for_seconds=None), target()))
    )
    assert lines == [
        "1 eligible, 1 denied · budget 71 % used · up 3h12m",
        "window 45s, assumed: Cloudflare does not say; `keepalive calibrate` measures it",
        f"account {ACCOUNT_ID}",
        "",
        "state     target  credential  eligible for  next beat  last fault",
        "denied    web     prod        -             8.5s       forbidden, 3 in a row",
        "eligible  api     prod        38s           8.5s",
        "",
        "1 target: forbidden (HTTP 403, code 10000): no permission; give the token another permission",
    ]


def test_a_window_that_was_measured_is_not_called_assumed() -> None:
    assert shown(window_calibrated=True).above == ("window 45s, measured",)


def test_a_daemon_that_is_not_well_says_why() -> None:
    assert "not well: late by 7 s" in shown(healthy=False, reason="late by 7 s").above


def test_targets_of_several_accounts_are_named_in_full() -> None:
    rows = shown(target(), target("api", account_id=OTHER_ACCOUNT_ID)).rows
    assert [row.cells[1] for row in rows] == [f"{ACCOUNT_ID}/api", f"{OTHER_ACCOUNT_ID}/api"]


def test_the_whole_account_is_called_so() -> None:
    (row,) = shown(target(None)).rows
    assert row.cells[1] == "(the whole account)"


def test_one_reason_of_many_targets_is_told_once() -> None:
    many = [target(f"s{number}", "denied", fault=DENIED) for number in range(12)]
    (said,) = shown(*many).below
    assert said.startswith("12 targets: forbidden (HTTP 403, code 10000): no permission; give ")


def test_of_more_failing_targets_than_were_looked_at_the_number_is_not_known() -> None:
    seen = Seen(whole(targets=counts(denied=3)), targets(target("a", "denied", fault=DENIED)), ())
    assert board(seen, NOW, SCREEN).below[-1].startswith("at least 1 target: forbidden (")


def test_names_from_elsewhere_do_not_drive_the_terminal() -> None:
    fault = {**DENIED, "detail": "\x1b]0;owned\x07", "hint": "\x9b2J"}
    text = "\n".join(plain(shown(target("a\x1b[31m", "denied", fault=fault, credential="\r"))))
    assert "a\\x1b[31m" in text
    assert text.replace("\n", "").isprintable()


class TestRest:
    def test_what_does_not_fit_is_counted(self) -> None:
        many = [target(f"s{number}") for number in range(30)]
        cut = board(Seen(whole(targets=counts(eligible=970)), targets(*many), ()), NOW, SCREEN)
        assert len(cut.rows) == 17
        assert cut.below == ("… and 953 more, all eligible; --all lists them",)
        assert len(list(plain(cut))) <= 24

    def test_it_says_of_which_states_they_are(self) -> None:
        cut = board(
            Seen(whole(targets=counts(eligible=9, lapsed=40)), targets(target("a", "lapsed")), ()),
            NOW,
            SCREEN,
        )
        assert cut.below[0] == "… and 48 more: 39 lapsed, 9 eligible; --all lists them"

    def test_the_last_one_is_no_crowd(self) -> None:
        cut = board(Seen(whole(targets=counts(eligible=1)), (), ()), NOW, SCREEN)
        assert cut.below[0] == "… and 1 more, eligible; --all lists them"

    def test_reasons_without_end_leave_room_for_targets(self) -> None:
        many = [
            target(f"s{number}", "denied", fault={**DENIED, "detail": str(number)}) for number in range(30)
        ]
        cut = shown(*many, size=SCREEN)
        assert len(cut.rows) == 11
        assert "… and 25 more reasons; --all lists them" in cut.below
        assert len(list(plain(cut))) <= 24
        assert len(shown(*many).below) == 30


class TestGroups:
    def test_what_is_well_is_not_spoken_of(self) -> None:
        past = rate_group(silent_until="2026-01-31T12:00:00.000Z", throttles=1)
        assert shown(group=past).below == ()
        assert shown(group=rate_group(silent_until="soon")).below == ()

    def test_a_silence_says_how_long_it_lasts_and_how_often_it_came(self) -> None:
        silent = rate_group(silent_until="2026-01-31T12:01:30.400Z", throttles=2)
        (said,) = shown(group=silent).below
        assert said == "rate group default: silent for 1m more after a 429, 2 in a row"

    def test_refused_targets_come_with_what_to_do(self) -> None:
        (said,) = shown(group=rate_group(refused=3)).below
        hint = "take some away, or use another user's credentials"
        assert said == f"rate group default: its quota cannot hold 3 of its targets; {hint}"

    def test_a_breaker_says_what_is_only_probed_since_when_and_why(self) -> None:
        common = {"cause": "http_503", "detail": None, "hint": "wait", "since": "2026-01-31T12:00:18.000Z"}
        everything = {"credential": None, "account_id": None, "script_id": None}
        one = {**everything, "credential": "prod"}
        broken = rate_group(
            breakers=[
                {"scope": "origin", "key": everything, **common},
                {"scope": "credential", "key": one, **common, "since": "?"},
                {"scope": "target", "key": {**one, "account_id": ACCOUNT_ID, "script_id": "api"}, **common},
            ]
        )
        assert shown(group=broken).below == (
            "rate group default: the origin is only probed, for 12s now; http_503; wait",
            "rate group default: credential prod is only probed; http_503; wait",
        )

    def test_a_screen_gets_the_first_of_many(self) -> None:
        seen = Seen(whole(), (), groups(*[rate_group(refused=1) for _ in range(9)]))
        assert board(seen, NOW, SCREEN).below[-1] == "… and 4 more about rate groups; --all lists them"
        assert len(board(seen, NOW).below) == 9


class TestScreen:
    def render(self, board: Board, width: int = 80) -> str:
        console = Console(width=width, height=24, force_terminal=True, color_system="standard")
        with console.capture() as capture:
            console.print(drawn(board))
        return capture.get()

    def test_states_have_their_colours(self) -> None:
        text = self.render(shown(target("web", "lapsed", fault=DENIED), target()))
        assert "\x1b[1;31mlapsed" in text
        assert "\x1b[32meligible" in text
        assert "1 target: forbidden" in text

    def test_what_people_wrote_is_no_markup(self) -> None:
        assert "[red]x" in self.render(shown(target("[red]x")))

    def test_a_narrow_terminal_loses_nothing_of_a_name_and_no_line_of_the_screen(self) -> None:
        names = [f"{'x' * 60}{number}" for number in range(20)]
        others = [target(name, account_id=OTHER_ACCOUNT_ID) for name in names]
        text = self.render(shown(target(), *others, size=Size(80, 24)))
        lines = re.sub("\x1b\\[[0-9;]*m", "", text).splitlines()
        assert max(map(len, lines)) == 80
        assert len(lines) in range(20, 25)
        shown_names = "".join(line.split()[0] for line in lines if line.startswith(" "))
        assert f"{'x' * 60}0" in shown_names

    @pytest.mark.parametrize("width", [20, 30, 40, 50, 60, 70])
    def test_a_narrow_terminal_does_without_columns_before_it_folds_what_is_in_them(self, width: int) -> None:
        board = shown(target("web", "lapsed", fault=DENIED), target("a-payment"), size=Size(width, 40))
        text = re.sub("\x1b\\[[0-9;]*m", "", self.render(board, width))
        (headings,) = (line.split() for line in text.splitlines() if line.startswith("state"))
        rows = [line.split() for line in text.splitlines() if line.startswith(("lapsed ", "eligible "))]
        assert headings[:2] == ["state", "target"]
        assert [row[:2] for row in rows] == [["lapsed", "web"], ["eligible", "a-payment"]]
        assert ("credential" in headings) == (width >= 60)
        assert all(len(line) <= width for line in text.splitlines())

    def test_a_daemon_that_is_gone_is_missed_since_so_long(self) -> None:
        console = Console(width=80)
        with console.capture() as capture:
            console.print(lost(DaemonUnreachableError("it is gone", "start it"), 3.4))
        assert capture.get() == "no daemon since 3 s\nit is gone; start it\n"


def test_the_order_is_by_need() -> None:
    assert set(WORST_FIRST) == set(Eligibility)
