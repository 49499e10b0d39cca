"""What the page says, as HTML text. `app.py` says when."""
