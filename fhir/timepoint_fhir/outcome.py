"""What a server says about a request (OperationOutcome), fit for a log: short and without patient data."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, unquote

LIMIT = 600
_BLACKED_OUT = "***"
_SEARCH_VALUE = re.compile(r"((?:identifier|name|family|given|birthdate)(?::\w+)?=)[^\s\"'<>&]+", re.IGNORECASE)


def describe(outcome: Any, hidden: frozenset[str]) -> str:
    """The issues of an OperationOutcome in one line; empty when it is none. `hidden` texts are blacked out."""
    if not isinstance(outcome, dict) or outcome.get("resourceType") != "OperationOutcome":
        return ""
    issues = [issue for issue in outcome.get("issue", []) if issue.get("severity") != "information"]
    errors = [issue for issue in issues if issue.get("severity") in ("error", "fatal")]
    text = "; ".join(filter(None, (_issue(issue) for issue in errors or issues)))
    text = _SEARCH_VALUE.sub(rf"\1{_BLACKED_OUT}", text)
    for secret in sorted(hidden, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", _BLACKED_OUT, text)
    return text if len(text) <= LIMIT else text[: LIMIT - 1] + "…"


def _issue(issue: dict[str, Any]) -> str:
    details = issue.get("details") or {}
    codings = [coding.get("display") or coding.get("code") for coding in details.get("coding", [])]
    said = details.get("text") or issue.get("diagnostics") or ", ".join(filter(None, codings))
    places = issue.get("expression") or issue.get("location") or []
    where = f" at {', '.join(map(str, places))}" if places else ""
    return f"{issue.get('code', 'error')}{': ' + str(said) if said else ''}{where}"


def sensitive_texts(bundle: dict[str, Any]) -> frozenset[str]:
    """Texts of a Bundle that identify a patient or an order: identifier values of Patients and ServiceRequests,
    wherever they are referred to, also as they stand in a URL."""
    found: set[str] = set()
    for text in _identifying(bundle):
        plain = text.replace("\\", "")
        found |= {text, plain, quote(text), quote(plain), quote(text, safe=":/.-")}
    return frozenset(text for text in found if text)


def _identifying(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _identifying(item)
    elif isinstance(node, dict):
        if node.get("resourceType") == "Patient":
            yield from _strings({k: v for k, v in node.items() if k not in ("resourceType", "id", "meta")})
        if node.get("type") in ("Patient", "ServiceRequest"):
            yield str((node.get("identifier") or {}).get("value", ""))
        reference = node.get("reference")
        if isinstance(reference, str) and reference.startswith("Patient?"):
            yield unquote(reference.partition("|")[2])
        for value in node.values():
            yield from _identifying(value)


def _strings(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, list | dict):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _strings(item)
