"""What the signed page holds, and what it may never hold."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytest_mcp_governance.evidence.container import MARKER, pack
from pytest_mcp_governance.evidence.disclosures import commitment
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import FilteredSource
from pytest_mcp_governance.report import render

from .conftest import Rendered
from .markup import Page
from .other_runs import broken_run, partial_run, unjudged_run
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
    denied = text.index("Rule NO-WRITE blocked it as the test expected.", expected)
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
    assert len(Page(view).all("svg", **{"class": "pic"})) == 4


def test_withheld_values_and_screens_become_chips(sample: Rendered) -> None:
    secret = "4860.00"
    assert secret in sample.text
    committed = _committed(sample.reader)
    drop = {digest for digest, value in committed if secret in str(value) or "iban" in str(value)}
    screens = {digest for digest, value in committed if isinstance(value, dict) and "$blob" in value}
    source = FilteredSource(sample.reader.source, frozenset(drop | screens), _pictures(sample.reader))
    facts = replace(sample.facts, withheld_values=len(drop), withheld_screens=3)
    view = render(EvidenceReader(source), facts).decode()
    text = Page(view).text
    assert secret not in view
    assert "data:image" not in view
    assert view.count('class="withheld"') >= 4
    assert "Picture withheld: it may show labelled values." in text
    assert f"{len(drop)} values and 3 screens labelled or found secret or personal" in text


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
