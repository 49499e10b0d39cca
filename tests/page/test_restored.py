"""Settings from outside of the form."""

from __future__ import annotations

import json

import gradio as gr
import pytest
from hypothesis import given
from hypothesis import strategies as st

from page.restored import from_json, from_link

FIELDS = {
    "prompt": gr.Textbox(),
    "width": gr.Number(64),
    "guidance_scale": gr.Number(7.5),
    "ratio": gr.Number(),
    "methods": gr.CheckboxGroup([("ToMe", "tome"), ("ToDo", "todo")]),
    "pooling": gr.Radio(["nearest", "average"]),
    "grid": gr.Dropdown([("Fixed", 1), ("Rotating", 2)]),
    "merged": gr.Checkbox(),
}


def test_a_link_is_read_as_the_form_has_it() -> None:
    link = (
        "prompt=a+f%C3%B6x&width=64&guidance_scale=2.5&methods=todo&methods=tome&pooling=average&grid=2"
        "&merged=true&__theme=dark&view=api&utm_source=a&fbclid=b"
    )
    restored = from_link(link, FIELDS)
    assert restored.settings == {
        "prompt": "a föx", "width": 64, "guidance_scale": 2.5, "methods": ["todo", "tome"],
        "pooling": "average", "grid": 2, "merged": True,
    }  # fmt: skip
    assert restored.complaint == ""


@pytest.mark.parametrize(("value", "text"), [(2, "2"), ([4, 2], "4, 2"), ("4, 2", "4, 2"), (None, "")])
def test_numbers_come_into_a_field_of_text_as_they_are_typed(value: object, text: str) -> None:
    assert from_json(json.dumps({"prompt": value}), FIELDS).settings == {"prompt": text}


def test_a_field_that_can_be_empty_is_left_empty() -> None:
    assert (
        from_link("ratio=", FIELDS).settings
        == from_json('{"ratio": null}', FIELDS).settings
        == {"ratio": None}
    )


def test_what_is_wrong_but_fits_stays_for_the_check_of_the_request() -> None:
    assert from_link("width=3&prompt=&methods=", FIELDS).settings == {
        "width": 3, "prompt": "", "methods": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("link", "named"),
    [
        ("step=4", "step = '4'"),
        ("width=wide", "width = 'wide'"),
        ("width=", "width = nothing"),
        ("width=nan", "width = nan"),
        ("width=1e999", "width = inf"),
        ("width=" + "9" * 400, "width = inf"),
        ("methods=todo&methods=magic", "methods = ['todo', 'magic']"),
        ("pooling=most", "pooling = 'most'"),
        ("merged=perhaps", "merged = 'perhaps'"),
        ("a" * 500 + "=1", "aaaaa"),
        ("&".join(f"a{n}=1" for n in range(300)), "hundreds"),
    ],
)
def test_what_is_not_understood_is_named_and_left_out(link: str, named: str) -> None:
    restored = from_link(link, FIELDS)
    assert restored.settings == {}
    assert named in restored.complaint
    assert len(restored.complaint) < 200


def test_many_that_are_not_understood_are_counted() -> None:
    complaint = from_link("&".join(f"a{n}=1" for n in range(8)), FIELDS).complaint
    assert complaint.count("=") == 5
    assert "and 3 more" in complaint


def test_the_settings_of_a_picture_are_read() -> None:
    restored = from_json(json.dumps({"width": 64, "methods": ["todo"], "method": "todo"}), FIELDS)
    assert restored.settings == {"width": 64, "methods": ["todo"]}
    assert restored.left_out == ()


@pytest.mark.parametrize(
    "text", ["", "[]", "fox", "todo, factor 2, 512x512", "[" * 10_000, '{"prompt": true}']
)
def test_a_text_that_is_none_is_said(text: str) -> None:
    restored = from_json(text, FIELDS)
    assert restored.settings == {}
    assert "Not understood" in restored.complaint
    assert len(restored.complaint) < 200


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(list(FIELDS)) | st.text(), ANY))
def test_of_any_json_only_what_a_field_can_show_comes_through(given: dict[str, object]) -> None:
    restored = from_json(json.dumps(given), FIELDS)
    for name, value in restored.settings.items():
        FIELDS[name].postprocess(value)
        json.dumps(value, allow_nan=False).encode()
    assert len(restored.settings) + len(restored.left_out) == len({k for k in given if k != "method"})


@given(st.text())
def test_any_text_can_be_a_link(link: str) -> None:
    for name, value in from_link(link, FIELDS).settings.items():
        FIELDS[name].postprocess(value)


def test_half_a_character_is_left_out() -> None:
    assert from_json('{"prompt": "a \\ud83d fox"}', FIELDS).settings == {}
