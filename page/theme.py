"""How the page looks: gradio's theme, and the style sheet for the rest."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLE_SHEET = Path(__file__).resolve().parents[1] / "assets" / "page.css"

# All fonts are ones that the visitor's own system has: nothing is fetched.
THEME = gr.themes.Base(
    primary_hue="teal",
    neutral_hue="zinc",
    font=("system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"),
    font_mono=("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"),
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_border_width="0px",
    block_background_fill="transparent",
    block_background_fill_dark="transparent",
    block_label_text_color="*neutral_700",
    block_title_text_color="*neutral_700",
    block_title_text_color_dark="*neutral_300",
    input_border_width="1px",
    input_background_fill="white",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
)
