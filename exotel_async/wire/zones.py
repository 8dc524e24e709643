"""Which time zone is meant."""

from __future__ import annotations

from datetime import tzinfo

from exotel_async.errors import ConfigurationError


def zone_of(time_zone: tzinfo | str) -> tzinfo:
    """Take a tzinfo, or the name of a zone such as "Asia/Kolkata"."""
    if isinstance(time_zone, tzinfo):
        return time_zone
    from zoneinfo import ZoneInfo  # most users keep the default

    try:
        return ZoneInfo(time_zone)
    except (TypeError, ValueError, OSError, LookupError) as error:
        raise ConfigurationError(
            f"time_zone must be a tzinfo or the name of a zone this machine knows, but is "
            f"{time_zone!r}; on a machine without zone names, install tzdata"
        ) from error
