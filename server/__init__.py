"""Operating the server: options, limits, the runs of visitors, health, metrics and the log."""
