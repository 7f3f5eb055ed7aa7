from __future__ import annotations

import json

import pytest

from gateway.upstreams.openapi.document import DocumentInvalid, read


def document(**paths: object) -> str:
    return json.dumps({"openapi": "3.1.0", "paths": {f"/{k}": v for k, v in paths.items()}})


def test_operations_have_their_references_resolved() -> None:
    text = """
openapi: 3.0.3
paths:
  /pets/{id}:
    parameters: [{$ref: '#/components/parameters/Tag'}]
    get:
      responses:
        '200':
          headers: {ETag: {schema: {type: string}}}
          content: {application/json: {schema: {$ref: '#/components/schemas/Dog'}}}
components:
  parameters: {Tag: {name: If-Match, in: header}}
  schemas:
    Pet: {type: object, required: [id], properties: {id: {type: integer}}}
    Dog: {allOf: [{$ref: '#/components/schemas/Pet'}, {properties: {bark: {type: string}}}]}
"""
    (operation,) = read(text)
    assert operation.route == "GET /pets/{id}"
    assert operation.inputs == {"if-match"}
    assert operation.path_names == ("id",)
    schema, headers = operation.success() or (None, frozenset())
    assert schema is not None
    assert set(schema["properties"]) == {"id", "bark"}
    assert schema["required"] == ["id"]
    assert headers == {"etag"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "- a",
        '{"swagger": "2.0"}',
        '{"openapi": "3.0.0"}',
        '{"openapi": "3.0.0", "paths": {"/a": {"$ref": "https://evil.example/a"}}}',
        '{"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/nowhere"}}}',
        '{"openapi": "3.0.0", "paths": {"/a": {"$ref": "#/paths/~1a"}}}',
        '{"openapi": "3.0.0", "paths": {"/a": {"get": {"responses": {"200": 7}}}}}',
    ],
)
def test_what_cannot_be_read_whole_is_refused(text: str) -> None:
    with pytest.raises(DocumentInvalid):
        read(text)


def test_a_schema_that_contains_itself_ends() -> None:
    text = json.dumps(
        {
            "openapi": "3.1.0",
            "paths": {
                "/a": {
                    "get": {
                        "responses": {
                            "200": {
                                "content": {
                                    "application/json": {"schema": {"$ref": "#/components/x"}}
                                }
                            }
                        }
                    }
                }
            },
            "components": {"x": {"allOf": [{"$ref": "#/components/x"}]}},
        }
    )
    with pytest.raises(DocumentInvalid):
        read(text)
