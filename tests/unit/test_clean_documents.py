"""A document in which nothing is to be masked is not copied; all others are masked as ever."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from gpuprep.run.redact import MASK, Redactor

SHORT = st.text(max_size=5)
URLS = st.builds("https://{}:{}@{}/x?token={}".format, SHORT, SHORT, SHORT, SHORT) | st.text(
    alphabet='abt/:@?&=p;n\n"\\ ssh.', max_size=40
)


def as_json(data: Any) -> Any:
    return json.loads(json.dumps(data))


@given(st.text(min_size=4, max_size=8), SHORT, SHORT, URLS)
def test_it_is_masked_as_value_by_value(secret: str, before: str, after: str, url: str) -> None:
    redactor = Redactor([secret])
    data = {"of a host": [before + secret + after, url, {"nested": (url, 1, None, True)}]}
    masked = as_json(redactor.data(data))
    assert as_json(redactor.document(data)) == masked
    for escaped in (True, False):
        assert redactor.parsed(json.dumps(data, ensure_ascii=escaped)) == masked


def test_what_is_clean_is_the_same_object() -> None:
    redactor = Redactor(["Sesame"])
    clean = {"repository": "https://developer.download.nvidia.com/x", "pin": "a=1 b"}
    assert redactor.document(clean) is clean
    assert redactor.document({"of": ["open Sesame"]}) == {"of": [f"open {MASK}"]}
    query = {"url": "https://host/x?signature=abc"}
    assert redactor.document(query) == {"url": f"https://host/x?signature={MASK}"}
