"""Groups: one file over the shards of a pipeline. Whole is VERIFIED; what is missing, red or altered always shows."""

import base64
import hashlib
import itertools
import random
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.evidence import container, names, statements
from pytest_mcp_governance.evidence.container import encode_stored
from pytest_mcp_governance.evidence.group import GROUP_TYPE
from pytest_mcp_governance.evidence.keys import SigningKey
from pytest_mcp_governance.evidence.later import COUNTERSIGN, sign_later
from pytest_mcp_governance.evidence.ledger import Committed
from pytest_mcp_governance.evidence.shards import collection_digest, read_shard
from pytest_mcp_governance.evidence.source import ContainerSource
from pytest_mcp_governance.evidence.verify import Outcome, Verdict, verify
from pytest_mcp_governance.run.merge import merge
from tests.evidence.conftest import VIEW, Builder

TESTS = ("t.py::test_a", "t.py::test_b", "t.py::test_c")
COLLECTION = collection_digest(frozenset(TESTS))
KEY = SigningKey.generate()


class Shards:
    """Makes reports of shards, and groups of them."""

    def __init__(self, builder, folder):
        self._builder, self._folder, self._number = builder, folder, itertools.count(1)

    def report(self, index, total=2, *, attempt=1, tests=(), outcome="passed", denied=False, **changes):
        number = next(self._number)
        shard = {"index": index, "total": total, "group": changes.pop("group", "g-1"), "attempt": attempt}
        opened = self._builder.opened(
            run=changes.pop("run", f"run-{number}"),
            shard=changes.pop("shard", shard),
            source=changes.pop("source", {"commit": "c0ffee", "dirty": False}),
        )
        collection = changes.pop("collection", COLLECTION)
        selection = {"selected": list(tests), "unaudited": 1, "deselected": len(TESTS) - len(tests)}
        opened.main.append("selection", selection | {"collection": collection})
        for name in tests:
            test = (name, 1)
            opened.main.append("test", {"phase": "start", "nodeid": Committed(name)}, test=test)
            opened.main.append("policy", {"sha256": "ab" * 32, "sources": [], "mode": "enforce"}, test=test)
            message = opened.main.append("msg", {"direction": "c2s", "wire": Committed('{"id":1}')}, test=test)
            if denied:
                decision = {"moment": "before", "rule": "r", "verdict": "deny", "effect": "replace", "ref": message}
                opened.main.append("decision", decision, test=test)
            opened.main.append("test", {"phase": "end", "outcome": outcome}, test=test)
        made = opened.close(**changes)
        path = self._folder / f"report-{number}.html"
        path.write_bytes(made.file)
        return path

    def pair(self):
        return [self.report(1, tests=TESTS[:2]), self.report(2, tests=TESTS[2:])]

    def group(self, reports, key=KEY, **options):
        return merge(reports, key, self._folder / f"group-{next(self._number)}.html", **options)


@pytest.fixture
def shards(builder, tmp_path):
    return Shards(builder, tmp_path)


@pytest.fixture(scope="module")
def group(tmp_path_factory):
    """A small whole group, as bytes; not to be changed in place."""
    folder = tmp_path_factory.mktemp("group")
    shards = Shards(Builder(folder), folder)
    return shards.group(shards.pair()).out.read_bytes()


def texts(report):
    return "\n".join(map(str, report.problems))


def resigned(file, change, key=KEY):
    """The file with its group statement changed and signed again, by a dishonest holder of the trusted key."""
    source = ContainerSource(file)
    bundle = statements.read_bundle(source.read(names.GROUP))
    payload = change(bundle.payload | {"predicate": dict(bundle.predicate)})
    new = statements.sign_bundle(payload, key)
    item = next(item for item in source.layout.items if item.path == names.GROUP)
    return file[: item.start] + encode_stored(new) + file[item.end :]


