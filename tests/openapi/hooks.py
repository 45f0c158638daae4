"""Schemathesis hooks: ids of templates that exist, which random data would not hit."""

import json
import os
import urllib.request
import zlib

import schemathesis

with urllib.request.urlopen(os.environ["SANDBOX_URL"] + "/__sandbox/templates") as answer:
    TEMPLATES = [template["template_id"] for template in json.load(answer)]


@schemathesis.hook
def map_body(context, body):
    """Puts an existing template id into every other body that has one. The choice depends on the body alone."""
    if not isinstance(body, dict) or not isinstance(body.get("template_id"), str):
        return body
    chance = zlib.crc32(repr(body).encode("utf-8", "surrogatepass"))
    if chance % 2:
        return {**body, "template_id": TEMPLATES[chance // 2 % len(TEMPLATES)]}
    return body
