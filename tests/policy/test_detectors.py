"""Secrets and personal data are found by published form and checksum, and clean text stays clean."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.policy.detectors import DETECTORS, builtin_secrets, detect, mask
from tests.policy.cases import TOKEN

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nabc=\n-----END RSA PRIVATE KEY-----"
FOUND = [
    ("vendor_tokens", "AKIAIOSFODNN7EXAMPLE"),
    ("vendor_tokens", TOKEN),
    ("vendor_tokens", "github_pat_" + "A1b2C3d4E5_" * 4),
    ("vendor_tokens", "glpat-" + "x" * 20),
    ("vendor_tokens", "xoxb-123456789012-abcdef"),
    ("vendor_tokens", "sk_live_" + "a1B2c3D4" * 3),
    ("vendor_tokens", "sk-proj-" + "a1B2c3D4" * 5),
    ("vendor_tokens", "AIza" + "a" * 35),
    ("vendor_tokens", "npm_" + "a" * 36),
    ("private_keys", PEM),
    ("jwt", JWT),
    ("email", "ap.clerk+x@mail.acme.example"),
    ("us_ssn", "123-45-6789"),
    ("iban", "DE89370400440532013000"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB29NWBK60161331926819"),
    ("iban", "NL91ABNA0417164300"),
    ("card", "4111111111111111"),
    ("card", "4111 1111 1111 1111"),
    ("card", "5500-0000-0000-0004"),
    ("card", "378282246310005"),
]


@pytest.mark.parametrize(("name", "value"), FOUND)
def test_a_value_is_found_alone_in_a_sentence_and_in_json(name: str, value: str) -> None:
    assert detect(name, value) == (value,)
    assert detect(name, f"say {value}, please") == (value,)
    assert detect(name, f"({value}).") == (value,)
    if name != "private_keys":
        assert detect(name, json.dumps({"a": value})) == (value,)


def test_an_iban_ends_where_its_country_says() -> None:
    assert detect("iban", "pay DE89 3704 0044 0532 0130 00 AND THEN 12") == ("DE89 3704 0044 0532 0130 00",)


def test_a_key_that_was_cut_off_is_still_a_key() -> None:
    assert detect("private_keys", PEM[:40]) == (PEM[:40],)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("card", "4111111111111112"),
        ("card", "order 1700000000000"),
        ("card", "4111111111111111234567"),
        ("iban", "DE89370400440532013001"),
        ("iban", "XX89370400440532013000"),
        ("us_ssn", "000-45-6789"),
        ("us_ssn", "900-45-6789"),
        ("us_ssn", "1123-45-67891"),
        ("us_ssn", "2123-45-6789"),
        ("email", "a@b"),
        ("email", "@acme.example"),
        ("vendor_tokens", "task_live_and_let_live_forever_and_ever"),
        ("vendor_tokens", "AKIA"),
        ("vendor_tokens", "sk-learn-is-a-name-and-not-a-key-of-anybody-at-all"),
        ("jwt", "eyJhbGciOiJIUzI1NiJ9"),
    ],
)
def test_what_only_looks_alike_is_not_found(name: str, text: str) -> None:
    assert detect(name, text) == ()


@pytest.mark.parametrize("piece", ["eyJ", "sk-", "-----BEGIN PRIVATE KEY-----", "a@a.", "4111-", "DE89 3704 ", "xoxb-"])
def test_hostile_repetition_costs_linear_time(piece: str) -> None:
    text = piece * (500_000 // len(piece))
    began = time.process_time()
    for name in DETECTORS:
        detect(name, text)
    assert time.process_time() - began < 5


def test_clean_json_stays_clean() -> None:
    rows = [
        {
            "id": f"ch_{n}",
            "at": "2026-11-23T10:00:00.123456Z",
            "sha": "9f86d081884c7d659a2feaa0c55ad015",
            "amount": n * 100,
        }
        for n in range(200)
    ]
    assert [name for name in DETECTORS if detect(name, json.dumps(rows))] == []


def test_masking_names_the_detector_and_leaves_the_rest() -> None:
    assert mask(f"token {TOKEN} for a@b.example") == "token [vendor_tokens] for [email]"


@given(st.text(), st.sampled_from([value for _, value in FOUND if "PRIVATE" not in value]), st.text())
def test_no_found_value_survives_masking(before: str, value: str, after: str) -> None:
    text = f"{before} {value} {after}"
    found = [hit for name in DETECTORS for hit in detect(name, text)]
    assert not [hit for hit in found if hit in mask(text)]


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=200))
def test_detectors_answer_for_any_text(text: str) -> None:
    assert isinstance(builtin_secrets(text), tuple)
    assert isinstance(mask(text), str)
