"""Sessions: live tails that were prepared. Each is claimed once, by a WebSocket with the key in its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlencode

from keepalive.emulator.call import Route, Whence
from keepalive.emulator.filters import Group
from keepalive.emulator.standing import Place


@dataclass(frozen=True, slots=True)
class Session:
    """One prepared live tail.

    Attributes:
        key: The secret in its URL.
        place: For whom it was prepared.
        wanted: Which events it gets.
    """

    key: str = field(repr=False)
    place: Place
    wanted: Group

    @property
    def whence(self) -> Whence:
        """What faults aim at."""
        return Whence(Route.STREAM, self.place.user, self.place.account_id, self.place.script_id)


class Sessions:
    """All sessions that wait for their WebSocket."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, Session] = {}
        self._prepared = 0

    def prepare(self, place: Place, wanted: Group) -> str:
        """Make a session and return the URL that claims it. The key is only a number: nothing is at stake."""
        self._prepared += 1
        key = f"emulated-{self._prepared:08d}"
        self._waiting[key] = Session(key, place, wanted)
        named = {"accountId": place.account_id, "userId": place.user, "key": key}
        return f"{self._url}?{urlencode(named | ({'serviceId': place.script_id} if place.script_id else {}))}"

    def find(self, key: str) -> Session | None:
        """Look up a session that nobody has claimed."""
        return self._waiting.get(key)

    def claim(self, session: Session) -> None:
        """Give the session to its WebSocket; its key opens nothing any more."""
        del self._waiting[session.key]
