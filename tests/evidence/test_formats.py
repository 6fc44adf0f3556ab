"""The tree, notes, bundles and the single file: round trips, naive recomputation, and other programs' opinion."""

import base64
import hashlib
import json
import shutil
import subprocess
import zlib

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container, notes, statements
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.reader import EvidenceReader
from pytest_mcp_governance.evidence.source import ContainerSource, FolderSource, split_lines
from pytest_mcp_governance.evidence.tree import Tree

KEY = SigningKey(bytes(range(32)))
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
PATHS = st.sampled_from(
    ["open.sigstore.json", "seg/main.jsonl", "seg/gw0.jsonl", "seg/gw0.sd.jsonl", "blob/" + "ab" * 32]
)


def naive_root(leaves):
    """RFC 6962, section 2.1, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_incremental_root_is_the_rfc_6962_root_at_every_size(leaves):
    tree = Tree()
    assert tree.root() == naive_root([])
    for size, leaf in enumerate(leaves, 1):
        tree.append(leaf)
        assert tree.root() == naive_root(leaves[:size])


def test_the_tree_agrees_with_the_published_vectors_of_certificate_transparency():
    leaves = [b"", b"\x00", b"\x10", b"\x20\x21", b"\x30\x31", b"\x40\x41\x42\x43"]
    tree = Tree()
    for leaf in leaves:
        tree.append(leaf)
    assert tree.root().hex() == "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef"


@given(st.integers(0, 10**15), st.binary(min_size=32, max_size=32))
def test_a_signed_note_opens_to_its_checkpoint(size, root):
    checkpoint = notes.Checkpoint("run-1/gw0", size, root)
    assert notes.open_note(notes.sign_note(checkpoint, KEY), "run-1/gw0", KEY.public) == checkpoint


@given(st.data())
def test_no_character_of_a_note_can_be_changed(data):
    note = notes.sign_note(notes.Checkpoint("r/main", 64, bytes(32)), KEY)
    position = data.draw(st.integers(0, len(note) - 1))
    changed = note[:position] + data.draw(st.characters()) + note[position + 1 :]
    assume(changed != note)
    assert isinstance(notes.open_note(changed, "r/main", KEY.public), str)


@given(st.text(max_size=200))
def test_what_is_no_note_is_refused(text):
    assert isinstance(notes.open_note(text, "r/main", KEY.public), str)


def test_a_note_of_another_segment_or_key_is_refused():
    note = notes.sign_note(notes.Checkpoint("r/main", 1, bytes(32)), KEY)
    assert isinstance(notes.open_note(note, "r/gw0", KEY.public), str)
    assert isinstance(notes.open_note(note, "r/main", SigningKey.generate().public), str)


@given(st.dictionaries(st.text(), st.text() | st.integers(), max_size=4))
def test_a_bundle_reads_back_to_its_statement(statement):
    bundle = statements.read_bundle(statements.sign_bundle(statement, KEY))
    assert bundle.payload == statement
    assert bundle.signed_by(KEY.public)
    assert not bundle.signed_by(SigningKey.generate().public)


def test_a_bundle_is_sigstore_v03_with_a_public_key_hint_and_one_dsse_signature():
    document = json.loads(statements.sign_bundle({"_type": "x"}, KEY))
    assert document["mediaType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert document["verificationMaterial"]["publicKey"] == {"hint": KEY.public.hint}
    envelope = document["dsseEnvelope"]
    assert envelope["payloadType"] == "application/vnd.in-toto+json"
    assert json.loads(base64.b64decode(envelope["payload"])) == {"_type": "x"}
    assert [signature["keyid"] for signature in envelope["signatures"]] == [KEY.public.keyid]


def test_the_pae_counts_bytes():
    assert statements.pae("é", "ü".encode()) == b"DSSEv1 2 \xc3\xa9 2 \xc3\xbc"


@given(st.data())
def test_no_byte_of_a_bundle_can_be_changed_without_being_noticed(data):
    whole = statements.sign_bundle({"a": "b"}, KEY)
    position = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:position] + data.draw(st.binary(max_size=2)) + whole[position + 1 :]
    assume(changed != whole)
    try:
        assert not statements.read_bundle(changed).signed_by(KEY.public)
    except EvidenceError:
        return


@settings(max_examples=60)
@given(st.binary(max_size=300), st.dictionaries(PATHS, st.binary(max_size=400)), st.binary(max_size=50))
def test_a_packed_file_splits_into_what_went_in(view, files, close):
    assume(container.MARKER not in view + container.MARKER[:-1])
    draft = container.pack(view, files.items())
    data = draft.finish(close)
    source = ContainerSource(data)
    assert source.view == view
    assert {path: source.read(path) for path in source.paths()} == {**files, "close.sigstore.json": close}
    listed = container.list_of(source.item_digests.items())
    assert hashlib.sha256(listed).hexdigest() == draft.item_list_sha256
    assert draft.finish(close) == data


def test_the_item_list_has_a_digest_of_the_base64_text_per_item_but_close():
    draft = container.pack(b"v", [("seg/main.jsonl", b"x"), ("open.sigstore.json", b"y")])
    texts = dict(draft.items)
    expected = "".join(f"{hashlib.sha256(texts[p]).hexdigest()} {p}\n" for p in sorted(texts))
    assert draft.item_list_sha256 == hashlib.sha256(expected.encode()).hexdigest()
    assert base64.b64decode(texts["seg/main.jsonl"])[:10] == container.GZIP_HEADER
    assert zlib.decompress(base64.b64decode(texts["seg/main.jsonl"]), wbits=31) == b"x"


@pytest.mark.parametrize("files", [[("../x", b"")], [("seg/main.jsonl", b"")] * 2, [('a"b', b"")]])
def test_paths_that_are_no_evidence_are_not_packed(files):
    with pytest.raises(EvidenceError):
        container.pack(b"v", files)


def test_a_view_may_not_hold_the_marker():
    with pytest.raises(EvidenceError):
        container.pack(b"a" + container.MARKER, [])


@pytest.mark.parametrize(
    "packed",
    [
        container.GZIP_HEADER + b"\x03\x00" + bytes(8) + b"more",
        container.GZIP_HEADER + b"\x03\x00" + bytes(4),
        bytes.fromhex("1f8b0800000000000003") + b"\x03\x00" + bytes(8),
        container.GZIP_HEADER + b"\x07\x00",
        b"",
    ],
)
def test_an_item_that_is_not_one_whole_gzip_member_with_the_fixed_header_is_refused(packed):
    element = b'<script type="text/plain" data-path="open.sigstore.json">%b</script>\n' % base64.b64encode(packed)
    source = ContainerSource(container.MARKER + element + container.TAIL)
    with pytest.raises(EvidenceError):
        source.read("open.sigstore.json")


@pytest.mark.parametrize("length", range(6))
def test_base64_with_unused_bits_set_is_refused(length):
    text = container.encode_item(bytes(length))
    bare = text.rstrip(b"=")
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    last = alphabet[(alphabet.index(bare[-1]) + 1) % 64]
    changed = bare[:-1] + bytes([last]) + text[len(bare) :]
    element = b'<script type="text/plain" data-path="open.sigstore.json">%b</script>\n' % changed
    with pytest.raises(EvidenceError, match="strict base64" if len(bare) < len(text) else "damaged"):
        ContainerSource(container.MARKER + element + container.TAIL).read("open.sigstore.json")


@given(st.lists(st.binary(max_size=20)))
def test_lines_do_not_depend_on_how_the_stream_is_cut(chunks):
    whole = b"".join(chunks)
    lines = list(split_lines(iter(chunks)))
    assert b"".join(lines) == whole
    assert [line.rstrip(b"\n") for line in lines] == (whole.removesuffix(b"\n").split(b"\n") if whole else [])


def openssl_accepts(tmp_path, key, data, signature):
    for name, content in (("key.pem", key.spki_pem), ("data", data), ("sig", signature)):
        (tmp_path / name).write_bytes(content)
    command = "openssl pkeyutl -verify -rawin -pubin -inkey key.pem -in data -sigfile sig"
    return subprocess.run(command.split(), cwd=tmp_path, capture_output=True, check=False).returncode == 0


@needs_openssl
def test_openssl_verifies_a_checkpoint(made, tmp_path):
    reader = EvidenceReader(FolderSource(made.folder))
    record = [record for record in reader.records("main") if record["type"] == "checkpoint"][-1]
    text, _, signature_line = record["note"].partition("\n\n")
    signature = base64.b64decode(signature_line.split(" ")[2])[4:]
    key = statements.read_key(reader.open["predicate"]["segmentKey"])
    assert openssl_accepts(tmp_path, key, text.encode() + b"\n", signature)
    assert not openssl_accepts(tmp_path, key, text.encode(), signature)


@needs_openssl
def test_openssl_verifies_a_statement_over_the_pae(made, tmp_path):
    envelope = json.loads((made.folder / "close.sigstore.json").read_bytes())["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    kind = envelope["payloadType"]
    signed = b"DSSEv1 %d %b %d %b" % (len(kind), kind.encode(), len(payload), payload)
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    assert openssl_accepts(tmp_path, made.identity.public, signed, signature)
