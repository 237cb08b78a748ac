"""The API's own document (OpenAPI 3.1): Litestar's, with bodies, errors and keys as they are here."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from typing import Any, Final

import msgspec
from litestar import Litestar, Response, get
from litestar.di import Provide
from litestar.enums import HttpMethod
from litestar.openapi import OpenAPIConfig
from litestar.types.internal_types import PathParameterDefinition

from contracts.schemas import schemas
from contracts.wire import WIRE
from services.gateway.bodies import read_body, read_event
from services.gateway.front import routes_of
from services.gateway.once import HEADER, LONGEST
from services.gateway.problems import MEDIA_TYPE, Problem, ProblemBody

Json = dict[str, Any]

REFS: Final = "#/components/schemas"
PROBLEMS: Final = {
    400: "The body is no JSON in UTF-8.",
    401: "No key, or an unknown one.",
    403: "The key has not the scope, or not an app that the request names.",
    404: "Unknown, deleted, or another app's.",
    409: f"It cannot be done as things are; or a request with this {HEADER} is under way.",
    413: "The body is larger than a mebibyte.",
    415: "The body is said to be no JSON.",
    422: "The data or a parameter is wrong: `errors` says where.",
    500: "A fault of the gateway's, told in its log.",
    503: "The store is away, WeChat cannot be asked, or too much is under way: see `Retry-After`.",
}
ALWAYS: Final = (401, 403, 500, 503)
POSTED: Final = (400, 409, 413, 415, 422)

_IDEMPOTENCY: Final[Json] = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Repeated with the same bytes within 24 hours, the request is answered as the first time.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[ -~]+$"},
}


def route_of_document(routes: tuple[Any, ...]) -> Any:
    """`GET /openapi.json`, for everybody."""
    made = encoded(routes)

    @get("/openapi.json", opt={"open": True}, include_in_schema=False, sync_to_thread=False)
    def openapi_json() -> Response[bytes]:
        """This document."""
        return Response(made, media_type="application/json")

    return openapi_json


@cache
def encoded(routes: tuple[Any, ...]) -> bytes:
    """The document of these routes. An application is made for it that serves nobody: Litestar puts pages of
    its own beside a document that it serves."""
    config = OpenAPIConfig(
        title="livecard",
        version=version("livecard"),
        description="Create cards, say what happened, and read how far everything is.",
        use_handler_docstrings=True,
        operation_id_creator=_name,
    )
    handed = {"gateway": Provide(_no_gateway), "caller": Provide(_nobody)}
    app = Litestar(list(routes), dependencies=handed, openapi_config=config, logging_config=None, debug=False)
    return msgspec.json.encode(document(app))


async def _no_gateway() -> None:
    """Stands for the parts."""


async def _nobody() -> None:
    """Stands for who calls."""


def _name(_handler: object, method: Any, path: Sequence[str | PathParameterDefinition]) -> str:
    """`getActivitiesMembers`: the method, and the path without version and parameters."""
    words = [each for each in path if isinstance(each, str) and each != "v1"]
    return HttpMethod(method).value.lower() + "".join(each.title() for each in words)


def document(app: Litestar) -> Json:
    """Everything a generator of clients needs."""
    made: Json = app.openapi_schema.to_schema()
    handlers = dict(routes_of(app))
    structs = [
        ProblemBody,
        *WIRE.values(),
        *(body for each in handlers.values() if (body := each.opt.get("body"))),
    ]
    named = schemas(list(dict.fromkeys(structs)), REFS)
    made["components"] = {
        "schemas": {**made.get("components", {}).get("schemas", {}), **named},
        "responses": {str(status): _problem(status, text) for status, text in PROBLEMS.items()},
        "securitySchemes": {
            "key": {"type": "http", "scheme": "bearer", "description": "`livecard key` makes one."}
        },
    }
    made["security"] = [{"key": []}]
    for path, item in made["paths"].items():
        for method, operation in item.items():
            if isinstance(operation, dict) and "responses" in operation:
                _complete(operation, path, method.upper(), handlers[f"{method.upper()} {path}"].opt)
    return made


def _complete(operation: Json, path: str, method: str, opt: Json) -> None:
    operation["description"] = f"{operation.get('description', '')}\n\nScope: `{opt['scope']}`.".strip()
    problems = {*ALWAYS, *opt.get("problems", ())}
    if "{" in path:
        problems.add(404)
    if method == "POST":
        operation.setdefault("parameters", []).append(_IDEMPOTENCY)
        operation["requestBody"] = _body(opt)
        problems |= {*POSTED}
    if operation.get("parameters"):
        problems.add(422)
    if headers := opt.get("headers"):
        operation.setdefault("parameters", []).extend(headers)
    operation["responses"].update(opt.get("answers", {}))
    responses = {code: each for code, each in operation["responses"].items() if code.startswith("2")}
    responses.get("204", {}).pop("content", None)
    operation["responses"] = responses | {
        str(status): {"$ref": f"#/components/responses/{status}"} for status in sorted(problems)
    }


def _body(opt: Json) -> Json:
    struct = WIRE[opt["event"]] if "event" in opt else opt.get("body")
    schema: Json = {"$ref": f"{REFS}/{struct.__name__}"} if struct else {"type": "object", "maxProperties": 0}
    if rule := opt.get("rule"):
        schema = {"allOf": [schema, rule]}
    content: Json = {"schema": schema}
    if example := opt.get("example"):
        content["example"] = example
    return {"required": _needed(opt), "content": {"application/json": content}}


def _needed(opt: Json) -> bool:
    """Whether an empty body is refused; it is read as `{}`."""
    try:
        if "event" in opt:
            read_event(opt["event"], b"{}")
        elif "body" in opt:
            read_body(b"{}", opt["body"])
    except Problem:
        return True
    return False


def _problem(status: int, text: str) -> Json:
    answer: Json = {
        "description": text,
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"{REFS}/{ProblemBody.__name__}"}}},
    }
    if status == 401:
        answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}}}
    if status in (409, 503):
        answer["headers"] = {"Retry-After": {"schema": {"type": "string"}}}
    return answer
