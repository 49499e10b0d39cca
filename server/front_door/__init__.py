"""Stands before gradio: knows visitor, size and kind of every request, and lets in what may be."""
