"""What schemathesis (tests/serve/test_openapi.py) is told that the document cannot say."""

import re

import schemathesis
from schemathesis import GenerationMode

# Why a body is refused that has every field as the document says.
REASONS = re.compile(r"expected (token ids below|some text|one text or a pair of texts|one text or as many as|one that was admitted|a version)")


@schemathesis.hook
def map_body(context, body):
    """Names of models are those that are served: behind an unknown one nothing is reached."""
    return body | {"model": "rm"} if isinstance(body, dict) and isinstance(body.get("model"), str) else body


@schemathesis.check
def refused_for_a_known_reason(ctx, response, case):
    if case.meta.generation.mode != GenerationMode.POSITIVE or response.status_code not in (400, 422):
        return
    error = response.json()["error"]
    message = error if isinstance(error, str) else error["message"]
    assert REASONS.search(message), f"a body as in the document was refused: {message}"


@schemathesis.hook
def filter_headers(context, headers):
    """cpp-httplib drops headers without a value: one is as good as none."""
    return not headers or str(headers.get("X-Metarm-Step", "0")).strip() != ""