def without(file, drop):
    """The file without the items whose path `drop` accepts."""
    source = ContainerSource(file)
    kept = [i for i in source.layout.items if not drop(i.path)]
    elements = [b'<script type="text/plain" data-path="%b">%b</script>\n' % (i.path.encode(), file[i.start : i.end])
                for i in kept]  # fmt: skip
    return source.view + container.MARKER + b"".join(elements) + container.TAIL


def relisted(file, key=KEY):
    """The file with its item list signed again: a dishonest signer who also fixes what the items say of themselves."""
    items = container.list_of(ContainerSource(file).item_digests.items())
    digest = {"sha256": hashlib.sha256(items).hexdigest()}

    def change(payload):
        subjects = [s | ({"digest": digest} if s["name"] == "items" else {}) for s in payload["subject"]]
        return payload | {"subject": subjects}

    return resigned(file, change, key)


# -- what a group says ---------------------------------------------------------------------------------------------


def test_shards_that_nobody_can_trust_are_verified_under_a_trusted_signer(group):
    report = verify(group, trust=[KEY.public])
    assert report.outcome is Outcome.VERIFIED, texts(report)
    assert (report.group, report.status, report.verdict) == ("g-1", "complete", Verdict.NO_FINDINGS)
    assert [(s.index, s.total, s.run) for s in report.shards] == [(1, 2, "run-1"), (2, 2, "run-2")]
    assert report.tests == {"passed": 3}
    assert report.sealed == report.records == sum(report.segments.values())
    assert not {s.signer for s in report.shards} & {KEY.public.fingerprint}


def test_a_group_of_an_unknown_signer_is_untrusted_and_a_countersignature_mends_it(group):
    assert verify(group).outcome is Outcome.UNTRUSTED
    other = SigningKey.generate()
    digest = verify(group).close_digest
    path, bundle = sign_later(
        COUNTERSIGN, other, digest=digest, run="g-1", signed_on="2026-11-23T02:00:00Z", producer={}
    )
    file = b"".join(container.with_statement(group, container.split(group), path, bundle))
    assert verify(file, trust=[other.public]).outcome is Outcome.VERIFIED
    assert verify(file).outcome is Outcome.UNTRUSTED


def test_items_are_copied_byte_for_byte(shards):
    reports = shards.pair()
    merged = ContainerSource(shards.group(reports).out.read_bytes())
    for number, path in enumerate(reports, 1):
        single = ContainerSource(path.read_bytes())
        for item in single.layout.items:
            nested = next(i for i in merged.layout.items if i.path == names.in_run(f"run-{number}", item.path))
            assert merged.data[nested.start : nested.end] == single.data[item.start : item.end]


def test_the_order_of_reports_does_not_matter(shards):
    reports = shards.pair()
    runs = [[s.run for s in shards.group(order).report.shards] for order in (reports, reports[::-1])]
    assert runs[0] == runs[1]


def test_a_missing_shard_is_incomplete_and_named(shards):
    merged = shards.group([shards.report(1, 4, tests=TESTS[:2]), shards.report(3, 4, tests=TESTS[2:])])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "shard 2/4 is not here" in texts(merged.report)
    assert "shard 4/4 is not here" in texts(merged.report)
    page = ContainerSource(merged.out.read_bytes()).view.decode()
    assert "Shard 2/4 is not here." in page
    assert page.index("Shard 2/4 is not here.") < page.index('<th scope="col">Status</th>')


def test_a_test_that_no_shard_selected_makes_the_group_incomplete(shards):
    merged = shards.group([shards.report(1, tests=TESTS[:1]), shards.report(2, tests=TESTS[2:])])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "some collected test was in no shard: 2 were selected" in texts(merged.report)


def test_shards_of_different_collections_are_incomplete_and_say_what_to_do(shards):
    merged = shards.group([shards.report(1, tests=TESTS[:2]), shards.report(2, tests=TESTS[2:], collection="cd" * 32)])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "did not all collect the same tests" in texts(merged.report)


