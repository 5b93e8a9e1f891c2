from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.eligibility import Eligibility
from keepalive.core.events import EligibilityChanged, Event
from keepalive.core.hold import Hold
from keepalive.core.outcome import Fault
from keepalive.core.roster import Roster
from keepalive.core.tally import Tally
from keepalive.core.target import Target
from tests.core.stage import fleet

WINDOW = 45.0
Change = tuple[Eligibility | None, Eligibility | None, float]


class Book:
    """A roster with what it told, and the refusals that a test believes in."""

    def __init__(self, window: float = WINDOW) -> None:
        self.changes: list[EligibilityChanged] = []
        self.denied: set[Target] = set()
        self.tally = Tally()
        self.roster = Roster(self.tell, self.denied.__contains__)
        self.roster.rewatch(window, 0.0)

    def tell(self, event: Event) -> None:
        assert isinstance(event, EligibilityChanged)
        self.changes.append(event)
        self.tally(event)

    def story(self, target: Target) -> list[Change]:
        return [(told.from_state, told.to_state, told.at) for told in self.changes if told.target == target]

    def held(self, *, renewed_at: float | None = None) -> Hold:
        hold = self.roster.admit(fleet(1)[0], 0, 0, 0.0)
        if renewed_at is not None:
            self.roster.renew(hold, renewed_at, renewed_at)
        return hold


api = fleet(1)[0]


def test_a_lease_that_nobody_renews_runs_down_at_the_moments_it_was_due_to() -> None:
    book = Book()
    book.held(renewed_at=10.0)

    book.roster.run_down(500.0)

    assert book.story(api) == [
        (None, Eligibility.PENDING, 0.0),
        (Eligibility.PENDING, Eligibility.ELIGIBLE, 10.0),
        (Eligibility.ELIGIBLE, Eligibility.AT_RISK, 40.0),
        (Eligibility.AT_RISK, Eligibility.LAPSED, 55.0),
    ]
    assert book.roster.next_at() == inf


@given(st.lists(st.floats(0.1, 60), max_size=20), st.floats(0, 5))
def test_whoever_looks_at_next_at_is_told_each_change_on_time(gaps: list[float], latency: float) -> None:
    book = Book()
    hold, now = book.held(), 0.0
    for gap in gaps:
        renewal = now + gap
        while (moment := book.roster.next_at()) <= renewal + latency:
            before = len(book.changes)
            book.roster.run_down(moment)
            assert all(told.at == moment for told in book.changes[before:])
        now = renewal + latency
        book.roster.renew(hold, renewal, now)

    dates = [told.at for told in book.changes]
    assert dates == sorted(dates)


@given(st.lists(st.tuples(st.floats(0.1, 100), st.booleans()), max_size=20))
def test_changes_told_late_are_dated_as_if_they_had_been_told_on_time(
    script: list[tuple[float, bool]],
) -> None:
    lazy, eager = Book(), Book()
    holds, now = (lazy.held(), eager.held()), 0.0
    for pause, renewed in script:
        now += pause
        while (moment := eager.roster.next_at()) <= now:
            eager.roster.run_down(moment)
        if renewed:
            lazy.roster.renew(holds[0], now, now)
            eager.roster.renew(holds[1], now, now)
    lazy.roster.run_down(now)

    assert lazy.story(api) == eager.story(api)


def test_a_change_for_the_worse_names_the_fault_that_led_to_it() -> None:
    book = Book()
    hold = book.held(renewed_at=0.0)
    hold.fault = Fault("http_503")

    book.roster.run_down(30.0)

    assert book.changes[-1].cause == "http_503"
    assert book.changes[-1].fault == Fault("http_503")
    assert book.changes[-1].eligible_until == 45.0


