"""A second verifier, written from docs/evidence-format.md alone, agrees with ours."""

import base64
import gzip
import hashlib
import json
import re

import nacl.signing
import pytest

from pytest_mcp_governance.evidence.verify import verify
from tests.evidence.test_group import TESTS, Shards

ITEM = re.compile(rb'<script type="text/plain" data-path="([^"]+)">([A-Za-z0-9+/=]*)</script>\n')
MARKER, TAIL = b"<!--mcp-governance-evidence-v1-->\n", b"</body></html>\n"


def root(leaves):
    level = [hashlib.sha256(b"\x00" + leaf).digest() for leaf in leaves]
    while len(level) > 1:
        paired = [hashlib.sha256(b"\x01" + level[i] + level[i + 1]).digest() for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(level) - len(level) % 2 :]
    return level[0]


def signed(key, data, signature):
    nacl.signing.VerifyKey(base64.b64decode(key)).verify(data, signature)


def statement(data, key=None):
    envelope = json.loads(data)["dsseEnvelope"]
    payload = base64.b64decode(envelope["payload"])
    predicate = json.loads(payload)["predicate"]
    pae = b"DSSEv1 28 application/vnd.in-toto+json %d %b" % (len(payload), payload)
    signed(key or predicate["identityKey"], pae, base64.b64decode(envelope["signatures"][0]["sig"]))
    return json.loads(payload), hashlib.sha256(payload).hexdigest()


def commitments(value):
    if isinstance(value, dict):
        if "$sd" in value:
            yield value["$sd"]
        else:
            for item in value.values():
                yield from commitments(item)
    elif isinstance(value, list):
        for item in value:
            yield from commitments(item)


def segment(files, name, key, run):
    lines = files[f"seg/{name}.jsonl"].split(b"\n")
    assert lines.pop() == b""
    disclosed = files[f"seg/{name}.sd.jsonl"].splitlines()
    for number, line in enumerate(lines):
        record = json.loads(line)
        assert (record["v"], record["run"], record["seg"], record["seq"]) == (1, run, name, number)
        if record["type"] == "checkpoint":
            text, _, last = record["note"].partition("\n\n")
            signed(key, text.encode() + b"\n", base64.b64decode(last.split(" ")[2])[4:])
            expected = [f"{run}/{name}", str(number), base64.b64encode(root(lines[:number])).decode()]
            assert text.split("\n") == expected
        for digest in commitments(record):
            if disclosed and digest == base64.urlsafe_b64encode(hashlib.sha256(disclosed[0]).digest())[:43].decode():
                disclosed.pop(0)
    assert not disclosed
    return len(lines), root(lines).hex()


def split(file):
    view, rest = file.split(MARKER, 1)
    items = ITEM.findall(rest)
    assert b"".join(b'<script type="text/plain" data-path="%b">%b</script>\n' % item for item in items) + TAIL == rest
    return view, [(path.decode(), text) for path, text in items]


def item_list(items):
    unlisted = ("close.sigstore.json", "group.sigstore.json")
    lines = (f"{hashlib.sha256(text).hexdigest()} {path}\n" for path, text in items if path not in unlisted)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def independently_verified(file):
    view, items = split(file)
    return independently_checked(items, hashlib.sha256(view).hexdigest())[1]


def independently_checked(items, view):
    files = {path: gzip.decompress(base64.b64decode(text)) for path, text in items}
    opened, open_digest = statement(files["open.sigstore.json"])
    identity, run = opened["predicate"]["identityKey"], opened["predicate"]["run"]
    closed, close_digest = statement(files["close.sigstore.json"], identity)
    subjects = {subject["name"]: subject["digest"] for subject in closed["subject"]}
    assert closed["predicate"]["open"] == open_digest
    assert view is None or subjects["view.html"]["sha256"] == view
    assert subjects["items"]["sha256"] == item_list(items)
    main = [json.loads(line) for line in files["seg/main.jsonl"].splitlines()]
    keys = {record["name"]: record["key"] for record in main if record["type"] == "segment"}
    keys["main"] = opened["predicate"]["segmentKey"]
    for entry in closed["predicate"]["segments"]:
        assert keys[entry["name"]] == entry["key"]
        assert segment(files, entry["name"], entry["key"], run) == (entry["lines"], entry["root"])
    assert {f"seg/{name}.jsonl" for name in keys} == {p for p in files if re.fullmatch(r"seg/[^.]+\.jsonl", p)}
    return opened["predicate"] | {"main": main, "close": closed["predicate"]}, close_digest


