"""How many files, and so connections, the server may have open."""

from __future__ import annotations

from contextlib import suppress


def allow_as_many_as_the_system_does() -> None:
    """Raise the limit of this process, often 1024, to what it may set itself."""
    try:
        import resource
    except ImportError:  # not on Windows, which has no such limit
        return
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
