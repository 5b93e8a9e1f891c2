"""A flight: one attempt on its way through the network."""

from __future__ import annotations

from math import inf

from keepalive.core.outcome import Accepted, Order, Outcome
from keepalive.simulator.result import Try
from keepalive.simulator.session import Session


class Flight:
    """One attempt under way.

    Attributes:
        order: What the group asked for.
        session: Whom it is for, on Cloudflare's side.
        sent_at: When it left.
        arrives_at: When Cloudflare gets it; infinite when it never does.
        ends_at: When the client knows how it ended.
        counts_only: True when Cloudflare counts it against the quota and renews nothing.
        outcome: How it ends for the client; None while that is Cloudflare's to say.
    """

    __slots__ = ("arrives_at", "counts_only", "ends_at", "order", "outcome", "sent_at", "session")

    def __init__(self, order: Order, session: Session, sent_at: float) -> None:
        self.order = order
        self.session = session
        self.sent_at = sent_at
        self.arrives_at = inf
        self.ends_at = inf
        self.counts_only = False
        self.outcome: Outcome | None = None

    def noted(self) -> Try:
        """Write it down, as far as the client knows."""
        if self.outcome is None:
            ending = "under_way"
        else:
            ending = "accepted" if isinstance(self.outcome, Accepted) else self.outcome.fault.cause
        return Try(self.sent_at, self.ends_at, self.order.number, self.order.hedge, ending)
