from math import inf

from hypothesis import given
from hypothesis import strategies as st

from keepalive.core.hold import Hold
from keepalive.core.queue import DueQueue
from tests.core.stage import fleet

NOW = 100.0
WINDOW = 45.0

leases = st.lists(
    st.tuples(st.floats(0, NOW), st.none() | st.floats(0, NOW), st.integers(0, 5)), min_size=1, max_size=25
)


def holds_of(leases: list[tuple[float, float | None, int]]) -> list[Hold]:
    targets = fleet(len(leases))
    return [
        Hold(target, rank, 0, planned_at, renewed_at, failures=failures)
        for rank, (target, (planned_at, renewed_at, failures)) in enumerate(zip(targets, leases, strict=True))
    ]


def filled(holds: list[Hold], now: float = NOW) -> DueQueue:
    queue = DueQueue()
    queue.window = WINDOW
    for hold in holds:
        queue.arm(hold, now)
    queue.gather(now)
    return queue


def urgency(hold: Hold, now: float) -> tuple[int, float]:
    deadline = hold.deadline(WINDOW)
    if deadline <= now:
        return 2, deadline
    return (1 if hold.renewed_at is None else 0), deadline


def drained(queue: DueQueue, now: float) -> list[Hold]:
    popped = []
    while queue:
        popped.append(queue.pop(now))
    return popped


@given(leases)
def test_the_nearest_deadline_goes_first_among_the_saveable_then_the_new_then_the_lapsed(
    leases: list[tuple[float, float | None, int]],
) -> None:
    holds = holds_of(leases)

    popped = drained(filled(holds), NOW)

    assert sorted(map(id, popped)) == sorted(map(id, holds))
    order = [urgency(hold, NOW) for hold in popped]
    assert order == sorted(order)


@given(leases, st.floats(0, 60))
def test_who_lapsed_while_it_waited_steps_behind_those_that_can_be_saved(
    leases: list[tuple[float, float | None, int]], waited: float
) -> None:
    now = NOW + waited

    order = [urgency(hold, now) for hold in drained(filled(holds_of(leases)), now)]

    assert order == sorted(order)


@given(leases)
def test_while_the_origin_is_down_the_one_with_the_fewest_failures_goes_first(
    leases: list[tuple[float, float | None, int]],
) -> None:
    queue, popped = filled(holds_of(leases)), list[Hold]()
    while queue:
        popped.append(queue.pop_least_failed())

    order = [(hold.failures, urgency(hold, NOW)) for hold in popped]
    assert len(popped) == len(leases)
    assert order == sorted(order)


@given(
    st.lists(
        st.tuples(st.integers(0, 4), st.sampled_from([0.0, 1.0, 1.0, 2.5, 7.0, inf]), st.floats(0, 3)),
        max_size=60,
    ),
    st.booleans(),
)
def test_an_armed_target_is_handed_out_exactly_once_at_its_last_moment(
    script: list[tuple[int, float, float]],
    least_failed: bool,  # noqa: FBT001 - hypothesis draws it
) -> None:
    queue, holds, now = DueQueue(), holds_of([(0.0, None, 0)] * 5), 0.0
    wanted: dict[int, float] = {}
    for index, delay, pause in script:
        queue.arm(holds[index], now + delay)
        wanted[index] = now + delay
        now += pause
        assert queue.next_at() <= min(
            (at for index, at in wanted.items() if not holds[index].ticket), default=inf
        )
        queue.gather(now)
        handed = set[int]()
        while queue and len(handed) < 2:
            hold = queue.pop_least_failed() if least_failed else queue.pop(now)
            assert hold.rank not in handed
            assert not hold.ticket
            assert wanted.pop(hold.rank) <= now
            handed.add(hold.rank)
        if len(handed) < 2:
            assert all(at > now for at in wanted.values())


def test_the_next_moment_is_that_of_the_first_armed_and_infinite_for_none() -> None:
    queue, (one, other) = DueQueue(), holds_of([(0.0, None, 0)] * 2)
    assert queue.next_at() == inf
    queue.arm(one, 5.0)
    queue.arm(other, 7.0)
    assert queue.next_at() == 5.0

    queue.arm(one, inf)

    assert queue.next_at() == 7.0


def test_a_target_that_is_armed_anew_is_not_due_any_more() -> None:
    holds = holds_of([(NOW, NOW, 0)])
    queue = filled(holds)
    assert queue

    queue.arm(holds[0], NOW + 5)

    assert not queue
    assert queue.next_at() == NOW + 5


def test_one_that_was_armed_anew_while_due_is_skipped() -> None:
    holds = holds_of([(0.0, NOW - 40, 0), (0.0, NOW - 10, 0), (0.0, NOW - 5, 0)])
    queue = filled(holds)

    queue.arm(holds[1], NOW + 5)

    assert drained(queue, NOW) == [holds[0], holds[2]]


def test_all_moments_to_come_can_be_forgotten_but_those_due_stay() -> None:
    due, coming = holds_of([(NOW, NOW, 0)] * 2)
    queue = filled([due])
    queue.arm(coming, NOW + 1)

    queue.disarm_all()
    queue.gather(NOW + 10)

    assert queue.next_at() == inf
    assert drained(queue, NOW + 10) == [due]
