"""Who counts as gone: whoever's heart stood still while somebody was watching."""

from __future__ import annotations

from exotel_async.journal.owners import Watch

LEASE = 30.0


class TestWatch:
    def test_stands_still(self):
        """A heart that stands still for a lease is named, no sooner."""
        watch = Watch(lease=LEASE)
        named = {at: watch.stale({"a": 7}, now=float(at)) for at in range(0, 35, 5)}

        assert {at for at, found in named.items() if found} == {30}
        assert named[30] == [("a", 7)]

    def test_beats_once(self):
        """One beat is enough for another lease."""
        watch = Watch(lease=LEASE)
        named = [watch.stale({"a": at // 30}, now=float(at)) for at in range(0, 60, 5)]

        assert not any(named)

    def test_all_stood_still(self):
        """What froze with us (a container, a machine that slept) has time to wake up with us."""
        watch = Watch(lease=LEASE)
        watch.stale({"a": 7}, now=0.0)
        watch.stale({"a": 8}, now=5.0)

        assert watch.stale({"a": 8}, now=3600.0) == []
        assert watch.stale({"a": 9}, now=3605.0) == []

    def test_gone_while_we_stood_still(self):
        """Whoever does not wake up is named after all."""
        watch = Watch(lease=LEASE)
        watch.stale({"a": 7}, now=0.0)
        named = [watch.stale({"a": 7}, now=3600.0 + at) for at in range(0, 35, 5)]

        assert not any(named[:3])
        assert named[-1] == [("a", 7)]
