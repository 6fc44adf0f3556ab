"""What the signed page holds, and what it may never hold."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import click
import pytest

from pytest_mcp_governance.cli import main
from pytest_mcp_governance.evidence.container import MARKER, pack
from pytest_mcp_governance.evidence.disclosures import commitment
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.outcome import Outcome
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FilteredSource
from pytest_mcp_governance.report import caveats, render

from .conftest import Rendered
from .markup import Page
from .other_runs import broken_run, expectations_run, partial_run, unjudged_run
from .sample_run import Scribe, facts_of, reader_of


def test_same_evidence_gives_the_same_bytes(sample: Rendered) -> None:
    assert render(sample.reader, sample.facts) == sample.view


def test_the_view_is_an_open_body_that_the_container_can_close(sample: Rendered) -> None:
    assert sample.view.startswith(b"<!doctype html>\n")
    assert sample.view.rstrip().endswith(b"</script>")
    assert b"</body>" not in sample.view
    assert pack(sample.view, []).view == sample.view


def test_the_policy_pins_the_one_script_and_both_styles(sample: Rendered) -> None:
    page = Page(sample.text)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    directives = dict(part.split(" ", 1) for part in policy.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["base-uri"] == directives["form-action"] == "'none'"
    assert directives["img-src"] == "data: blob:"
    assert directives["script-src"].split() == [_pin(s) for s in page.scripts]
    assert directives["style-src"].split() == [_pin(s) for s in page.styles]
    assert len(page.scripts) == 1


def test_nothing_is_loaded_and_nothing_is_inline(sample: Rendered) -> None:
    for tag, attributes in Page(sample.text).elements:
        assert "style" not in attributes, tag
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "action", "srcset", "data"):
            assert attributes.get(name, "#").startswith(("#", "data:image/jpeg;base64,")), (tag, attributes)


@pytest.mark.parametrize("run", [broken_run, partial_run, unjudged_run])
def test_no_page_vouches_for_itself(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # three builders
    reader, facts = run(tmp_path)
    text = render(reader, facts).decode().lower()
    assert "compliant" not in text
    assert "verified" not in text
    assert "violation" not in text


def test_the_reader_is_sent_elsewhere_for_the_fingerprint(sample: Rendered) -> None:
    text = Page(sample.text).text
    assert "mcp-governance verify governance-report.html --trust SHA256:…" in text
    assert f"--trust {sample.facts.fingerprint}" not in text
    assert "Signer not confirmed" in text


def test_a_finding_shows_sentence_rule_time_tool_and_links_to_its_call(sample: Rendered) -> None:
    text = Page(sample.text).text
    assert "portal-1 called browser.browser_click against rule NO-EXPORT, which is only observed." in text
    assert "Export 214 vendors" in text
    assert 'href="#call-12"' in sample.text
    assert 'id="call-12"' in sample.text


def test_expected_findings_stand_apart_and_say_so(sample: Rendered) -> None:
    text = Page(sample.text).text
    observed, expected = text.index("NO-EXPORT, which is only observed. It"), text.index("Provoked on purpose")
    denied = text.index("Rule NO-WRITE blocked it, as the test expected.", expected)
    assert observed < expected < denied


def test_every_link_inside_the_page_has_its_target(sample: Rendered) -> None:
    page = Page(sample.text)
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(ids) == len(set(ids))
    links = {a["href"][1:] for _, a in page.elements if a.get("href", "").startswith("#")}
    assert links <= set(ids)


def test_each_picture_is_embedded_once(sample: Rendered) -> None:
    embedded = [a["href"] for a in Page(sample.text).all("image")]
    assert len(embedded) == 3
    assert len(set(embedded)) == 3


def test_an_unchanged_screen_stands_once_at_its_call(sample: Rendered) -> None:
    assert Page(sample.text).text.count("Both are the same picture.") == 3


def test_a_finding_without_a_screen_shows_the_agents_last_one_and_says_so(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_pay", agent="agent")
    at.call("browser", "browser_navigate", {"url": "/"}, "ok", "BROWSE", screens=("list", "detail"))
    at.call("time", "get_current_time", {}, "06:15", "CLOCK")
    refs = at.denied("browser", "browser_click", {"element": "Pay"}, "NO-PAY", "no")
    at.finding("blocked", "NO-PAY", refs, "no", server="browser", tool="browser_click")
    at.end("failed")
    view = render(reader_of(tmp_path), facts_of([at.close()])).decode()
    assert "No picture of this call; the agent's last screen before it, at call 1." in Page(view).text
    assert len(Page(view).all("svg", **{"class": "pic"})) == 6


def test_withheld_values_and_screens_become_chips(sample: Rendered) -> None:
    secret = "4860.00"
    assert secret in sample.text
    committed = _committed(sample.reader)
    drop = {digest for digest, value in committed if secret in str(value) or "iban" in str(value)}
    screens = {digest for digest, value in committed if isinstance(value, dict) and "$blob" in value}
    source = FilteredSource(sample.reader.source, frozenset(drop | screens), _pictures(sample.reader))
    view = render(EvidenceReader(source), sample.facts).decode()
    text = Page(view).text
    assert secret not in view
    assert "data:image" not in view
    assert view.count('class="withheld"') >= 4
    assert "Picture withheld: it may show labelled values." in text
    count = f"{len(drop | screens)} values ({len(screens)} of them belong to {len(screens)} screens)"
    assert f"{count} are left out as secret or personal." in text
    assert text.count(count) == 2


def test_each_different_screen_stands_once_in_the_gallery_with_its_calls(sample: Rendered) -> None:
    gallery = _section(sample.text, "screens")
    assert [a["href"] for a in gallery.all("a", **{"class": "thumb"})] == ["#call-2", "#call-5", "#call-9"]
    assert "5 calls with a screen." in gallery.text
    assert "Pictures in answers" not in gallery.text
    assert 'href="#screens">calls with a screen</a>' in sample.text


def test_a_picture_in_an_answer_is_no_screen(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_look", agent="agent")
    ref, _ = at.call("browser", "browser_take_screenshot", {}, "ok", "BROWSE")
    at.image(ref)
    at.end()
    view = render(reader_of(tmp_path), facts_of([at.close()])).decode()
    gallery = _section(view, "screens")
    assert "0 calls with a screen." in gallery.text
    assert "Pictures in answers" in gallery.text
    assert "What the browser showed No screen was recorded" in Page(view).text
    assert [a["href"] for a in gallery.all("a", **{"class": "thumb"})] == ["#call-1"]


def test_where_no_call_lies_in_a_named_scope_the_page_says_how_to_name_one(tmp_path: Path, sample: Rendered) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_look", agent="agent")
    at.call("books", "get_vendor", {}, "ok", "READ")
    at.end()
    said = "No call lies in a data scope of the policy"
    assert said in Page(render(reader_of(tmp_path), facts_of([at.close()])).decode()).text
    assert said not in sample.text


def test_calls_with_a_picture_are_marked_in_the_list(sample: Rendered) -> None:
    assert _section(sample.text, "calls").text.count("with a picture") == 5


def test_a_line_that_a_server_printed_is_a_finding_about_the_server_and_no_call(tmp_path: Path) -> None:
    view = render(*expectations_run(tmp_path)).decode()
    finding = _section(view, "finding-4", tag="article").text
    assert finding.startswith(
        "Server books wrote a line to stdout that is no MCP message. Rule MALFORMED kept it from the agent. "
        "Its stdout belongs to the protocol: print to stderr."
    )
    assert "Loading ledger... done" in finding
    assert "Agent none: a server sent it to reader" in finding
    assert 'id="call-4"' in view
    assert 'id="call-5"' not in view


def test_a_printed_line_is_told_even_where_nothing_was_judged(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_loud", agent="agent", policy=None)
    ref = at.write("msg", direction="s2c", kind="invalid", conn="c", server="books", agent="agent", source="stdio",
                   origin="received", problems=["syntax", "not-object"], wire=Committed("Ready."))  # fmt: skip
    at.write("decision", moment="before", rule="NOT-JUDGED", clause="no-policy", verdict="allow", effect="forward",
             ref=ref)  # fmt: skip
    at.end()
    view = render(reader_of(tmp_path), facts_of([at.close()], judged=False)).decode()
    assert "to agent: no valid MCP message Ready." in _section(view, "protocol").text
    assert "No call was recorded." in _section(view, "calls").text


def test_findings_about_a_test_name_the_test_and_no_agent(tmp_path: Path) -> None:
    text = Page(render(*expectations_run(tmp_path)).decode()).text
    assert "test_reads expected a denial by rule READ; none happened. " in text
    assert "test_reads: no call matched git.*: the assertion is about nothing. " in text
    assert "test_idle made no call. " in text
    assert text.count("Agent none: it is about the test") == 5


def test_a_broken_answer_belongs_to_its_call(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_odd", agent="agent")
    ref, _ = at.ask("books", "tools/call", {"name": "read", "arguments": {}}, "READ", tool="read")
    answer = at.write("msg", direction="s2c", kind="invalid", conn="books-1", server="books", agent="agent", ref=ref,
                      source="stdio", origin="received", problems=["duplicate-key"], tool="read",
                      wire=Committed('{"jsonrpc":"2.0","id":1,"id":1,"result":{}}'))  # fmt: skip
    denied = at.write("decision", moment="before", rule="MALFORMED", clause="strict-parse", verdict="deny",
                      effect="replace", ref=answer)  # fmt: skip
    at.finding("blocked", "MALFORMED", [answer, denied], "malformed", server="books", tool="read")
    at.end("failed")
    view = render(reader_of(tmp_path), facts_of([at.close()])).decode()
    assert 'id="call-1"' in view
    assert 'id="call-2"' not in view
    said = "agent called books.read. The server answered, and rule MALFORMED kept the answer from the agent."
    assert said in _section(view, "finding-1", tag="article").text


def test_the_time_of_a_denial_is_the_time_of_its_message(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_late", agent="agent")
    refs = at.denied("files", "write_file", {}, "NO-WRITE", "no")
    at.clock.wait(5_000)
    at.finding("blocked", "NO-WRITE", refs, "no", server="files", tool="write_file")
    at.end("failed")
    view = render(reader_of(tmp_path), facts_of([at.close()])).decode()
    (record,) = [r for r in reader_of(tmp_path).records() if f"{r['seg']}/{r['seq']}" == refs[0]]
    assert f"When {str(record['t'])[11:23]} UTC" in _section(view, "finding-1", tag="article").text


def test_what_was_blocked_on_purpose_says_that_it_was_blocked(sample: Rendered) -> None:
    text = Page(sample.text).text
    assert "Blocked, as expected" in text
    assert text.count("Expected by the test") == 1, "only the heading over those findings says so"


def test_cells_and_legend_of_the_matrix_say_in_words_what_was_found(sample: Rendered) -> None:
    access = _section(sample.text, "access").text
    assert "observed 1 of portal-1 in outside" in access
    assert "4 calls without a finding of portal-1 in finance.invoice" in access
    assert "Observed It broke a rule that is only observed." in access


def test_data_that_a_rule_does_not_allow_is_told_from_data_in_no_scope(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_reads", agent="agent")
    seen = [
        {"data": "/vault/token", "scope": "erp.token", "status": "out", "class": "secret"},
        {"data": "/tmp/x", "status": "out"},
        {"data": "crm.read", "scope": "crm.customer", "how": "detected"},
    ]
    at.call("files", "read_text_file", {"path": "/vault/token"}, "x", "READ", access=seen)
    at.end()
    view = render(reader_of(tmp_path), facts_of([at.close()])).decode()
    for section in ("access", "calls"):
        text = _section(view, section).text
        assert "not allowed by the rule" in text
        assert "in no scope" in text
        assert "by detection" in text
    assert "outside every scope" not in view
    assert not re.search(r"</i></span><(span|code)", view), "a space follows the name of a scope"


def test_a_limit_is_followed_by_what_would_be_allowed(sample: Rendered) -> None:
    assert "Nearest allowed browser.browser_snapshot" in Page(sample.text).text


def test_the_list_of_calls_has_column_heads(sample: Rendered) -> None:
    assert "Allowed by rule, or decision" in _section(sample.text, "calls").text


def test_four_answers_and_the_menu_lead_to_the_same_sections(sample: Rendered) -> None:
    wanted = {"#access", "#timeline", "#screens", "#check"}
    menu, answers = re.findall(r"<nav .*?</nav>", sample.text, re.DOTALL)
    for nav in (menu, answers):
        assert wanted <= {a["href"] for a in Page(nav).all("a")}


def test_every_exit_code_of_the_command_is_explained() -> None:
    assert [code for code, _ in caveats.EXIT_CODES] == [str(o.exit_code) for o in sorted(Outcome, key=_exit_code)]


def test_every_command_that_the_report_names_exists() -> None:
    folder = Path(str(files("pytest_mcp_governance.report")))
    sources = [p.read_text("utf-8") for p in sorted(folder.rglob("*")) if p.suffix in (".py", ".j2", ".js")]
    named = {word for s in sources for word in re.findall(r"(?<!pytest-)\bmcp-governance ([a-z][a-z-]*)", s)}
    assert "verify" in named
    assert named <= set(main.list_commands(click.Context(main)))


def test_a_picture_left_out_for_size_is_named(sample: Rendered) -> None:
    source = FilteredSource(sample.reader.source, frozenset(), _pictures(sample.reader))
    text = Page(render(EvidenceReader(source), replace(sample.facts, omitted_screens=3)).decode()).text
    assert "Picture left out of this file. It is in the run folder." in text
    assert "3 pictures left out for size" in text


def test_not_judged_is_neither_green_nor_broken(tmp_path: Path) -> None:
    view = render(*unjudged_run(tmp_path)).decode()
    assert '<section class="card verdict neutral"' in view
    assert "Not judged" in Page(view).text
    assert "no policy decided on it" in Page(view).text


def test_a_partial_run_is_amber_and_says_why(tmp_path: Path) -> None:
    view = render(*partial_run(tmp_path)).decode()
    assert '<section class="card verdict warn"' in view
    text = Page(view).text
    assert "The recorder lost 2 items of screens: the browser did not answer." in text
    assert "1 test never ended." in text
    assert "1 selected test never began." in text


def test_findings_stay_red_in_a_partial_run_that_still_says_incomplete(tmp_path: Path) -> None:
    view = render(*broken_run(tmp_path, status="partial", status_reasons=("Stopped by Ctrl-C.",))).decode()
    assert '<section class="card verdict bad"' in view
    assert "Incomplete. Stopped by Ctrl-C." in Page(view).text


def test_a_full_report_warns_in_a_banner(sample: Rendered) -> None:
    text = Page(render(sample.reader, replace(sample.facts, profile="full")).decode()).text
    assert "Do not attach it to a ticket." in text
    assert "Do not attach it to a ticket." not in Page(sample.text).text


def test_an_ephemeral_key_is_called_unknown(tmp_path: Path) -> None:
    text = Page(render(*unjudged_run(tmp_path)).decode()).text
    assert "The key was made for this run alone and kept nowhere" in text


def test_a_denial_that_nothing_concluded_is_shown_as_a_finding(tmp_path: Path) -> None:
    at = Scribe(tmp_path)
    at.begin("test_a.py::test_dies", agent="agent")
    at.denied("files", "write_file", {"path": "/x"}, "NO-WRITE", "no writes")
    view = render(reader_of(tmp_path), facts_of([at.close()], status="partial")).decode()
    assert "agent tried to call files.write_file. Rule NO-WRITE blocked it." in Page(view).text
    assert "Its test never concluded" in Page(view).text


def test_hostile_text_adds_no_element_and_no_attribute(sample: Rendered, hostile: Rendered) -> None:
    view = hostile.text
    page = Page(view)
    assert page.tags <= Page(sample.text).tags | {"script"}
    assert page.scripts == Page(sample.text).scripts
    assert {n for _, a in page.elements for n in a} <= {n for _, a in Page(sample.text).elements for n in a}
    assert MARKER.strip() not in view.encode()
    assert not page.all("image")


def test_hidden_characters_become_chips(hostile: Rendered) -> None:
    view = hostile.text
    raw = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\U000e0000-\U000e0fff]")
    assert not raw.search(view)
    for chip in ("RLO", "ESC", "ZWSP", "U+E0041", "NUL", "9 marks", "U+D800"):
        assert re.search(f'<span class="u" title="[^"]*">{re.escape(chip)}</span>', view), chip


def test_look_alike_letters_in_names_are_named(hostile: Rendered) -> None:
    text = Page(hostile.text).text
    assert "\u0430=U+0430" in text
    assert "\u043c=U+043C" in text


def test_long_text_is_cut_and_says_so(hostile: Rendered) -> None:
    assert "8,192 of 12,000 bytes shown" in Page(hostile.text).text


def _section(view: str, anchor: str, tag: str = "section") -> Page:
    """The part of the page with this id; sections and articles do not nest in themselves."""
    found = re.search(rf'<{tag} [^>]*id="{anchor}".*?</{tag}>', view, re.DOTALL)
    assert found, anchor
    return Page(found.group())


def _exit_code(outcome: Outcome) -> int:
    return outcome.exit_code


def _pin(source: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"


def _pictures(reader: EvidenceReader) -> frozenset[str]:
    return frozenset(digest for digest in reader.blobs if (reader.blob(digest) or b"").startswith(b"\xff\xd8"))


def _committed(reader: EvidenceReader) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []

    def walk(value: object) -> None:
        digest = commitment(value)
        if digest is not None:
            found.append((digest, reader.reveal(value)))
        elif isinstance(value, dict):
            for item in value.values():
                walk(item)
        elif isinstance(value, list):
            for item in value:
                walk(item)

    for record in reader.records():
        walk(record)
    return found
