"""The benchmark: methods and their measured upper bounds, interleaved, on one clock."""
