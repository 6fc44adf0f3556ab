"""Keys and trust: what is accepted, what is refused with which words, and that no secret shows."""

import base64
import hashlib
import json
import pickle
import shutil
import subprocess
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.errors import KeyFileError
from pytest_mcp_governance.evidence.keys import PublicKey, SigningKey, load_signing_key
from pytest_mcp_governance.evidence.trust import load_trust

KEY = SigningKey(bytes(range(32)))
SECRET_TEXT = base64.b64encode(bytes(range(32))).decode()[:20]


def test_a_key_survives_its_pem():
    assert SigningKey.from_pem(KEY.to_pem()).public == KEY.public
    assert PublicKey.from_pem(KEY.public.spki_pem) == KEY.public


def test_the_fingerprint_is_the_unpadded_base64_sha256_of_the_spki():
    digest = base64.b64encode(hashlib.sha256(KEY.public.spki_der).digest()).decode()
    assert KEY.public.fingerprint == "SHA256:" + digest.rstrip("=")
    assert KEY.public.hint == digest


@pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")
def test_keys_are_those_of_openssl(tmp_path):
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem"], check=True)
    command = ["openssl", "pkey", "-in", tmp_path / "key.pem", "-pubout"]
    public = subprocess.run(command, check=True, capture_output=True).stdout
    assert load_signing_key("key.pem", root=tmp_path).public == PublicKey.from_pem(public)
    assert SigningKey.from_pem((tmp_path / "key.pem").read_bytes()).public.spki_pem == public


def test_a_signing_key_shows_only_its_fingerprint_and_cannot_be_pickled():
    assert repr(KEY) == f"SigningKey({KEY.public.fingerprint})"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)


@pytest.mark.parametrize("signature", [b"", bytes(64), bytes(63), KEY.sign(b"other")])
def test_a_wrong_signature_is_false_and_not_an_error(signature):
    assert KEY.public.verify(b"data", signature) is False


def test_a_small_order_key_verifies_nothing():
    assert PublicKey(bytes([1]) + bytes(31)).verify(b"x", bytes([1]) + bytes(63)) is False


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"hello", "0 PEM blocks"),
        (KEY.public.spki_pem, "public key"),
        (KEY.to_pem() * 2, "2 PEM blocks"),
        (KEY.to_pem().replace(b"MC4C", b"MC5C"), "not Ed25519"),
        (KEY.to_pem().replace(b"MC4C", b"M*4C"), "damaged"),
        (KEY.to_pem().replace(b"PRIVATE", b"ENCRYPTED PRIVATE"), "passphrase"),
        (KEY.to_pem().replace(b"PRIVATE", b"RSA PRIVATE"), "RSA PRIVATE KEY"),
    ],
)
def test_a_key_file_with_the_wrong_content_says_what_was_seen_and_shows_none_of_it(tmp_path, content, says):
    (tmp_path / "key.pem").write_bytes(content)
    with pytest.raises(KeyFileError) as caught:
        load_signing_key("key.pem", root=tmp_path)
    assert says in str(caught.value)
    assert "key.pem" in str(caught.value)
    assert SECRET_TEXT not in str(caught.value)


@pytest.mark.parametrize("spec", ["missing.pem", ".", "awskms:alias/x", "x\0y"])
def test_a_key_that_cannot_be_loaded_is_a_clear_error(tmp_path, spec):
    with pytest.raises(KeyFileError):
        load_signing_key(spec, root=tmp_path)


def test_a_key_given_instead_of_its_file_is_refused_without_being_shown(tmp_path):
    with pytest.raises(KeyFileError, match="must name a file") as caught:
        load_signing_key(KEY.to_pem().decode(), root=tmp_path)
    assert SECRET_TEXT not in str(caught.value)


@given(st.binary(max_size=200))
def test_what_is_no_pem_is_refused(data):
    for read in (SigningKey.from_pem, PublicKey.from_pem):
        with pytest.raises(KeyFileError):
            read(data)


def test_trust_comes_as_pem_fingerprint_or_document(tmp_path):
    (tmp_path / "a.pem").write_bytes(KEY.public.spki_pem)
    entry = {"fingerprint": KEY.public.fingerprint, "not_after": "2026-12-31"}
    (tmp_path / "trust.json").write_text(json.dumps({"v": 1, "keys": [entry]}))
    at = datetime(2026, 11, 23, tzinfo=UTC)
    for spec in (str(tmp_path / "a.pem"), str(tmp_path / "trust.json"), KEY.public.fingerprint, KEY.public):
        assert load_trust(spec).refuses(KEY.public, at) is None
        assert load_trust(spec).refuses(SigningKey.generate().public, at)
    late = datetime(2027, 1, 1, tzinfo=UTC)
    assert "ceased" in load_trust(str(tmp_path / "trust.json")).refuses(KEY.public, late)
    assert load_trust(str(tmp_path / "trust.json")).refuses(KEY.public, None)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"v": 1, "keys": []},
        {"v": 2, "keys": [{"fingerprint": KEY.public.fingerprint}]},
        {"v": 1, "keys": [{}]},
        {"v": 1, "keys": [{"fingerprint": "SHA256:short"}]},
        {"v": 1, "keys": [{"fingerprint": KEY.public.fingerprint, "not_after": "soon"}]},
        {"v": 1, "keys": [{"fingerprint": KEY.public.fingerprint, "notafter": "2020-01-01"}]},
        {"v": 1, "keys": [{"pem": "no"}]},
    ],
)
def test_a_trust_document_that_is_not_understood_trusts_nobody(tmp_path, document):
    (tmp_path / "trust.json").write_text(json.dumps(document))
    with pytest.raises(KeyFileError):
        load_trust(str(tmp_path / "trust.json"))


def test_a_private_key_is_no_trust(tmp_path):
    (tmp_path / "a.pem").write_bytes(KEY.to_pem())
    with pytest.raises(KeyFileError, match="private key"):
        load_trust(str(tmp_path / "a.pem"))
