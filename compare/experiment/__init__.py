"""One comparison: the worker thread, the measuring protocol, the clock and the scores."""