def test_a_renewal_forgets_faults_and_failures() -> None:
    book = Book()
    hold = book.held()
    hold.fault, hold.failures, hold.tries = Fault("reset"), 3, 4

    book.roster.renew(hold, 5.0, 6.0)

    renewed = Hold(hold.target, hold.rank, hold.since, hold.planned_at, 5.0)
    assert (hold.fault, hold.failures) == (renewed.fault, renewed.failures)
    assert (hold.tries, hold.renewed_at) == (renewed.tries, renewed.renewed_at)
    assert book.changes[-1].eligible_until == 50.0


def test_a_believed_refusal_shows_once_and_ends_when_it_is_healed() -> None:
    book = Book()
    hold = book.held(renewed_at=0.0)
    book.denied.add(api)

    assert book.roster.judge(hold, 3.0, "authentication")
    assert not book.roster.judge(hold, 4.0, "authentication")
    book.roster.run_down(35.0)
    book.denied.clear()
    assert book.roster.judge(hold, 40.0, "readmitted")
    book.roster.run_down(60.0)

    assert book.story(api)[2:] == [
        (Eligibility.ELIGIBLE, Eligibility.DENIED, 3.0),
        (Eligibility.DENIED, Eligibility.AT_RISK, 40.0),
        (Eligibility.AT_RISK, Eligibility.LAPSED, 45.0),
    ]


def test_a_lease_that_ended_before_its_refusal_is_told_first() -> None:
    book = Book()
    hold = book.held(renewed_at=0.0)
    book.denied.add(api)

    book.roster.judge(hold, 50.0, "authentication")

    assert [after for _, after, _ in book.story(api)[2:]] == [
        Eligibility.AT_RISK,
        Eligibility.LAPSED,
        Eligibility.DENIED,
    ]


def test_a_target_without_room_is_refused_once_and_comes_back_as_pending() -> None:
    book = Book()

    assert book.roster.refuse(api, 1.0)
    assert not book.roster.refuse(api, 2.0)
    hold = book.roster.admit(api, 0, 0, 3.0)

    assert book.roster.get(api) is hold
    assert book.story(api) == [
        (None, Eligibility.REFUSED, 1.0),
        (Eligibility.REFUSED, Eligibility.PENDING, 3.0),
    ]


def test_a_held_target_that_loses_its_room_is_held_no_more() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    assert book.roster.refuse(api, 1.0)

    assert book.roster.get(api) is None
    assert len(book.roster) == 0
    assert book.story(api)[-1] == (Eligibility.ELIGIBLE, Eligibility.REFUSED, 1.0)


def test_whoever_leaves_the_plan_is_told_and_forgotten() -> None:
    book = Book()
    held, refused = fleet(2)
    book.roster.admit(held, 0, 0, 0.0)
    book.roster.refuse(refused, 0.0)

    book.roster.forget(set(), 5.0)
    book.roster.run_down(500.0)

    assert book.story(held)[1:] == [(Eligibility.PENDING, None, 5.0)]
    assert book.story(refused)[1:] == [(Eligibility.REFUSED, None, 5.0)]
    assert book.tally.targets == 0


def test_a_forgotten_lease_runs_down_unheard() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    book.roster.forget(set(), 5.0)
    book.roster.run_down(500.0)

    assert book.story(api)[-1] == (Eligibility.ELIGIBLE, None, 5.0)


def test_whoever_stays_in_the_plan_hears_nothing_of_it() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    book.roster.forget({api}, 5.0)

    assert len(book.changes) == 2


def test_a_lapse_that_was_not_told_yet_is_told_before_the_target_leaves() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    book.roster.forget(set(), 60.0)

    assert book.story(api)[2:] == [
        (Eligibility.ELIGIBLE, Eligibility.AT_RISK, 30.0),
        (Eligibility.AT_RISK, Eligibility.LAPSED, 45.0),
        (Eligibility.LAPSED, None, 60.0),
    ]


