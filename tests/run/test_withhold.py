"""What is labelled secret or personal leaves the report, wherever it stands, and nothing else does."""

import base64
import html
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.ledger import Committed, Segment
from pytest_mcp_governance.evidence.reader import EvidenceReader, Withheld
from pytest_mcp_governance.evidence.source import FilteredSource, FolderSource
from pytest_mcp_governance.policy.detectors import builtin_secrets
from pytest_mcp_governance.run.withhold import Literals, Withholding, withhold

IBAN = "DE89370400440532013000"
PICTURE = b"\xff\xd8 not really a picture \xff\xd9"


class Run:
    """A small run on disk, and what a report of it would hold."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.segment = Segment(folder, run="r-1", name="main", key=SigningKey.generate())
        self.segment.append("open", {"pid": 1})

    def message(self, wire: str, **fields: object) -> str:
        return self.segment.append("msg", {"kind": "request", "wire": Committed(wire), **fields})

    def access(self, ref: str, *values: object, class_: str = "pii") -> None:
        fields = [Committed(v) for v in values]
        about = {"how": "detected", "data": Committed("books.get"), "ref": ref}
        self.segment.append("access", {"class": class_, "fields": fields} | about)

    def screen(self, ref: str, picture: bytes = PICTURE, url: str = "http://a/", **fields: object) -> None:
        blob = {"kind": "screen", "ref": ref, "size": len(picture), "url": Committed(url)}
        self.segment.append("blob", blob | {"sha256": self.segment.commit_blob(picture)} | fields)

    def close(self, *, full: bool = False, secrets: frozenset[str] = frozenset()) -> tuple[Withholding, EvidenceReader]:
        self.segment.close()
        source = FolderSource(self.folder)
        hidden = withhold(
            EvidenceReader(source),
            secrets=secrets,
            detects_secret=lambda t: bool(builtin_secrets(t)),
            full=full,
        )
        return hidden, EvidenceReader(FilteredSource(source, hidden.disclosures, hidden.omitted_blobs))


def shown(reader: EvidenceReader, type_: str, field: str) -> list[object]:
    return [reader.reveal(r[field]) for r in reader.records() if r["type"] == type_ and field in r]


def test_a_labelled_value_and_every_text_that_contains_it_are_withheld(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ref = run.message(json.dumps({"result": {"text": json.dumps({"iban": IBAN, "name": "x"})}}))
    run.access(ref, IBAN)
    run.message("nothing personal")
    run.segment.append("finding", {"reason": Committed(f"argument was {IBAN}")})
    _, reader = run.close()
    wires = shown(reader, "msg", "wire")
    assert isinstance(wires[0], Withheld) and wires[1] == "nothing personal"
    assert isinstance(shown(reader, "finding", "reason")[0], Withheld)
    assert all(isinstance(v, Withheld) for v in shown(reader, "access", "fields")[0])  # type: ignore[union-attr, attr-defined]  # a list by construction


def test_a_value_that_is_spaced_escaped_or_url_encoded_elsewhere_is_withheld_there_too(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path)
    run.access(run.message("plain"), IBAN, "Jörg Müller & Söhne")
    run.message("pay to de89 3704 0044 0532 0130 00 today")
    run.message(json.dumps({"q": "Jörg Müller & Söhne"}))
    run.message("http://x/?name=J%C3%B6rg%20M%C3%BCller%20%26%20S%C3%B6hne")
    _, reader = run.close()
    assert [isinstance(w, Withheld) for w in shown(reader, "msg", "wire")] == [False, True, True, True]


@pytest.mark.parametrize(
    "write",
    [
        lambda v: f"log: {json.dumps({'name': v})}",
        lambda v: "x" + base64.b64encode(b"a" + v.encode() + b"bc").decode(),
        lambda v: "x" + base64.urlsafe_b64encode(b"ab" + v.encode()).decode(),
        lambda v: base64.b64encode(v.encode()).decode(),
        lambda v: v.encode().hex(),
        lambda v: f"<p>{html.escape(v)}</p>",
        lambda v: v.encode("unicode_escape").decode(),
        lambda v: unicodedata.normalize("NFD", v),
    ],
    ids=["json in a line", "base64 within", "base64url within", "base64", "hex", "html", "python", "NFD"],
)
def test_a_labelled_value_is_found_however_a_program_wrote_it(tmp_path: Path, write: Callable[[str], str]) -> None:
    value = "Jörg <Müller> & Söhne"
    run = Run(tmp_path)
    run.access(run.message("plain"), value)
    run.segment.append("io", {"stream": "stderr", "text": Committed(write(value))})
    _, reader = run.close()
    assert isinstance(shown(reader, "io", "text")[0], Withheld)


def test_a_message_that_a_declared_place_labels_is_withheld_whole(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ref = run.message('{"result":{"is_sick":true,"note":"x"}}')
    access = {"class": "pii", "how": "result", "data": Committed("hr.get"), "ref": ref, "fields": [Committed("x")]}
    run.segment.append("access", access)
    _, reader = run.close()
    assert isinstance(shown(reader, "msg", "wire")[0], Withheld)


def test_a_failure_that_quotes_the_beginning_of_a_labelled_text_is_withheld(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.access(run.message("plain"), "Patient 4711 was admitted on Monday with a broken leg and left on Friday.")
    run.segment.append("test", {"failure": Committed("assert 'Patient 4711 was ad...left on Friday.' == ''")})
    _, reader = run.close()
    assert isinstance(shown(reader, "test", "failure")[0], Withheld)


def test_a_secret_of_the_environment_is_withheld_where_a_server_printed_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.segment.append("io", {"stream": "stderr", "text": Committed("token is hunter2-hunter2\n")})
    run.segment.append("io", {"stream": "stderr", "text": Committed("ready\n")})
    _, reader = run.close(secrets=frozenset({"hunter2-hunter2"}))
    texts = shown(reader, "io", "text")
    assert isinstance(texts[0], Withheld) and texts[1] == "ready\n"


def test_a_secret_that_nobody_labelled_is_withheld_by_its_form(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.message('{"key":"AKIAIOSFODNN7EXAMPLE"}')
    _, reader = run.close()
    assert isinstance(shown(reader, "msg", "wire")[0], Withheld)


def test_screens_of_a_call_with_a_labelled_access_go_with_every_other_picture_of_that_page(
    tmp_path: Path,
) -> None:
    run = Run(tmp_path)
    asked = run.message("ask")
    answer = run.message("answer", ref=asked)
    run.access(answer, IBAN)
    other = run.message("elsewhere")
    run.screen(asked)
    run.screen(other, PICTURE, url="http://b/")
    run.screen(other, b"\xff\xd8 same page, other pixels \xff\xd9")
    run.screen(other, b"\xff\xd8 another page \xff\xd9", url="http://c/")
    _, reader = run.close()
    pictures = shown(reader, "blob", "sha256")
    assert [isinstance(p, Withheld) for p in pictures] == [True, True, True, False]
    assert len(reader.blobs) == 1


def test_a_masked_screen_stays(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ref = run.message("ask")
    run.access(ref, IBAN)
    run.screen(ref, masked=True)
    _, reader = run.close()
    assert len(reader.blobs) == 1


def test_an_untrusted_value_is_no_reason_to_withhold(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ref = run.message("a memo")
    run.access(ref, "a memo", class_="untrusted")
    hidden, _ = run.close()
    assert hidden.disclosures == frozenset()


def test_the_full_report_keeps_everything(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ref = run.message(f"iban {IBAN}")
    run.access(ref, IBAN)
    run.screen(ref)
    hidden, reader = run.close(full=True)
    assert hidden == Withholding()
    assert shown(reader, "msg", "wire") == [f"iban {IBAN}"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    secret=st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=20).filter(str.strip),
    around=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=10), min_size=2, max_size=2),
    nested=st.integers(0, 2),
)
def test_no_disclosure_left_in_the_report_contains_the_labelled_value(
    tmp_path_factory: object, secret: str, around: list[str], nested: int
) -> None:
    run = Run(tmp_path_factory.mktemp("run"))  # type: ignore[attr-defined]  # pytest's own factory
    wire = around[0] + secret + around[1]
    for _ in range(nested):
        wire = json.dumps({"text": wire})
    run.access(run.message(wire), secret)
    _, reader = run.close()
    assert all(isinstance(w, Withheld) for w in shown(reader, "msg", "wire"))


WORDS = st.sets(st.text("abc", min_size=1, max_size=5), max_size=200)


@given(WORDS, st.text("abcd", max_size=40))
def test_many_words_are_found_as_few_are(words: set[str], text: str):
    padded = words | ({f"{number:03}" for number in range(70)} if words else set())  # more than an expression is for
    assert Literals(words).inside(text) == Literals(padded).inside(text) == any(word in text for word in words)
