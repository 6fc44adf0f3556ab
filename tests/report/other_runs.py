"""Runs that differ from the sample in one way each: broken, unjudged, hostile, crowded."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.report import RunFacts
from pytest_mcp_governance.report.since import Difference, Named, Since

from .sample_run import Scribe, facts_of, reader_of, sample_run

HOSTILE = (
    "</script><script>document.title='PWNED'</script>",
    "<img src=x onerror=\"document.title='PWNED'\">",
    "\"><svg onload=\"document.title='PWNED'\">",
    "' autofocus onfocus='document.title=1' x='",
    "&lt;b&gt;&#x3c;script&#x3e;",
    "\x1b[31mred\x1b[0m\x07\x1b]0;title\x07",
    "user\u202etxt.exe",
    "zero\u200bwidth\u2060\ufeff and tags \U000e0041\U000e0042",
    "A\x00B\x85C",
    "javascript:document.title=4",
    "{{7*7}} ${7*7} {% raw %}",
    "--><!--mcp-governance-evidence-v1-->\n<script>",
    "line\u2028sep\u2029",
    "Z\u0300\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308algo",
    "lone \ud800 and \udfff end",
    "__proto__",
    "=HYPERLINK(\"http://evil\",\"x\")",
    "]]>",
    "x" * 12_000,
)  # fmt: skip


def broken_run(folder: Path, **facts: object) -> tuple[EvidenceReader, RunFacts]:
    """Two findings in enforce mode, one of which reached data, one without evidence, and a failed test."""
    at = Scribe(folder)
    at.write("selection", selected=["test_x.py::test_refunds"], unaudited=0, deselected=0, collection="e2" * 32)
    at.begin("test_x.py::test_refunds", agent="payables-3")
    at.context("request", "Refund invoice 88.")
    seen = [{"data": "127.0.0.1:8765", "scope": "finance.invoice"}]
    at.call("browser", "browser_navigate", {"url": "http://127.0.0.1:8765/invoices"}, "- Page Title: Invoices",
            "BROWSE", screens=("list", "detail"), access=seen)  # fmt: skip
    reached = at.call("files", "read_text_file", {"path": "/srv/hr/salaries.csv"}, "name;salary\nA. Berg;61000",
                      "READ-BOOKS", access=[{"data": "/srv/hr/salaries.csv", "status": "out"}])  # fmt: skip
    at.finding("reached", "READ-BOOKS", reached, "The answer came from /srv/hr, through a link in /srv/books.",
               server="files", tool="read_text_file", source="ledgerline-agents.policy.yaml:9",
               controls=["SOC2:CC6.1"], detail={"argument": "path", "seen": "/srv/hr/salaries.csv",
               "limit": "within /srv/books", "nearest": "/srv/books/salaries.csv"})  # fmt: skip
    stopped = at.denied(
        "browser", "browser_click", {"element": "Approve payment"}, "DEFAULT-DENY", "Nothing allows it."
    )
    at.screen("detail", stopped[0], "before", -20)
    at.finding("blocked", "DEFAULT-DENY", stopped, "No rule allows browser.browser_click for payables-3.",
               server="browser", tool="browser_click")  # fmt: skip
    at.finding("unproven", "EV-SHOT", [stopped[0]], "No screen after the call.", server="browser", tool="browser_click")
    at.end("failed", failure=Committed("FindingsError: 3 findings\n  READ-BOOKS  ledgerline-agents.policy.yaml:9"))
    return reader_of(folder), facts_of([at.close()], **facts)


def expectations_run(folder: Path, **facts: object) -> tuple[EvidenceReader, RunFacts]:
    """Three of four calls are denied, tests claim five things in vain, and a server prints to stdout."""
    at = Scribe(folder)
    at.begin("test_x.py::test_reads", agent="reader")
    at.call("files", "list_directory", {"path": "/srv"}, "a.csv", "READ")
    for n in range(3):
        refs = at.denied("files", "write_file", {"path": f"/srv/{n}"}, "NO-WRITE", "no writes")
        at.finding("blocked", "NO-WRITE", refs, "no writes", server="files", tool="write_file")
    stray_line(at, "Loading ledger... done")
    for rule in ("READ", "WRITE", "SEND"):
        at.claim(
            "EXPECTED-DENIAL-MISSING", "expect_denied", f"the test expected a denial by rule {rule}; none happened"
        )
    at.claim("test_x.py:12", "all.no-call", "no call matched git.*: the assertion is about nothing")
    at.end("failed")
    at.begin("test_x.py::test_idle", agent="idler")
    at.claim("NO-CALLS", "no-calls", "no call came through any gateway or connection of this test")
    at.end("failed")
    return reader_of(folder), facts_of([at.close()], **facts)


def stray_line(at: Scribe, line: str) -> None:
    """A server that prints to stdout: one line that is no message, denied and found."""
    problems = ["syntax", "not-object"]
    ref = at.write("msg", direction="s2c", kind="invalid", conn="books-1", server="books", agent=at.agent,
                   source="stdio", origin="received", problems=problems, wire=Committed(line))  # fmt: skip
    decision = at.write("decision", moment="before", rule="MALFORMED", clause="strict-parse", verdict="deny",
                        effect="block", ref=ref)  # fmt: skip
    at.finding("blocked", "MALFORMED", [ref, decision], "the message is malformed: syntax, not-object", server="books")


def unjudged_run(folder: Path) -> tuple[EvidenceReader, RunFacts]:
    """No policy, no key."""
    at = Scribe(folder)
    at.begin("test_first.py::test_hello", agent="agent", policy=None)
    at.call("time", "get_current_time", {"timezone": "UTC"}, "06:15", "NOT-JUDGED")
    at.end()
    return reader_of(folder), facts_of([at.close()], judged=False, key_is_ephemeral=True)


def partial_run(folder: Path) -> tuple[EvidenceReader, RunFacts]:
    """A test that never ended, a gap, and a denial that nothing concluded."""
    at = Scribe(folder)
    at.write("selection", selected=["test_a.py::test_one", "test_a.py::test_two"], unaudited=0, deselected=0,
             collection="e2" * 32)  # fmt: skip
    at.begin("test_a.py::test_one", agent="agent")
    at.call("time", "get_current_time", {"timezone": "UTC"}, "06:15", "CLOCK")
    at.ask("time", "tools/call", {"name": "get_current_time", "arguments": {}}, "CLOCK", tool="get_current_time")
    at.write("gap", what="screens", count=2, reason="the browser did not answer")
    return reader_of(folder), facts_of([at.close()], status="partial")


def hostile_run(folder: Path) -> tuple[EvidenceReader, RunFacts]:
    """Every field that a server, an agent or a test name can fill is filled with something hostile."""
    at = Scribe(folder)
    for n, text in enumerate(HOSTILE):
        clear = text.encode("utf-8", "replace").decode()  # the ledger itself refuses lone surrogates in clear
        at.begin(f"test_h.py::test_{clear}", agent=clear[:200], controls=[clear])
        at.context("request", text)
        refs = at.call(clear[:100], clear[:100], {"v": text, text: "key"}, text, clear, verdict="observe", reason=text,
                       access=[{"data": text, "scope": clear, "values": [text], "class": "pii"}])  # fmt: skip
        at.finding("reached", clear, refs, text, agent_note=clear, server=clear[:100], tool=clear[:100], scope=clear,
                   source=f"{clear}:1", detail={"argument": text, "seen": text}, mode="observe",
                   controls=[clear])  # fmt: skip
        evil = f"<svg xmlns='http://www.w3.org/2000/svg' onload='document.title=1'>{n}</svg>".encode()
        at.write(
            "blob",
            kind="screen",
            media_type="image/svg+xml",
            size=len(evil),
            ref=refs[0],
            moment="before",
            sha256=at.segment.commit_blob(evil),
            url=Committed(f"javascript:{n}"),
            title=Committed(text),
            masked=False,
        )
        at.write("io", stream="stderr", conn="c", server=clear[:100], text=Committed(text))
        at.end(text[:20] if n % 2 else "passed", failure=Committed(text))
    at.begin("test_look.py::test_alike", agent="p\u0430yables-3")
    at.call("cr\u043c", "get_cust\u043emer", {}, "ok", "READ")
    wire = '{"id":1,"id":99999999999999999999,"method":"tools/call","params":{"arguments":{"a":1e400,"a":NaN}}}'
    ref = at.write("msg", direction="c2s", kind="invalid", conn="c", server="s", agent="a", source="stdio",
                   origin="received", problems=["duplicate-key"], wire=Committed(wire))  # fmt: skip
    at.write("decision", moment="before", rule="MALFORMED", clause="json", verdict="observe", effect="forward", ref=ref)
    at.end()
    return reader_of(folder), facts_of([at.close()], environment=(HOSTILE[1],), versions=((HOSTILE[0], HOSTILE[6]),))


def crowded_run(folder: Path, *, agents: int, calls: int) -> tuple[EvidenceReader, RunFacts]:
    """Many agents that call in turn; every 97th call goes outside its scopes and is found."""
    at = Scribe(folder)
    for n in range(agents):
        name = f"agent-{n + 1:02}"
        at.begin(f"test_many.py::test_agents#{n + 1}", agent=name)
        at.context("request", f"Look up customer {n}.")
        for k in range(calls // agents):
            out = (n * 53 + k) % 97 == 5
            scope = None if out else ("finance.invoice", "crm.customer", "files.report")[(n + k) % 3]
            row = json.dumps({"id": f"CUS-{n}{k:03}", "name": "Lena Brandt", "balance": 8920 + k})
            status = "out" if out else "in"
            seen = [{"data": f"crm/CUS-{n}{k:03}", "scope": scope, "status": status, "how": "result"}]
            refs = at.call("crm", "get_customer", {"id": f"CUS-{n}{k:03}"}, row, "READ", access=seen)
            if out:
                at.finding("reached", "EU-ONLY", refs, "The answer holds a customer of region US.", server="crm",
                           tool="get_customer", controls=["GDPR:44"])  # fmt: skip
        at.clock.passed_us -= (calls // agents) * 260_000  # the next agent works at about the same time
        at.clock.wait(700)
        at.end()
    return reader_of(folder), facts_of([at.close()])


def changed_run(folder: Path) -> tuple[EvidenceReader, RunFacts]:
    """The sample run, compared with an approved one that had less: every kind of difference, names hostile or many."""
    reader, facts = sample_run(folder)
    hostile = "<img src=x onerror=alert(1)>\u202e`x`</script>"
    now, was = ": now ", ", was "
    differences = (
        Difference("Wider policy", "warn", ((Named("any agent"), ", ", Named("books.pay"), now, Named("allowed by PAY"),
                                             was, Named("denied: no rule allows it")),)),
        Difference("New data scopes", "warn", ((Named("clerk"), ": ", Named("payroll"), " (", Named("pii"), ")"),)),
        Difference("New agents", "warn", ((Named("p\u0430yables-3"),), (Named(hostile),))),
        Difference("New tools", "warn", tuple((Named("clerk"), ": ", Named(f"books.tool_{n}")) for n in range(30))),
        Difference("Fewer tests", "warn", ((Named("tests/" + "very_long_" * 30),),)),
        Difference("Fewer findings", "note", (("unexpected, blocked: 0, was 2",),)),
    )  # fmt: skip
    since = Since("20261101t000000z-abcdef", "c" * 64, "2026-11-01T00:00:00Z", hostile, hostile, "SHA256:" + "k" * 43,
                  False, "git:origin/main:governance.approved.json@0123456789ab", differences)  # fmt: skip
    return reader, replace(facts, since=since)