@pytest.mark.parametrize(("other", "named"), [({"commit": "0dd" * 13}, "0dd0dd0dd0dd, c0ffee"), ({}, "none, c0ffee")])
def test_shards_of_different_commits_are_incomplete_and_the_commits_are_named(shards, other, named):
    merged = shards.group([shards.report(1, tests=TESTS[:2]), shards.report(2, tests=TESTS[2:], source=other)])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert f"the shards are not all of one commit, so what is whole is no version of the code: {named}" in texts(
        merged.report
    )


def test_a_shard_that_was_run_again_at_another_commit_is_incomplete(shards):
    again = shards.report(2, tests=TESTS[2:], attempt=2, source={"commit": "0ddba11"})
    merged = shards.group([*shards.pair(), again])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "not all of one commit" in texts(merged.report)


def test_shards_that_disagree_on_how_many_they_are_are_incomplete(shards):
    merged = shards.group([shards.report(1, 2, tests=TESTS[:2]), shards.report(2, 3, tests=TESTS[2:])])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "do not agree on how many they are: 2, 3" in texts(merged.report)


def test_fewer_shards_than_expected_are_incomplete_for_every_later_reader(shards):
    merged = shards.group(shards.pair(), expected=4)
    assert merged.report.outcome is Outcome.INCOMPLETE
    report = verify(merged.out, trust=[KEY.public])
    assert "4 shards were expected, and these say that they are 2" in texts(report)
    assert shards.group(shards.pair(), expected=2).report.outcome is Outcome.VERIFIED


def test_an_attempt_without_those_before_it_is_incomplete(shards):
    merged = shards.group([shards.report(1, tests=TESTS[:2]), shards.report(2, tests=TESTS[2:], attempt=3)])
    assert merged.report.outcome is Outcome.INCOMPLETE
    for attempt in (1, 2):
        assert f"attempt {attempt} of shard 2/2 is not here" in texts(merged.report)


def test_a_few_runs_that_claim_attempts_without_end_are_refused_before_they_are_counted_out(shards):
    reports = [shards.report(index, 3, attempt=5_000, tests=TESTS) for index in (1, 2, 3)]
    with pytest.raises(EvidenceError, match="More than 10,000 earlier attempts are missing"):
        shards.group(reports)


def test_a_partial_shard_makes_the_group_incomplete_and_is_named(shards):
    merged = shards.group([shards.report(1, tests=TESTS[:2]), shards.report(2, tests=TESTS[2:], status="partial")])
    assert merged.report.outcome is Outcome.INCOMPLETE
    assert "shard 2/2 (run run-2): the run is partial, not complete" in texts(merged.report)


def test_a_shard_without_an_audited_test_counts_as_here_and_does_not_spoil_passed(shards):
    merged = shards.group([shards.report(1, tests=TESTS), shards.report(2)], require=["passed"])
    assert merged.report.outcome is Outcome.VERIFIED, texts(merged.report)


def test_a_group_in_which_nothing_ended_has_not_passed(shards):
    nothing = collection_digest(frozenset())
    merged = shards.group([shards.report(i, collection=nothing) for i in (1, 2)], require=["passed"])
    assert merged.report.outcome is Outcome.REQUIREMENT
    assert "no test ended in any shard" in texts(merged.report)
    assert merged.report.verdict is Verdict.NOT_JUDGED


# -- a red attempt still counts ------------------------------------------------------------------------------------


def rerun(shards, **red):
    return [
        shards.report(1, tests=TESTS[:2]),
        shards.report(2, tests=TESTS[2:], **red),
        shards.report(2, tests=TESTS[2:], attempt=2),
    ]


@pytest.mark.parametrize("red", [{"outcome": "failed"}, {"denied": True}], ids=["failed test", "finding"])
def test_a_red_shard_run_again_until_green_has_not_passed(shards, red):
    merged = shards.group(rerun(shards, **red), require=["passed"])
    assert merged.report.outcome is Outcome.REQUIREMENT
    assert "required: passed; shard 2/2 (run run-2): " in texts(merged.report)
    assert [s.superseded for s in merged.report.shards] == [False, True, False]


