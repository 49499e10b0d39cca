"""How a comparison becomes components of the page."""
