"""Models: where they come from, where they run, how they are loaded."""