def test_findings_of_a_superseded_attempt_count(shards):
    merged = shards.group(rerun(shards, denied=True))
    assert merged.report.outcome is Outcome.VERIFIED, texts(merged.report)
    assert merged.report.findings["blocked"]["enforce"] == 1
    assert merged.report.verdict is Verdict.FINDINGS


def test_a_shard_that_was_repeated_without_need_passes(shards):
    assert shards.group(rerun(shards), require=["passed"]).report.outcome is Outcome.VERIFIED


def test_two_runs_of_one_attempt_both_count(shards):
    reports = [*shards.pair(), shards.report(2, tests=TESTS[2:], outcome="failed")]
    merged = shards.group(reports, require=["passed"])
    assert merged.report.outcome is Outcome.REQUIREMENT
    assert sum(s.superseded for s in merged.report.shards) == 1


@pytest.mark.parametrize(
    ("require", "outcome"),
    [
        ("commit=c0ffee", Outcome.VERIFIED),
        ("commit=other", Outcome.REQUIREMENT),
        ("policy=" + "ab" * 32, Outcome.VERIFIED),
        ("policy=" + "cd" * 32, Outcome.REQUIREMENT),
        ("challenge=x", Outcome.REQUIREMENT),
        ("no-withheld", Outcome.VERIFIED),
        ("timestamp", Outcome.REQUIREMENT),
        ("close=" + "ab" * 32, Outcome.REQUIREMENT),
    ],
)
def test_requirements_hold_for_every_run(group, require, outcome):
    assert verify(group, trust=[KEY.public], require=[require]).outcome is outcome


def test_close_can_be_required_of_the_group_and_of_each_run(group):
    report = verify(group, trust=[KEY.public])
    digests = [report.close_digest, *(shard.close_digest for shard in report.shards)]
    assert verify(group, trust=[KEY.public], require=[f"close={d}" for d in digests]).outcome is Outcome.VERIFIED


def test_one_run_of_another_commit_does_not_meet_commit(shards):
    other = shards.report(2, tests=TESTS[2:], source={"commit": "beef", "dirty": False})
    merged = shards.group([shards.report(1, tests=TESTS[:2]), other], require=["commit=c0ffee"])
    assert "required: commit; shard 2/2 (run run-1): the run names commit beef" in texts(merged.report)


# -- what merge refuses ----------------------------------------------------------------------------------------------


def test_the_same_run_twice_is_refused(shards):
    reports = shards.pair()
    with pytest.raises(EvidenceError, match=r"is run run-1 again, as is .*report-1\.html"):
        shards.group([*reports, reports[0]])


def test_shards_of_another_group_are_refused(shards):
    with pytest.raises(EvidenceError, match=r"is of group other, and .* is of group g-1"):
        shards.group([shards.report(1, tests=TESTS[:2]), shards.report(2, tests=TESTS[2:], group="other")])


def test_a_run_that_is_no_shard_is_refused(shards):
    with pytest.raises(EvidenceError, match="is no shard"):
        shards.group([shards.report(1, shard=None)])


def test_a_group_is_not_merged_again(shards):
    merged = shards.group(shards.pair())
    with pytest.raises(EvidenceError, match="is a group already"):
        shards.group([merged.out])


def test_an_altered_report_is_refused_by_name_and_nothing_is_written(shards, tmp_path):
    reports = shards.pair()
    reports[1].write_bytes(reports[1].read_bytes().replace(b"One call", b"No call!"))
    with pytest.raises(EvidenceError, match=r"report-2\.html is TAMPERED: the visible page"):
        shards.group(reports)
    assert not list(tmp_path.glob("group-*"))


# -- tampering ---------------------------------------------------------------------------------------------------------


def test_no_byte_of_the_groups_own_parts_can_be_changed(group):
    source = ContainerSource(group)
    own = next(item for item in source.layout.items if item.path == names.GROUP)
    chance = random.Random(3)
    view = range(0, source.layout.view_end, 97)
    statement = range(own.start - 60, own.end + 12, 2)
    for position in (*view, *statement):
        changed = bytearray(group)
        changed[position] ^= chance.choice((1, 2, 4, 0x20))
        outcome = verify(bytes(changed), trust=[KEY.public]).outcome
        assert outcome in (Outcome.TAMPERED, Outcome.MALFORMED), position


