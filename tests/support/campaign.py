"""How many examples Hypothesis tries: the same few each time, or in a campaign many, at random."""

from __future__ import annotations

import os

from hypothesis import settings

TIMES = int(os.environ.get("EXOTEL_ASYNC_CAMPAIGN", "1"))


def examples(usual: int) -> settings:
    """Decorate a test: so many examples, and in a campaign so many times as many."""
    return settings(
        max_examples=usual * TIMES, derandomize=TIMES == 1, deadline=None, print_blob=True
    )
