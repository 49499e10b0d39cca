"""Models: where they come from, how they are loaded, and what is known of them."""