@settings(max_examples=80)
@given(position=st.integers(0, 10**9), flip=st.integers(1, 255))
def test_no_byte_of_any_nested_run_can_be_changed(group, position, flip):
    start = ContainerSource(group).layout.items[1].start
    changed = bytearray(group)
    changed[start + position % (len(group) - start)] ^= flip
    assert verify(bytes(changed), trust=[KEY.public]).outcome in (Outcome.TAMPERED, Outcome.MALFORMED)


def test_a_nested_run_that_is_dropped_is_tampered(group):
    assert verify(without(group, lambda p: p.startswith("runs/run-2/")), trust=[KEY.public]).outcome is Outcome.TAMPERED


def test_a_signer_cannot_drop_a_run_and_keep_what_the_statement_says(group):
    dropped = relisted(without(group, lambda p: p.startswith("runs/run-2/")))
    report = verify(dropped, trust=[KEY.public])
    assert report.outcome is Outcome.TAMPERED
    assert "states other runs than its runs show" in texts(report)


def test_two_nested_runs_that_change_places_are_tampered(group):
    swapped = group.replace(b"runs/run-1/", b"runs/run-X/").replace(b"runs/run-2/", b"runs/run-1/")
    swapped = swapped.replace(b"runs/run-X/", b"runs/run-2/")
    source = swapped.split(container.MARKER, 1)
    elements = source[1].removesuffix(container.TAIL).splitlines(keepends=True)
    ordered = source[0] + container.MARKER + b"".join(sorted(elements)) + container.TAIL
    assert verify(ordered, trust=[KEY.public]).outcome is Outcome.TAMPERED
    report = verify(relisted(ordered), trust=[KEY.public])
    assert report.outcome is Outcome.TAMPERED
    assert "what lies under runs/run-1 is run run-2" in texts(report)


def test_a_nested_run_that_is_renamed_is_tampered(group):
    renamed = group.replace(b'data-path="runs/run-2/', b'data-path="runs/run-9/')
    assert verify(renamed, trust=[KEY.public]).outcome is Outcome.TAMPERED
    assert verify(relisted(renamed), trust=[KEY.public]).outcome is Outcome.TAMPERED


def test_a_nested_item_that_a_signer_lists_anew_is_tampered_by_the_runs_own_list(group):
    source = ContainerSource(group)
    path = "runs/run-1/seg/main.sd.jsonl"
    item = next(item for item in source.layout.items if item.path == path)
    fewer = b"".join(source.read(path).splitlines(keepends=True)[1:])
    changed = relisted(group[: item.start] + container.encode_item(fewer) + group[item.end :])
    report = verify(changed, trust=[KEY.public])
    assert report.outcome is Outcome.TAMPERED
    assert "shard 1/2 (run run-1): the items of the file are not those that were signed" in texts(report)


def test_a_nested_close_statement_of_another_run_is_tampered(group):
    source = ContainerSource(group)
    one, two = (next(i for i in source.layout.items if i.path == f"runs/run-{n}/{names.CLOSE}") for n in (1, 2))
    changed = group[: one.start] + group[two.start : two.end] + group[one.end :]
    assert verify(relisted(changed), trust=[KEY.public]).outcome is Outcome.TAMPERED


def countersigned(path, key):
    digest = verify(path).close_digest
    name, bundle = sign_later(COUNTERSIGN, key, digest=digest, run="r", signed_on="2026-11-23T02:00:00Z", producer={})
    file = path.read_bytes()
    path.write_bytes(b"".join(container.with_statement(file, container.split(file), name, bundle)))
    return name


