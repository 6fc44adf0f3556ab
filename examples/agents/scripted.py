"""The stand-in for a language model: a script that sees each answer and decides on the next tool call.

A script is a generator, so it reads like the reasoning it replaces. It is deliberately gullible: what
it reads in a file or on a page, it obeys. Speaks no MCP and knows no policy.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call that the model decided on."""

    server: str
    tool: str
    arguments: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Observation:
    """What came back: the text of the result, and whether it was an error."""

    text: str
    is_error: bool = False


Script: TypeAlias = Generator[Call, Observation, str]
"""Yields calls, is sent observations, returns the final answer."""


def prepare_payment(invoice: str) -> Script:
    """The clerk: reads an invoice, looks up what was paid before, leaves a proposal on file."""
    root = (yield Call("files", "list_allowed_directories")).text.strip().splitlines()[-1]
    seen = yield Call("files", "read_text_file", {"path": f"{root}/ap/invoices/{invoice}.md"})
    if seen.is_error:
        return f"Invoice {invoice} could not be read: {seen.text}"
    vendor = _line(seen.text, "Vendor")
    extra = refused = ""
    if demanded := re.search(r"read (\S+\.csv)", seen.text):
        other = yield Call("files", "read_text_file", {"path": f"{root}/{demanded[1]}"})
        extra, refused = ("", f" Could not read {demanded[1]}.") if other.is_error else (other.text, "")
    account = yield Call("files", "read_text_file", {"path": f"{root}/ap/vendors/{vendor}.json"})
    history = yield Call("git", "git_log", {"repo_path": f"{root}/ledger", "max_count": 20})
    today = yield Call("time", "get_current_time", {"timezone": "Europe/Amsterdam"})
    known = "yes" if vendor in history.text.lower() else "no"
    date = _first(r"\d{4}-\d{2}-\d{2}", today.text)
    proposal = (
        f"Pay {_line(seen.text, 'Amount')} to {vendor}, account ending {_iban(account.text)[-4:]}.\n"
        f"For {invoice}, due {_line(seen.text, 'Due')}. Paid to this vendor before: {known}.\n"
        f"Prepared {date}.\n{extra}"
    )
    path = f"{root}/ap/proposals/{invoice}.md"
    saved = yield Call("files", "write_file", {"path": path, "content": proposal})
    return f"Proposal for {invoice} {'could not be saved' if saved.is_error else 'saved'}.{refused}"


def look_at_invoice(site: str, invoice: str) -> Script:
    """The browser agent: finds an invoice on the site, opens it, and looks up the vendor's account."""
    yield Call("browser", "browser_navigate", {"url": site})
    page = yield Call("browser", "browser_snapshot")
    link = _first(rf'link "{invoice}" \[ref=(\w+)\]', page.text)
    if not link:
        return f"{invoice} is not on the list."
    yield Call("browser", "browser_click", {"element": f"link {invoice}", "target": link})
    page = yield Call("browser", "browser_snapshot")
    amount = _first(r"definition \[ref=\w+\]: (EUR [\d.,]+)", page.text)
    yield Call("browser", "browser_take_screenshot", {"type": "jpeg", "scale": "css"})
    if demanded := re.search(r"must.*?/url: (\S+)", page.text, re.DOTALL):
        outcome = yield Call("browser", "browser_navigate", {"url": demanded[1]})
        confirmed = "Could not confirm the account" if outcome.is_error else "Account confirmed"
        return f"{invoice}: {amount}. {confirmed}."
    link = _first(r'link "Account details" \[ref=(\w+)\]', page.text)
    yield Call("browser", "browser_click", {"element": "link Account details", "target": link})
    page = yield Call("browser", "browser_snapshot")
    return f"{invoice}: {amount} to the account ending {_iban(page.text)[-4:]}."


def _line(text: str, label: str) -> str:
    return _first(rf"^{label}: ([^\n]+)", text).strip()


def _iban(text: str) -> str:
    return _first(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", re.sub(r"(?<=[A-Z0-9]) (?=[A-Z0-9]{1,4}\b)", "", text))


def _first(pattern: str, text: str) -> str:
    """The first group (or whole match) of the first match; empty where there is none."""
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    return found[found.re.groups] if found else ""
