"""What one watch has shown and kept back, worked out when somebody asks: delivering an event costs nothing more.

A session passes Changes in sequence, so what it kept back is what it passed less what it showed.
"""

from __future__ import annotations

from proxy.watch.cache import WatchCache
from proxy.watch.session import Session


class WatchCounts:
    """Counts of one watch; all zero until `begin`. `ended_because` is empty while it is open."""

    __slots__ = ("_cache", "_filtered", "_initial", "_live", "_reached", "_session", "_start", "ended_because")

    def __init__(self, *, filtered: bool) -> None:
        self._filtered = filtered
        self._session: Session | None = None
        self._cache: WatchCache | None = None
        self._start = 0
        self._reached = 0
        self._live = False
        self._initial = 0
        self.ended_because = ""

    def begin(self, session: Session, cache: WatchCache) -> None:
        """Counts from where the session stands in the history of `cache`."""
        self._session, self._cache, self._start = session, cache, session.position

    def initial(self, events: int) -> None:
        """So many initial events were shown: they are objects, not Changes that passed."""
        self._initial += events

    def went_live(self) -> None:
        """The session passes every Change of the cache as it comes, until it is woken."""
        self._live = True

    def woken(self) -> None:
        """The session fell behind or has ended."""
        if self._live and self._cache is not None:
            self._live = False
            self._reached = self._cache.history.last_sequence

    @property
    def delivered(self) -> int:
        """Events handed to the client's connection: initial ones and changes, without bookmarks."""
        return self._session.delivered if self._session is not None else 0

    @property
    def suppressed(self) -> int:
        """Changes of the resource that passed a filtered watch and were not shown; 0 where nothing is filtered."""
        if not self._filtered or self._session is None or self._cache is None:
            return 0
        session = self._session
        reached = self._cache.history.last_sequence if self._live else max(self._reached, session.position)
        return reached - self._start - (session.delivered - self._initial) - session.skipped
