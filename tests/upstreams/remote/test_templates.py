from __future__ import annotations

import pytest

from gateway.upstreams.remote.templates import Template, TemplateInvalid, TemplateMissing

ROOTS = ("request", "params", "before", "response")
VALUES = {
    "params": {"id": "7"},
    "before": {"status": 200, "body": {"id": 7, "tags": ["a", "b"], "note": None}},
}


@pytest.mark.parametrize(
    ("template", "rendered"),
    [
        ("$before.body", {"id": 7, "tags": ["a", "b"], "note": None}),
        ("$before.body.tags[1]", "b"),
        ("$params.id", "7"),
        ("$length(before.body.tags)", 2),
        ("$before.body.tags[?@ == 'a'] | [0]", "a"),
        ("$split('a* b', '* ')[1]", "b"),
        ("$split(params.id, '')", ["7"]),
        ("$$before", "$before"),
        ("plain", "plain"),
        ({"id": "$params.id", "all": ["$before.status", 1, None, True]},
         {"id": "7", "all": [200, 1, None, True]}),
    ],
)  # fmt: skip
def test_expressions_are_replaced_and_all_else_stands(template: object, rendered: object) -> None:
    assert Template.compile(template, ROOTS).render(VALUES) == rendered


@pytest.mark.parametrize("template", ["$before.body.nothing", "$response.id", "$before.body.note"])
def test_a_value_that_is_not_there_is_an_error_not_a_null(template: str) -> None:
    with pytest.raises(TemplateMissing):
        Template.compile({"x": [template]}, ROOTS).render(VALUES)


@pytest.mark.parametrize(
    ("template", "at"),
    [
        ({"a": ["$before..body"]}, ("a", 0)),
        ({"a": "$befor.body"}, ("a",)),
        ("$@", ()),
        ("$length(arguments)", ()),
        ("$unknown_function(before)", ()),
    ],
)
def test_a_wrong_template_is_found_when_it_is_compiled(
    template: object, at: tuple[str | int, ...]
) -> None:
    with pytest.raises(TemplateInvalid) as raised:
        Template.compile(template, ROOTS)
    assert raised.value.at == at