def test_a_countersigned_shard_is_merged_with_its_statement_and_lends_the_group_no_trust(shards):
    reports, other = shards.pair(), SigningKey.generate()
    name = countersigned(reports[0], other)
    file = shards.group(reports).out.read_bytes()
    assert f"runs/run-1/{name}" in ContainerSource(file).paths()
    assert verify(file, trust=[KEY.public]).outcome is Outcome.VERIFIED
    assert verify(file, trust=[other.public]).outcome is Outcome.UNTRUSTED


def test_a_nested_later_statement_that_is_replaced_or_dropped_is_tampered(shards):
    reports = shards.pair()
    name = countersigned(reports[0], SigningKey.generate())
    file = shards.group(reports).out.read_bytes()
    path = f"runs/run-1/{name}"
    assert verify(without(file, lambda p: p == path), trust=[KEY.public]).outcome is Outcome.TAMPERED
    _, other = sign_later(
        COUNTERSIGN, SigningKey.generate(), digest="ab" * 32, run="r", signed_on="2026-11-23T02:00:00Z", producer={}
    )
    item = next(item for item in ContainerSource(file).layout.items if item.path == path)
    replaced = file[: item.start] + encode_stored(other) + file[item.end :]
    assert verify(replaced, trust=[KEY.public]).outcome is Outcome.TAMPERED
    report = verify(relisted(replaced), trust=[KEY.public])
    assert report.outcome is Outcome.MALFORMED
    assert f"{name}: it is not named after its content" in texts(report)


def test_the_group_of_a_full_report_says_that_nothing_is_withheld(shards):
    reports = shards.pair()
    assert b"Full report." not in ContainerSource(shards.group(reports).out.read_bytes()).view
    full = shards.report(3, 3, view=VIEW + b"<b>Full report.</b>")
    assert b"<b>Full report.</b>" in ContainerSource(shards.group([full]).out.read_bytes()).view


def test_a_group_signed_again_with_another_key_is_untrusted(group):
    other = SigningKey.generate()
    named = base64.b64encode(other.public.raw).decode()
    file = resigned(group, lambda p: p | {"predicate": p["predicate"] | {"identityKey": named}}, other)
    assert verify(file, trust=[KEY.public]).outcome is Outcome.UNTRUSTED
    assert verify(file, trust=[other.public]).outcome is Outcome.VERIFIED


def test_a_group_signed_by_another_key_than_it_names_is_tampered(group):
    report = verify(resigned(group, lambda p: p, SigningKey.generate()), trust=[KEY.public])
    assert report.outcome is Outcome.TAMPERED
    assert "signature of the group statement is wrong" in texts(report)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("group", "g-2"),
        ("total", 3),
        ("runs", []),
        ("missing", [2]),
        ("missingAttempts", [[1, 1]]),
        ("selection", {"collection": COLLECTION, "selected": 2, "covered": True}),
    ],
)
def test_a_signer_cannot_state_other_than_the_runs_show(group, field, value):
    file = resigned(group, lambda p: p | {"predicate": p["predicate"] | {field: value}})
    report = verify(file, trust=[KEY.public])
    assert report.outcome is Outcome.TAMPERED
    assert f"states other {field} than its runs show" in texts(report)


def test_a_signer_cannot_sign_all_green_over_a_red_shard(shards):
    file = shards.group(rerun(shards, denied=True, outcome="failed")).out.read_bytes()

    def greened(payload):
        runs = [run | {"tests": {"passed": 1}} for run in payload["predicate"]["runs"]]
        return payload | {"predicate": payload["predicate"] | {"runs": runs}}

    assert verify(resigned(file, greened), trust=[KEY.public]).outcome is Outcome.TAMPERED


def test_a_signer_cannot_hide_that_a_shard_is_missing(shards):
    file = shards.group([shards.report(1, 3, tests=TESTS[:2]), shards.report(2, 3, tests=TESTS[2:])]).out.read_bytes()
    file = resigned(file, lambda p: p | {"predicate": p["predicate"] | {"missing": []}})
    assert verify(file, trust=[KEY.public]).outcome is Outcome.TAMPERED


