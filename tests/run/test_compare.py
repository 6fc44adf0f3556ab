"""What differs between two runs: whatever is new or gone is named, and a run differs from itself in nothing."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_mcp_governance.errors import EvidenceError
from pytest_mcp_governance.report.since import Named, Since, markdown_lines, plain_item, terminal_lines
from pytest_mcp_governance.run.approved import AgentUse, Effective, Source, Summary, combined, from_json, to_json
from pytest_mcp_governance.run.compare import Comparison, compare

HEAD = "governance: 1\npolicy: books\n"
NARROW = HEAD + "rules:\n- {id: READ, allow: [books.get_*]}\n"
WIDE = HEAD + "rules:\n- {id: READ, allow: [books.*]}\n"

texts = st.text(max_size=12)
names = st.text(min_size=1, max_size=12)
uses = st.builds(AgentUse, st.frozensets(names, max_size=4), st.frozensets(names, max_size=4))
digests = st.text("0123456789abcdef", min_size=4, max_size=4)
policy_texts = st.none() | st.sampled_from([NARROW, WIDE, "no policy"])
sources = st.builds(Source, digests, names, st.sampled_from(["file", "marker"]), policy_texts)
policies = st.builds(
    Effective, names, st.sampled_from(["enforce", "observe"]), st.lists(sources, max_size=2).map(tuple)
)
counts = st.fixed_dictionaries({c: st.integers(0, 9) for c in ("enforce", "observe", "expected")})
summaries = st.builds(
    Summary,
    agents=st.dictionaries(names, uses, max_size=4),
    classes=st.dictionaries(names, texts, max_size=3),
    servers=st.frozensets(names, max_size=3),
    tests=st.dictionaries(names, st.none() | policies, max_size=4),
    findings=st.fixed_dictionaries(dict.fromkeys(("reached", "blocked", "unproven"), counts)),
    signer=st.sampled_from(["", "SHA256:a"]),
    shard=st.sampled_from(["", "1/2"]),
)


def policy(text: str | None, mode: str = "enforce", digest: str = "") -> Effective:
    return Effective(digest or str(text), mode, (Source(digest or str(text), "governance.policy.yaml", "file", text),))


def run(text: str | None = NARROW, tests: str = "ab", **more: object) -> Summary:
    return replace(Summary(tests={name: policy(text) for name in tests}), **more)


def titles(comparison: Comparison) -> list[str]:
    return [difference.what for difference in comparison.differences]


def named(comparison: Comparison) -> set[str]:
    return {part.text for d in comparison.differences for item in d.items for part in item if isinstance(part, Named)}


@given(summaries)
def test_a_run_differs_from_itself_in_nothing(summary):
    comparison = compare(summary, summary, signer=summary.signer)
    assert comparison.differences == () and comparison.notes == ()


@given(summaries)
def test_an_approval_gives_back_the_summary_that_was_written(summary):
    assert from_json(to_json(summary)) == summary


@given(st.lists(summaries, min_size=1, max_size=3))
def test_what_shards_had_together_is_what_any_of_them_had(parts):
    whole = combined(parts)
    for part in parts:
        comparison = compare(whole, replace(part, shard=""))
        assert not comparison.new_agents + comparison.new_servers + comparison.new_tests
        assert not comparison.new_tools + comparison.new_scopes
    for state, row in whole.findings.items():
        assert row == {column: sum(part.findings[state][column] for part in parts) for column in row}


@given(summaries, st.data())
def test_a_summary_that_was_broken_is_refused_or_read_as_something(summary, data):
    written = to_json(summary)
    key = data.draw(st.sampled_from(sorted(written)))
    written[key] = data.draw(
        st.none() | st.integers() | st.text() | st.lists(st.none()) | st.dictionaries(texts, texts)
    )
    with contextlib.suppress(EvidenceError):
        assert isinstance(from_json(written), Summary)


@given(summaries, summaries)
def test_every_added_element_is_named(before, after):
    before, after = replace(before, shard=""), replace(after, shard="")
    comparison = compare(before, after)
    seen = named(comparison)
    for name, use in after.agents.items():
        known = before.agents.get(name)
        assert known is not None or name in seen
        assert (use.tools - (known.tools if known else frozenset())) <= seen
        assert (use.scopes - (known.scopes if known else frozenset())) <= seen
    assert after.servers - before.servers <= seen
    assert set(after.tests) ^ set(before.tests) <= seen
    assert set(before.agents) - set(after.agents) <= seen


@given(summaries, summaries)
def test_what_is_new_one_way_is_gone_the_other_way(one, other):
    there, back = compare(one, other), compare(other, one)
    assert there.new_tools == back.gone_tools
    assert there.new_scopes == back.gone_scopes
    assert there.new_tests == back.gone_tests
    assert there.new_agents == back.gone_agents


def test_a_wider_policy_comes_first_and_names_the_tool():
    after = run(WIDE, tests="a", agents={"clerk": AgentUse(frozenset({"books.pay"}), frozenset({"finance"}))},
                classes={"finance": "pii"}, servers=frozenset({"books"}))  # fmt: skip
    comparison = compare(run(), after)
    assert titles(comparison) == [
        "Wider policy",
        "New data scopes",
        "New agents",
        "New tools",
        "Fewer tests",
        "New servers",
    ]
    assert all(difference.weight == "warn" for difference in comparison.differences)
    assert "books.*" in named(comparison)
    assert {"finance", "pii", "clerk", "books.pay", "b"} <= named(comparison)


def test_a_narrower_policy_is_a_note():
    comparison = compare(run(WIDE), run(NARROW))
    assert titles(comparison) == ["Narrower policy"]
    assert comparison.differences[0].weight == "note"


def test_no_policy_any_more_is_wider():
    assert titles(compare(run(), replace(run(), tests={"a": None, "b": None}))) == ["Wider policy"]


def test_a_policy_that_only_observes_now_is_wider_though_its_text_is_the_same():
    after = replace(run(), tests={name: policy(NARROW, "observe") for name in "ab"})
    assert titles(compare(run(), after)) == ["Wider policy"]
    assert titles(compare(after, run())) == ["Narrower policy"]


@pytest.mark.parametrize("text", [None, "no policy: at all", "governance: 99\n"])
def test_a_policy_that_cannot_be_compared_counts_as_wider(text):
    assert titles(compare(run(), run(text))) == ["Wider policy"]


def test_a_test_that_lost_its_marks_policy_is_wider_though_another_test_is_as_before():
    tight = Effective(
        "both", "enforce", (*policy(NARROW).sources, Source("m", "m.yaml", "marker", HEAD + "rules: []\n"))
    )
    before = Summary(tests={"a": tight, "b": policy(WIDE)})
    after = Summary(tests={"a": policy(WIDE), "b": policy(WIDE)})
    assert titles(compare(before, after)) == ["Wider policy"]


def test_a_suite_of_new_tests_does_not_hide_a_wider_policy():
    assert "Wider policy" in titles(compare(run(NARROW, "ab"), run(WIDE, "xy")))


def test_fewer_tests_is_a_warning_of_its_own_and_more_tests_a_note():
    assert [(d.what, d.weight) for d in compare(run(tests="abc"), run(tests="ax")).differences] == [
        ("Fewer tests", "warn"),
        ("New tests", "note"),
    ]


def test_a_shard_does_not_say_that_the_other_shards_tests_are_gone():
    comparison = compare(run(tests="abcd"), run(tests="a", shard="1/4"))
    assert comparison.differences == ()
    assert "one shard" in comparison.notes[0]


def test_more_findings_warn_and_fewer_are_a_note():
    some = {"reached": {"enforce": 1}, "blocked": {"enforce": 0, "observe": 2}}
    assert titles(compare(run(), run(findings=some))) == ["More findings"]
    assert titles(compare(run(findings=some), run())) == ["Fewer findings"]


def test_another_signer_is_told_only_where_the_approved_one_was_confirmed():
    assert titles(compare(run(signer="SHA256:a"), run(), signer="SHA256:b")) == ["Another signer"]
    assert titles(compare(run(), run(), signer="SHA256:b")) == []


def test_too_many_pairs_of_policies_count_as_wider_and_say_so():
    before = Summary(tests={str(n): policy(NARROW, digest=f"b{n}") for n in range(40)})
    after = Summary(tests={str(n): policy(NARROW, digest=f"a{n}") for n in range(40)})
    (difference,) = compare(before, after).differences
    assert difference.what == "Wider policy"
    assert "24 more combinations" in plain_item(difference.items[0])


def since(comparison: Comparison, by: str = "") -> Since:
    return Since("run-1", "c" * 64, "2026-11-23T00:00:00Z", by, "", "SHA256:k", False, "governance.approved.json",
                 comparison.differences, comparison.notes)  # fmt: skip


@given(summaries, summaries)
def test_the_terminal_gets_at_most_eight_lines(before, after):
    assert 1 <= len(terminal_lines(since(compare(before, after)))) <= 8


def test_a_very_long_name_does_not_fill_the_terminal():
    (_, line) = terminal_lines(since(compare(run(tests="a"), run(tests="a", servers=frozenset({"x" * 5_000})))))
    assert line == f"  new servers: {'x' * 120}…"


def test_the_terminal_says_that_nothing_changed():
    assert terminal_lines(since(compare(run(), run()))) == ["since approved run run-1 (2026-11-23): nothing changed"]


def test_markdown_holds_hostile_names_in_code_spans():
    hostile = "<img src=x>|`@everyone [a](b)\u202e"
    after = run(agents={hostile: AgentUse(frozenset({hostile}), frozenset({hostile}))})
    text = "\n".join(markdown_lines(since(compare(run(), after), by=hostile)))
    assert "\u202e" not in text
    for line in text.splitlines():
        outside = line
        for span in ("``" + part + "``" for part in line.split("``")[1::2]):
            outside = outside.replace(span, "")
        assert "<img" not in outside and "@everyone" not in outside
