"""How long is waited after failures."""

from __future__ import annotations

from campaign import examples
from hypothesis import given
from hypothesis import strategies as st

from exotel_async.events.retrying import journal_delay, retry_delay


class TestRetryDelay:
    def test_schedule(self):
        """Eight tries stretch over three and a half hours; after the last there is none."""
        delays = [retry_delay(attempts, tries=8) for attempts in range(1, 9)]

        assert delays == [5, 30, 120, 600, 1_800, 3_600, 7_200, None]

    @given(attempts=st.integers(0, 10**6), tries=st.integers(1, 10**6))
    @examples(200)
    def test_any(self, attempts, tries):
        """There is a delay exactly as long as a try is left, and it never shrinks."""
        delay = retry_delay(attempts, tries=tries)
        before = retry_delay(attempts - 1, tries=tries)

        assert (delay is None) == (attempts >= tries)
        assert delay is None or 5 <= (before or 5) <= delay <= 7_200


class TestJournalDelay:
    @given(failures=st.integers(1, 10**9))
    @examples(200)
    def test_any(self, failures):
        """A journal that fails is asked again soon, then every five seconds."""
        assert 0.1 <= journal_delay(failures) <= journal_delay(failures + 1) <= 5.0
        assert failures < 7 or journal_delay(failures) == 5.0
