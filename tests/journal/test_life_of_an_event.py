"""Whatever happens to an event: each handler is told all of it, one at a time."""

from __future__ import annotations

from collections import Counter

import attrs
from books import EVERYTHING, answered, at_once, closing_all, receipt
from campaign import examples
from clocks import FakeClock
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from exotel_async.journal import MemoryJournal
from exotel_async.journal.dialling import recover
from exotel_async.journal.owners import register
from exotel_async.journal.records import Claim, Recorded

HANDLERS = ("a", "b")
TRIES = 3
TEXTS = ("", "1", "2", "3")


@attrs.define(eq=False)
class Held:
    """A claim, and who has run for it."""

    claim: Claim
    process: int
    left: list[str]
    done: set[str]


class LifeOfAnEvent(RuleBasedStateMachine):
    """Two processes with two handlers each, two calls, repeated and growing callbacks."""

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.journals = [MemoryJournal(clock=self.clock) for _ in range(2)]
        at_once(self.journals[0]._open())
        self.journals[1]._connection = self.journals[0]._connection
        at_once(self.journals[1]._write(register))
        self.known: dict[tuple[str, str], dict[str, str]] = {}  # what was said of each event
        self.copies: set[tuple[object, ...]] = set()
        self.held: list[Held] = []
        self.lost: list[Held] = []
        self.told: Counter[tuple[str, str]] = Counter()  # (delivery, handler), as far as marked
        self.first: Counter[tuple[str, str]] = (
            Counter()
        )  # (event, handler), told for the first time
        self.latest: dict[tuple[str, str], str] = {}  # (event, handler): what it saw last

    # Callbacks.

    @rule(
        sid=st.sampled_from(["c0", "c1"]),
        over=st.booleans(),
        texts=st.tuples(st.sampled_from(TEXTS), st.sampled_from(TEXTS)),
    )
    def callback(self, sid, over, texts):
        coming = (receipt if over else answered)(sid, A=texts[0], B=texts[1])
        told = at_once(self.journals[0].record(coming))

        assert told == self.expected(sid, over, texts)

    def expected(self, sid, over, texts):
        """Tell what a callback must be taken for."""
        event, copy = (sid, "terminal" if over else "answered"), (sid, over, texts)
        if copy in self.copies:
            return Recorded.DUPLICATE
        self.copies.add(copy)
        before = self.known.get(event)
        after = {"A": texts[0], "B": texts[1]}
        if before is None:
            self.known[event] = after
            return Recorded.NEW
        self.known[event] = {name: after[name] or before[name] for name in after}
        return Recorded.DUPLICATE if self.known[event] == before else Recorded.UPDATE

    # Workers.

    @rule(process=st.integers(0, 1), most=st.integers(1, 3))
    def claim(self, process, most):
        for taken in at_once(self.journals[process].claim(EVERYTHING, most=most, tries=TRIES)):
            assert taken.attempts <= TRIES
            assert self.lane(taken) not in {self.lane(held.claim) for held in self.held}
            left = [name for name in HANDLERS if name not in taken.done]
            if taken.topic.startswith("update."):
                assert all(self.told[taken.delivery_id, name] == 0 for name in left)
            else:
                assert all(self.first[self.event(taken), name] == 0 for name in left)
            self.held.append(Held(taken, process, left, set(taken.done)))

    def event(self, claim):
        return claim.delivery_id.rpartition("#")[0]

    def lane(self, claim):
        return dict(claim.pairs)["CallSid"]

    def pick(self, data):
        return self.held.pop(data.draw(st.integers(0, len(self.held) - 1), label="claim"))

    @precondition(lambda self: any(held.left for held in self.held))
    @rule(data=st.data(), noted=st.booleans())
    def handle(self, data, noted):
        """A handler runs, and is perhaps noted at once."""
        held = data.draw(st.sampled_from([held for held in self.held if held.left]))
        held.done.add(held.left.pop(0))
        if noted:
            assert at_once(self.journals[held.process].progress(held.claim, done=held.done))
            self.mark(held)

    def mark(self, held):
        """Remember what the journal knows by now of who has seen what."""
        said = {name: text for name, text in held.claim.pairs if name in "AB"}
        for name in held.done - held.claim.done:
            self.told[held.claim.delivery_id, name] = 1
            self.latest[self.event(held.claim), name] = str(said)
            self.first[self.event(held.claim), name] = 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def finish(self, data):
        held = self.pick(data)
        held.done.update(held.left)
        assert at_once(self.journals[held.process].finish(held.claim, done=held.done))
        self.mark(held)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def fail(self, data):
        held = self.pick(data)
        wait = None if held.claim.attempts >= TRIES else 5.0
        assert at_once(
            self.journals[held.process].fail(held.claim, error="no", wait=wait, done=held.done)
        )
        self.mark(held)

    @rule(text=st.sampled_from(TEXTS), later=st.sampled_from(TEXTS))
    def fail_half_way_then_hear_more(self, text, later):
        """The second handler fails; before the next try more becomes known, or during it."""
        self.callback("c0", True, (text, text))
        self.claim(0, 9)
        for held in [held for held in self.held if held.process == 0 and len(held.left) == 2]:
            held.done.add(held.left.pop(0))
            self.held.remove(held)
            journal = self.journals[0]
            assert at_once(journal.fail(held.claim, error="no", wait=5.0, done=held.done))
            self.mark(held)
        self.callback("c0", True, (later, text))
        self.clock.elapsed += 5.0

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def release(self, data):
        held = self.pick(data)
        assert at_once(self.journals[held.process].release(held.claim, done=held.done))
        self.mark(held)

    @rule(process=st.integers(0, 1))
    def die(self, process):
        journal = self.journals[process]
        at_once(journal._write(recover, journal._owner))
        journal._owner += "'"
        at_once(journal._write(register))
        self.lost += [held for held in self.held if held.process == process]
        self.held = [held for held in self.held if held.process != process]

    @precondition(lambda self: self.lost)
    @rule(data=st.data(), how=st.sampled_from(["finish", "fail", "release", "progress"]))
    def late_mark(self, data, how):
        """Who was dead marks nothing."""
        held = data.draw(st.sampled_from(self.lost))
        journal, claim = self.journals[held.process], held.claim
        marks = {
            "finish": lambda: journal.finish(claim, done=HANDLERS),
            "fail": lambda: journal.fail(claim, error="late", wait=None, done=HANDLERS),
            "release": lambda: journal.release(claim, done=HANDLERS),
            "progress": lambda: journal.progress(claim, done=HANDLERS),
        }
        assert not at_once(marks[how]())

    @rule()
    def replay(self):
        at_once(self.journals[0].replay())

    @rule(seconds=st.sampled_from([1.0, 5.0, 100.0, -3600.0, 9000.0]))
    def time_passes(self, seconds):
        self.clock.elapsed += seconds

    # What always holds.

    @invariant()
    def every_event_is_somewhere(self):
        states = self.rows("SELECT state FROM events")
        assert len(states) == len(self.known)
        assert {state for (state,) in states} <= {"waiting", "done", "dead"}

    @invariant()
    def claims_are_those_we_hold(self):
        fences = {fence for (fence,) in self.rows("SELECT fence FROM lanes")}
        assert fences == {held.claim.fence for held in self.held}

    @invariant()
    def tries_are_bounded(self):
        assert all(0 <= tried <= TRIES for (tried,) in self.rows("SELECT attempts FROM events"))

    def rows(self, sql):
        return at_once(self.journals[0]._read(lambda tx: tx.rows(sql)))

    def teardown(self):
        with closing_all(self.journals):
            self.in_the_end()

    def in_the_end(self):
        """When all is replayed and delivered, each handler has seen all that was said."""
        for process in range(2):
            self.die(process)
        for _ in range(200):
            self.clock.elapsed += 1e4
            self.replay()
            self.claim(0, most=9)
            if not self.held:
                break
            for held in list(self.held):
                self.held.remove(held)
                held.done.update(held.left)
                assert at_once(self.journals[0].finish(held.claim, done=held.done))
                self.mark(held)
        else:
            raise AssertionError("there is no end of delivering")
        assert len(self.latest) == len(self.known) * len(HANDLERS)
        for (event, _), said in self.latest.items():
            (known,) = [
                text for key, text in self.known.items() if all(part in event for part in key)
            ]
            assert said == str(known)


TestLifeOfAnEvent = LifeOfAnEvent.TestCase
TestLifeOfAnEvent.settings = examples(100)