def test_a_lapse_that_was_not_told_yet_is_told_before_the_target_is_refused() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    book.roster.refuse(api, 60.0)

    assert book.story(api)[-2:] == [
        (Eligibility.AT_RISK, Eligibility.LAPSED, 45.0),
        (Eligibility.LAPSED, Eligibility.REFUSED, 60.0),
    ]


def test_a_longer_window_revives_a_lease() -> None:
    book = Book()
    book.held(renewed_at=0.0)
    book.roster.run_down(50.0)

    book.roster.rewatch(90.0, 50.0)
    book.roster.run_down(150.0)

    assert book.story(api)[4:] == [
        (Eligibility.LAPSED, Eligibility.ELIGIBLE, 50.0),
        (Eligibility.ELIGIBLE, Eligibility.AT_RISK, 60.0),
        (Eligibility.AT_RISK, Eligibility.LAPSED, 90.0),
    ]


def test_a_shorter_window_rewrites_no_past() -> None:
    book = Book()
    hold = book.held()
    book.roster.renew(hold, 10.0, 15.0)

    book.roster.rewatch(3.0, 16.0)

    dates = [told.at for told in book.changes]
    assert dates == sorted(dates)
    assert hold.state is Eligibility.LAPSED


def test_a_lapse_that_was_not_told_yet_stays_one_under_a_longer_window() -> None:
    book = Book()
    book.held(renewed_at=0.0)

    book.roster.rewatch(100.0, 60.0)

    assert book.story(api)[2:] == [
        (Eligibility.ELIGIBLE, Eligibility.AT_RISK, 30.0),
        (Eligibility.AT_RISK, Eligibility.LAPSED, 45.0),
        (Eligibility.LAPSED, Eligibility.ELIGIBLE, 60.0),
    ]


def test_all_that_share_a_key_are_found() -> None:
    book = Book()
    crowd = [Target("one", "a", "x"), Target("one", "a", "y"), Target("one", "b"), Target("two", "a", "x")]
    for rank, target in enumerate(crowd):
        book.roster.admit(target, rank, 0, 0.0)

    assert [hold.rank for hold in book.roster.under(())] == [0, 1, 2, 3]
    assert [hold.rank for hold in book.roster.under(("one",))] == [0, 1, 2]
    assert [hold.rank for hold in book.roster.under(("one", "a"))] == [0, 1]
    assert [hold.rank for hold in book.roster.under(crowd[3])] == [3]


def test_the_end_of_a_lapse_says_how_long_it_was() -> None:
    book = Book()
    hold = book.held(renewed_at=10.0)
    book.roster.run_down(60.0)

    book.roster.renew(hold, 65.0, 65.5)
    book.roster.renew(hold, 80.0, 80.1)
    book.roster.run_down(110.0)

    assert [(told.to_state, told.lapsed_for) for told in book.changes][-3:] == [
        (Eligibility.LAPSED, None),
        (Eligibility.ELIGIBLE, 10.5),
        (Eligibility.AT_RISK, None),
    ]


def test_a_target_that_is_let_go_while_lapsed_says_how_long_it_was() -> None:
    book = Book()
    book.held(renewed_at=10.0)

    book.roster.forget(set(), 100.0)

    assert (book.changes[-1].to_state, book.changes[-1].lapsed_for) == (None, 45.0)


def test_a_late_answer_that_renews_a_lease_at_risk_is_watched_from_its_own_sending_on() -> None:
    book = Book()
    hold = book.held(renewed_at=1.0)
    book.roster.run_down(32.0)

    book.roster.renew(hold, 4.0, 33.0)

    assert book.roster.next_at() == 34.0
    book.roster.run_down(34.0)
    assert book.story(api)[-1] == (Eligibility.ELIGIBLE, Eligibility.AT_RISK, 34.0)
    assert book.roster.next_at() == 49.0
    book.roster.run_down(49.0)
    assert book.story(api)[-1] == (Eligibility.AT_RISK, Eligibility.LAPSED, 49.0)
    assert book.roster.next_at() == inf
