"""The theorem of the watch: replaying what a client was written yields exactly the part of the state its scope allows.

Random histories, questions and clients: these begin with initial events or from an old list, fall behind, catch up,
and are judged by the bytes they were written.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from proxy.api.objects import ObjectVersion
from proxy.api.representations import type_prefix
from proxy.api.watch_event import INITIAL_EVENTS_END, EventType
from proxy.authz.visibility import Visibility
from proxy.server.watch_stream import http_chunk
from proxy.watch.cache import WatchCache
from proxy.watch.encoding import ObjectEncoder, PartialMetadataEncoder, TableEncoder
from proxy.watch.history import Change, TooOld
from proxy.watch.session import Phase, Session
from proxy.watch.view import Encoder, Question, View, ViewIndex
from tests.support.versions import ROW_HEAD, KeepingSink, version
from tests.support.visibilities import LABEL_SETS, NAMES, NAMESPACES, NODES, visibilities

Key = tuple[str, str]
State = dict[Key, ObjectVersion]

COLUMNS = b'[{"name":"Name"}]'
ENCODERS: tuple[Encoder, ...] = (
    ObjectEncoder(type_prefix("Pod", "v1")),
    PartialMetadataEncoder("v1"),
    TableEncoder("v1", "Object", COLUMNS),
    TableEncoder("v1beta1", "Metadata", COLUMNS),
)


def authorised(state: State, visible: Visibility) -> dict[Key, str]:
    """Which version of each object a question shows, by its note."""
    return {key: note_of(each) for key, each in state.items() if visible.sees(each)}


def note_of(shown: ObjectVersion) -> str:
    return shown.rv


class Client:
    """Replays a stream as an informer does, and complains of what an informer could not make sense of."""

    def __init__(self, visible: Visibility, encoder: Encoder, held: dict[Key, str], began_at: int) -> None:
        self.visible = visible
        self.encoder = encoder
        self.held = held
        self.sink = KeepingSink()
        self.reached = began_at
        self.synced = True
        self.seen_columns = False

    def read(self, states: dict[int, State], notes: dict[str, ObjectVersion]) -> None:
        for event in self.sink.take():
            if event["type"] == "BOOKMARK":
                self._bookmark(event["object"], states)
            else:
                self._event(EventType(event["type"]), self._object(event["object"]), notes)

    def _object(self, body: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(self.encoder, TableEncoder):
            return body
        assert (body["columnDefinitions"] is None) == self.seen_columns
        self.seen_columns = True
        (row,) = body["rows"]
        assert row["cells"] == ["a row"]
        shown: dict[str, Any] = row["object"]
        assert body["metadata"]["resourceVersion"] == shown["metadata"]["resourceVersion"]
        return shown

    def _event(self, kind: EventType, shown: dict[str, Any], notes: dict[str, ObjectVersion]) -> None:
        metadata = shown["metadata"]
        key = (metadata["namespace"], metadata["name"])
        note = metadata["annotations"]["note"]
        rv = int(metadata["resourceVersion"])
        assert self.visible.sees(notes[note]), "a version outside the scope was shown"
        if self.synced:
            assert rv > self.reached, "an event goes back"
            self.reached = rv
        match kind:
            case EventType.ADDED:
                assert key not in self.held
                self.held[key] = note
            case EventType.MODIFIED:
                assert self.held[key] != note
                self.held[key] = note
            case _:
                assert kind is EventType.DELETED
                assert self.held.pop(key) == note, "a departing object is the last version that was visible"
                assert rv > int(note), "and it carries the resourceVersion of the change"
        if kind is not EventType.DELETED:
            assert str(rv) == note

    def _bookmark(self, shown: dict[str, Any], states: dict[int, State]) -> None:
        rv = int(shown["metadata"]["resourceVersion"])
        marked = INITIAL_EVENTS_END in str(shown)
        assert marked is not self.synced, "the initial events end once, and no other bookmark comes before"
        self.synced = True
        assert rv >= self.reached
        self.reached = rv
        assert self.held == authorised(state_at(states, rv), self.visible)


def state_at(states: dict[int, State], rv: int) -> State:
    return states[max(each for each in states if each <= rv)]


class Watching(RuleBasedStateMachine):
    """One resource, whoever watches it, and all of its past."""

    def __init__(self) -> None:
        super().__init__()
        self.rv = 10
        self.cache = WatchCache(retention_seconds=75.0, max_changes=1000)
        self.cache.replace([], "10")
        self.views = ViewIndex()
        self.states: dict[int, State] = {10: {}}
        self.notes: dict[str, ObjectVersion] = {}
        self.clients: dict[Session, Client] = {}

    # --- what happens upstream ---

    @rule(
        namespace=st.sampled_from(NAMESPACES),
        name=st.sampled_from(NAMES),
        labels=st.sampled_from(LABEL_SETS),
        node=st.sampled_from(NODES),
    )
    def write(self, namespace: str, name: str, labels: dict[str, str], node: str) -> None:
        self.rv += 1
        note = str(self.rv)
        written = version(namespace, name, self.rv, labels=labels, node=node, note=note, row_head=ROW_HEAD)
        self.notes[note] = written
        known = written.key in self.state
        self._apply(EventType.MODIFIED if known else EventType.ADDED, written)
        self.states[self.rv] = {**self.state, written.key: written}

    @precondition(lambda self: self.state)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        self.rv += 1
        namespace, name = data.draw(st.sampled_from(sorted(self.state)))
        note = str(self.rv)
        gone = version(namespace, name, self.rv, labels={"app": "web"}, node="node1", note=note, row_head=ROW_HEAD)
        self.notes[note] = gone
        self._apply(EventType.DELETED, gone)
        self.states[self.rv] = {key: each for key, each in self.state.items() if key != gone.key}

    @rule()
    def time_passes_and_upstream_says_so(self) -> None:
        self.rv += 1
        self.states[self.rv] = self.state
        self.cache.advance(str(self.rv))

    # --- what clients do ---

    @rule(visible=visibilities, encoder=st.sampled_from(ENCODERS), bookmarks=st.booleans(), reads=st.booleans())
    def watch_with_initial_events(self, visible: Visibility, encoder: Encoder, bookmarks: bool, reads: bool) -> None:
        client = Client(visible, encoder, {}, self.rv)
        client.synced = False
        session = self._join(client, str(self.rv), bookmarks)
        view = self._view(session)
        for chunk in view.begin(session, self.cache.objects()):
            client.sink.write(chunk)
        if bookmarks:
            client.sink.write(view.bookmark(str(self.rv), initial_events_end=True))
        client.read(self.states, self.notes)
        client.synced = True
        if reads:
            self._feed_until_live(session)

    @rule(
        data=st.data(),
        visible=visibilities,
        encoder=st.sampled_from(ENCODERS),
        bookmarks=st.booleans(),
        reads=st.booleans(),
    )
    def resume_from_an_old_list(
        self, data: st.DataObject, visible: Visibility, encoder: Encoder, bookmarks: bool, reads: bool
    ) -> None:
        rv = data.draw(st.sampled_from(sorted(self.states)))
        client = Client(visible, encoder, authorised(self.states[rv], visible), rv)
        session = self._join(client, str(rv), bookmarks)
        if reads:
            self._feed_until_live(session)

    @rule(visible=visibilities, encoder=st.sampled_from(ENCODERS))
    def start_from_a_list_that_is_ahead_of_the_cache(self, visible: Visibility, encoder: Encoder) -> None:
        """What was read upstream may be newer than the shared stream: what the stream brings late is left out."""
        self.rv += 1
        note = str(self.rv)
        ahead = version("team-a", "x", self.rv, labels={"app": "web"}, note=note, row_head=ROW_HEAD)
        self.notes[note] = ahead
        self.states[self.rv] = {**self.state, ahead.key: ahead}
        client = Client(visible, encoder, authorised(self.state, visible), self.rv)
        self._join(client, str(self.rv), bookmarks=True)
        self._apply(EventType.MODIFIED, ahead)

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def stop_reading(self, data: st.DataObject) -> None:
        self._some_client(data).sink.writable = False

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), batch=st.integers(1, 5))
    def read_on(self, data: st.DataObject, batch: int) -> None:
        client = self._some_client(data)
        client.sink.writable = True
        session = next(each for each, its in self.clients.items() if its is client)
        if session.phase is Phase.CATCHING_UP:
            self._feed(session, batch)

    @rule()
    def bookmarks_are_due(self) -> None:
        for session, client in self.clients.items():
            if session.phase is Phase.LIVE and session.wants_bookmarks and client.sink.writable:
                client.sink.write(self._view(session).bookmark(session.bookmark_rv(self.cache.rv)))

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        client = self._some_client(data)
        session = next(each for each, its in self.clients.items() if its is client)
        view = self._view(session)
        view.live.pop(session, None)
        self.views.leave(view)
        del self.clients[session]

    # --- what must hold ---

    @invariant()
    def what_was_written_makes_sense_and_a_live_client_holds_its_authorised_subset(self) -> None:
        for session, client in self.clients.items():
            client.read(self.states, self.notes)
            if session.phase is Phase.LIVE:
                assert client.held == authorised(self.state, client.visible)

    def teardown(self) -> None:
        for session, client in list(self.clients.items()):
            client.sink.writable = True
            self._feed_until_live(session)
        self.what_was_written_makes_sense_and_a_live_client_holds_its_authorised_subset()

    # --- how a cacher and a stream use the core ---

    @property
    def state(self) -> State:
        return self.states[max(self.states)]

    def _apply(self, kind: EventType, changed: ObjectVersion) -> None:
        change = self.cache.apply(kind, changed, now=0.0)
        assert change is not None
        self._deliver(change)

    def _deliver(self, change: Change) -> None:
        for view in self.views.candidates(change):
            if not view.live:
                continue
            shown, chunk = view.render(change)
            for session in list(view.live):
                session.deliver(change, shown, chunk, view.render_first)
                if session.phase is not Phase.LIVE:
                    del view.live[session]

    def _join(self, client: Client, rv: str, bookmarks: bool) -> Session:
        located = self.cache.history.locate(rv)
        assert not isinstance(located, TooOld)
        session = Session(sink=client.sink, position=located, floor=rv, wants_bookmarks=bookmarks, on_wake=lambda: None)
        self.views.join(Question(client.visible, client.encoder, http_chunk))
        self.clients[session] = client
        return session

    def _view(self, session: Session) -> View:
        client = self.clients[session]
        question = Question(client.visible, client.encoder, http_chunk)
        return next(view for view in self.views if view.question == question)

    def _some_client(self, data: st.DataObject) -> Client:
        return data.draw(st.sampled_from(list(self.clients.values())))

    def _feed_until_live(self, session: Session) -> None:
        while session.phase is Phase.CATCHING_UP:
            self._feed(session, 3)

    def _feed(self, session: Session, batch: int) -> None:
        changes = self.cache.history.after(session.position, batch)
        assert changes is not None
        view = self._view(session)
        if changes:
            for chunk in view.replay(session, changes):
                session.sink.write(chunk)
        else:
            session.phase = Phase.LIVE
            view.live[session] = None


TestWatching = Watching.TestCase
TestWatching.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
