"""Operating the server: options, quotas, the runs of visitors, health, metrics and the log."""