def test_a_subject_that_is_added_left_out_or_changed_is_tampered(group):
    def changes(payload):
        subjects = payload["subject"]
        runs = [s for s in subjects if s["name"].startswith("runs/")]
        yield [s for s in subjects if s is not runs[0]]
        yield [*subjects, runs[0] | {"name": "runs/run-9/close.sigstore.json"}]
        yield [s | ({"digest": {"sha256": "ab" * 32}} if s is runs[1] else {}) for s in subjects]
        yield []

    for subject in changes(statements.read_bundle(ContainerSource(group).read(names.GROUP)).payload):
        file = resigned(group, lambda p, new=subject: p | {"subject": new})
        assert verify(file, trust=[KEY.public]).outcome is Outcome.TAMPERED


def test_a_group_without_its_statement_is_malformed(group):
    report = verify(without(group, lambda p: p == names.GROUP), trust=[KEY.public])
    assert report.outcome is Outcome.MALFORMED
    assert "nothing says which runs belong to this group" in texts(report)


def test_a_file_that_is_both_run_and_group_is_malformed(group, made):
    single = ContainerSource(made.file)
    element = made.file[single.layout.view_end + len(container.MARKER) :].splitlines(keepends=True)[0]
    both = group.replace(container.MARKER, container.MARKER + element)
    assert verify(both, trust=[KEY.public]).outcome is Outcome.MALFORMED


def test_a_group_statement_of_another_type_is_malformed(group):
    for change in ({"predicateType": GROUP_TYPE + "x"}, {"_type": "x"}):
        assert verify(resigned(group, lambda p, c=change: p | c), trust=[KEY.public]).outcome is Outcome.MALFORMED


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 20_000) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120)
@given(data=st.data())
def test_no_group_statement_makes_the_verifier_raise_or_believe_it(group, data):
    predicate = dict(statements.read_bundle(ContainerSource(group).read(names.GROUP)).predicate)
    field = data.draw(st.sampled_from(["group", "total", "runs", "missing", "selection", "expected", "identityKey"]))
    value = data.draw(JSON.filter(lambda v: v != predicate[field] and not (field == "expected" and v in (None, 2))))
    file = resigned(group, lambda p: p | {"predicate": p["predicate"] | {field: value}})
    assert verify(file, trust=[KEY.public]).outcome in (Outcome.TAMPERED, Outcome.MALFORMED, Outcome.INCOMPLETE)


@given(JSON)
def test_any_value_is_a_shard_within_its_bounds_or_an_error(value):
    try:
        shard = read_shard(value, "r")
    except EvidenceError:
        return
    assert 1 <= shard.index <= shard.total
    assert shard.attempt >= 1


def test_what_a_shard_says_reaches_the_problems_escaped(shards):
    hostile = "t.py::t\x1b]0;owned\x07\u202e"
    reports = [shards.report(1, tests=[hostile], outcome="failed", group="\x1b[2J"), shards.report(2, group="\x1b[2J")]
    report = shards.group(reports, require=["passed", "commit=x"]).report
    assert all(character.isprintable() or character == "\n" for character in texts(report) + report.group)


def test_verifying_a_group_keeps_no_records(shards, builder, tmp_path):
    peaks = []
    for records in (2_000, 10_000):
        reports = []
        for index in (1, 2):
            opened = builder.opened(
                run=f"r{records}-{index}", shard={"index": index, "total": 2, "group": "g", "attempt": 1}
            )
            opened.main.append("selection", {"selected": [], "collection": collection_digest(frozenset())})
            for _ in range(records):
                opened.main.append("io", {"stream": "stderr", "text": Committed("x" * 40)})
            path = Path(tmp_path / f"r{records}-{index}.html")
            path.write_bytes(opened.close().file)
            reports.append(path)
        out = shards.group(reports).out
        source = ContainerSource(out.read_bytes())
        tracemalloc.start()
        assert verify(source.data).outcome is Outcome.UNTRUSTED
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] * 2 + 4_000_000