def independently_verified_group(file):
    view, items = split(file)
    document = next(text for path, text in items if path == "group.sigstore.json")
    group, digest = statement(gzip.decompress(base64.b64decode(document)))
    subjects = {subject["name"]: subject["digest"]["sha256"] for subject in group["subject"]}
    assert subjects.pop("view.html") == hashlib.sha256(view).hexdigest()
    assert subjects.pop("items") == item_list(items)
    runs, selected, collections = [], set(), set()
    for name in sorted({path.split("/")[1] for path, _ in items if path.startswith("runs/")}):
        prefix = f"runs/{name}/"
        own = [(path.removeprefix(prefix), text) for path, text in items if path.startswith(prefix)]
        run, close = independently_checked(own, None)
        assert run["run"] == name
        assert run["shard"]["group"] == group["predicate"]["group"]
        assert subjects.pop(f"{prefix}close.sigstore.json") == close
        runs.append((run["shard"]["index"], run["shard"]["attempt"], run["startedOn"], name, close, run))
        for record in run["main"]:
            if record["type"] == "selection":
                selected |= set(record["selected"])
                collections.add(record["collection"])
    assert not subjects
    runs.sort(key=lambda entry: entry[:4])
    total = max(entry[5]["shard"]["total"] for entry in runs)
    last = {index: name for index, _, _, name, _, _ in runs}
    there = {(index, attempt) for index, attempt, *_ in runs}
    union = hashlib.sha256("".join(f"{name}\n" for name in sorted(selected)).encode()).hexdigest()
    (collection,) = collections
    expected = {
        "total": total,
        "runs": [
            {
                "run": name,
                "index": index,
                "attempt": attempt,
                "close": close,
                "status": run["close"]["status"],
                "tests": run["close"]["tests"],
                "findings": run["close"]["findings"],
                "superseded": last[index] != name,
            }
            for index, attempt, _, name, close, run in runs
        ],
        "missing": [index for index in range(1, total + 1) if index not in last],
        "missingAttempts": sorted([i, k] for i, a in there for k in range(1, a) if (i, k) not in there),
        "selection": {"collection": collection, "selected": len(selected), "covered": union == collection},
    }
    assert {name: group["predicate"][name] for name in expected} == expected
    return digest


def test_a_verifier_written_from_the_published_page_accepts_what_ours_accepts(made):
    assert independently_verified(made.file) == verify(made.file, trust=[made.fingerprint]).close_digest


def test_a_verifier_written_from_the_published_page_accepts_a_group_too(builder, tmp_path):
    shards = Shards(builder, tmp_path)
    reports = [
        shards.report(1, 3, tests=TESTS[:2], denied=True),
        shards.report(1, 3, tests=TESTS[:2], attempt=2),
        shards.report(2, 3, tests=TESTS[2:], attempt=2),
    ]
    file = shards.group(reports).out.read_bytes()
    assert independently_verified_group(file) == verify(file).close_digest


@pytest.mark.parametrize("place", [0.01, 0.2, 0.5, 0.8, 0.95])
def test_a_verifier_written_from_the_published_page_refuses_what_ours_refuses(made, place):
    changed = bytearray(made.file)
    changed[int(len(changed) * place)] ^= 1
    assert verify(bytes(changed), trust=[made.fingerprint]).exit_code in (1, 2)
    with pytest.raises(Exception):  # noqa: B017, PT011 - any refusal is one
        independently_verified(bytes(changed))
