"""Every message gets one answer before it is forwarded; nothing, the unknown and an error are never permission."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_mcp_governance.policy.engine import Judge
from pytest_mcp_governance.policy.events import Event
from tests.policy.cases import BOOKS, TOKEN, Bench, Broken, Links, policy, rules, rules_of, text_result

OBSERVING = BOOKS + "mode: observe\n"
ANY = rules("{id: ANY, allow: ['*.*'], allow_resources: ['**'], allow_prompts: ['*.*']}".replace("'**'", "'*:**'"))


def test_what_a_rule_allows_is_forwarded() -> None:
    decision = Bench(BOOKS).call("books.get_vendor", {"id": "v1"})
    assert (decision.verdict, decision.rule, decision.clause, decision.effect) == ("allow", "READ", "allow", "forward")
    assert decision.source == "test.policy.yaml:4"


@pytest.mark.parametrize("target", ["books.delete_bill", "books.GET_vendor", "bank.get_vendor", "books.read_secrets"])
def test_what_no_rule_allows_is_denied(target: str) -> None:
    decision = Bench(BOOKS).call(target)
    assert (decision.verdict, decision.rule, decision.effect) == ("deny", "DEFAULT-DENY", "block")


def test_deny_wins_over_allow_wherever_it_stands() -> None:
    text = rules("{id: READ, allow: ['books.*']}", "{id: NOT, deny: ['books.delete_*'], controls: [SOC2:CC6.1]}")
    decision = Bench(text).call("books.delete_bill")
    assert (decision.verdict, decision.rule, decision.controls) == ("deny", "NOT", ("SOC2:CC6.1",))


def test_a_rule_for_some_agents_allows_no_other() -> None:
    text = rules("{id: R, allow: ['books.*'], to: [payables]}", head='agents: {payables: ["payables-*"]}')
    bench = Bench(text)
    assert bench.call("books.x", agent="payables-3").verdict == "allow"
    assert bench.call("books.x", agent="payables").verdict == "deny"
    assert bench.call("books.x", agent="x-payables-3").verdict == "deny"


def test_within_a_source_one_allow_is_enough() -> None:
    text = rules("{id: A, allow: ['a.pay'], args: {n: {max: 5}}}", "{id: B, allow: ['a.pay'], args: {n: {min: 90}}}")
    bench = Bench(text)
    assert [bench.call("a.pay", {"n": n}).rule for n in (5, 90)] == ["A", "B"]
    assert (bench.call("a.pay", {"n": 50}).verdict, bench.call("a.pay", {"n": 50}).rule) == ("deny", "A")


def test_every_source_must_allow() -> None:
    narrow = rules("{id: ONE, allow: ['books.get_vendor']}")
    bench = Bench(BOOKS, narrow)
    assert bench.call("books.get_vendor").verdict == "allow"
    assert bench.call("books.get_bill").verdict == "deny"


def test_a_constraint_only_limits() -> None:
    limit = rules("{id: NO-BILL, deny: ['books.get_bill']}", head="kind: constraint")
    bench = Bench(BOOKS, limit)
    assert bench.call("books.get_vendor").verdict == "allow"
    assert bench.call("books.get_bill").rule == "NO-BILL"
    assert Bench(limit).call("books.get_vendor").verdict == "deny"


def test_a_written_rule_is_named_before_the_default() -> None:
    limit = rules("{id: NOT, deny: ['books.pay']}", head="kind: constraint")
    assert Bench(BOOKS, limit).call("books.pay").rule == "NOT"


def test_observe_blocks_nothing_and_says_so() -> None:
    bench = Bench(OBSERVING)
    decision = bench.call("books.pay")
    assert (decision.verdict, decision.effect, decision.rule) == ("observe", "forward", "DEFAULT-DENY")
    finding = bench.judge.conclude()[0]
    assert (finding.state, finding.mode, finding.expected) == ("reached", "observe", False)


@pytest.mark.parametrize(
    ("texts", "mode", "expected"),
    [
        ([BOOKS], None, "enforce"),
        ([BOOKS], "observe", "enforce"),
        ([OBSERVING], None, "observe"),
        ([OBSERVING], "enforce", "enforce"),
        ([OBSERVING, BOOKS], None, "enforce"),
        ([], "enforce", "none"),
    ],
)
def test_the_mode_can_only_be_tightened(texts: list[str], mode: object, expected: str) -> None:
    assert Bench(*texts, mode=mode).judge.mode == expected  # type: ignore[arg-type]  # parametrised over both modes


def test_without_a_policy_a_call_of_another_shape_passes() -> None:
    bench = Bench()
    assert bench.decide(bench.ask("tools/call", [])).rule == "NOT-JUDGED"
    assert bench.judge.standing() == ()


def test_without_a_policy_a_message_too_large_for_the_detectors_passes_and_is_told() -> None:
    bench = Bench()
    assert bench.call("a.b", {"a": nested(200)}).effect == "forward"
    assert [(finding.rule, finding.state, finding.mode) for finding in bench.judge.standing()] == [
        ("ERROR", "unproven", "observe")
    ]


def test_without_a_policy_nothing_is_judged_or_blocked() -> None:
    bench = Bench()
    request = bench.call_event("bank.pay", {"n": 1})
    decision = bench.decide(request)
    assert not bench.judge.judged
    assert (decision.verdict, decision.rule, decision.effect) == ("allow", "NOT-JUDGED", "forward")
    assert [(access.status, access.data) for access in decision.accesses] == [("unresolved", "bank.pay")]
    for event in (
        bench.ask("sampling/createMessage"),
        bench.ask("no/such/method"),
        dataclasses.replace(request, kind="invalid", problems=("duplicate-key",)),
    ):
        assert bench.decide(event).effect == "forward"
    assert rules_of(bench.judge.conclude()) == []


@pytest.mark.parametrize(
    "method",
    [
        "initialize",
        "ping",
        "server/discover",
        "tools/list",
        "resources/list",
        "resources/templates/list",
        "prompts/list",
    ],
)
def test_the_lifecycle_and_lists_are_allowed(method: str) -> None:
    bench = Bench(BOOKS)
    request = bench.ask(method)
    assert (bench.decide(request).rule, bench.answer(request, {}).rule) == ("PROTOCOL", "PROTOCOL")


@pytest.mark.parametrize("method", ["tools/delete", "tasks/get", "Tools/Call", "tools/call ", "x", ""])
def test_an_unknown_method_is_denied_in_enforce_and_flagged_in_observe(method: str) -> None:
    assert Bench(ANY).decide(Bench(ANY).ask(method)).verdict == "deny"
    bench = Bench(OBSERVING)
    request = bench.ask(method)
    assert (bench.decide(request).verdict, bench.answer(request, {}).verdict) == ("observe", "allow")
    assert len(bench.judge.standing()) == 1


def test_a_server_may_not_call_tools_of_the_agent() -> None:
    bench = Bench(ANY)
    event = dataclasses.replace(bench.call_event("books.get_vendor"), direction="s2c")
    assert bench.decide(event).verdict == "deny"


def test_an_unknown_notification_is_dropped() -> None:
    bench = Bench(ANY)
    event = dataclasses.replace(bench.ask("notifications/tasks/status"), kind="notification", direction="s2c")
    assert (bench.decide(event).verdict, bench.decide(event).effect) == ("deny", "block")


@pytest.mark.parametrize(
    "params",
    [
        None, [], "x", 5, {}, {"name": None}, {"name": ""}, {"name": 5}, {"name": ["get_vendor"]},
        {"name": "get_vendor", "arguments": []}, {"name": "get_vendor", "arguments": "x"},
        {"name": "get_vendor", "inputResponses": []},
    ],
)  # fmt: skip
def test_a_call_of_another_shape_is_an_error_and_denied(params: object) -> None:
    bench = Bench(ANY)
    decision = bench.decide(bench.ask("tools/call", params))
    assert (decision.verdict, decision.rule, decision.effect) == ("deny", "ERROR", "block")


def test_a_message_that_names_two_tools_is_denied() -> None:
    bench = Bench(ANY)
    event = dataclasses.replace(bench.call_event("books.get_vendor"), tool="get_bill")
    assert bench.decide(event).rule == "ERROR"


def nested(depth: int) -> object:
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("arguments", [{"a": nested(200)}, {"a": nested(50_000)}, {"a": [0] * 1_000_001}])
def test_arguments_too_deep_or_too_many_are_denied(arguments: object) -> None:
    decision = Bench(ANY).call("books.get_vendor", arguments)
    assert (decision.verdict, decision.rule, decision.clause) == ("deny", "ERROR", "size")


def test_an_exception_while_deciding_is_a_denial_and_never_only_observed() -> None:
    text = rules("{id: R, allow: ['a.b'], args: {p: {within: /srv}}}")
    for mode, verdict in (("enforce", "deny"), ("observe", "observe")):
        judge = Judge([policy(f"{text}\nmode: {mode}")], mode=None, resolver=Broken())
        event = Event(
            "main/1", "c2s", "request", "tools/call", "c", "a", "x", "b", {"name": "b", "arguments": {"p": "/q"}}
        )
        decision = judge.decide(event)
        assert (decision.verdict, decision.rule, decision.reason) == (verdict, "ERROR", "error while deciding: OSError")
        assert judge.conclude()[0].mode == "enforce"


@pytest.mark.parametrize(("text", "verdict", "effect"), [(BOOKS, "deny", "block"), (OBSERVING, "observe", "forward")])
def test_a_malformed_message_is_denied_in_enforce(text: str, verdict: str, effect: str) -> None:
    bench = Bench(text)
    for event in (
        dataclasses.replace(bench.call_event("books.get_vendor"), problems=("duplicate-key",)),
        dataclasses.replace(bench.call_event("books.get_vendor"), kind="invalid", params=None),
    ):
        decision = bench.decide(event)
        assert (decision.verdict, decision.rule, decision.effect) == (verdict, "MALFORMED", effect)


def test_a_malformed_answer_is_replaced_so_that_nobody_waits_for_it() -> None:
    bench = Bench(BOOKS)
    request = bench.call_event("books.get_vendor")
    bench.decide(request)
    broken = dataclasses.replace(bench.answer_event(request, {}), kind="invalid", problems=("nan",))
    assert bench.decide(broken, request).effect == "replace"


@pytest.mark.parametrize("agent", [None, ""])
def test_an_unknown_agent_may_greet_but_not_act(agent: str | None) -> None:
    bench = Bench(ANY)
    assert bench.decide(bench.ask("initialize", agent=agent)).verdict == "allow"
    assert rules_of(bench.judge.standing()) == ["UNKNOWN-AGENT"]
    decision = bench.call("books.get_vendor", agent=agent)
    assert (decision.verdict, decision.rule) == ("deny", "UNKNOWN-AGENT")
    assert [finding.state for finding in bench.judge.standing()] == ["blocked"]


def test_an_answer_to_nothing_or_to_a_blocked_request_is_dropped() -> None:
    bench = Bench(BOOKS)
    request = bench.call_event("books.pay")
    bench.decide(request)
    for asked in (None, request):
        decision = bench.decide(bench.answer_event(request, text_result("x")), asked)
        assert (decision.verdict, decision.clause, decision.effect) == ("deny", "unsolicited", "block")


RESOURCES = rules("{id: R, allow_resources: ['file:///srv/ap/**', 'db://ap/*'], allow_prompts: ['books.summary']}")


@pytest.mark.parametrize("method", ["resources/read", "resources/subscribe", "resources/unsubscribe"])
def test_resources_are_allowed_by_uri(method: str) -> None:
    bench = Bench(RESOURCES)

    def verdict(uri: str) -> str:
        return bench.decide(bench.ask(method, {"uri": uri})).verdict

    assert [verdict(uri) for uri in ("file:///srv/ap/a/b", "db://ap/x")] == ["allow", "allow"]
    outside = [
        "file:///srv/hr/a", "db://ap/x/y", "file:///srv/ap/../hr/a", "file:///srv/ap/%2e%2e/hr/a", "file:///srv/ap",
        "file:///srv/ap/a\\..\\b", "file:///srv/ap%2fx", "FILE:///srv/ap/a", " file:///srv/ap/a", "db://ap/..",
    ]  # fmt: skip
    assert [uri for uri in outside if verdict(uri) != "deny"] == []


def test_within_holds_a_file_resource_behind_its_symlinks() -> None:
    text = rules("{id: F, allow_resources: ['file:///srv/ap/**'], args: {uri: {within: /srv/ap, resolve: symlinks}}}")
    bench = Bench(text, links={"/srv/ap/out": "/etc"})
    good, bad = ("file:///srv/ap/a", "file:///srv/ap/out/passwd")
    decisions = [bench.decide(bench.ask("resources/read", {"uri": uri})) for uri in (good, bad)]
    assert [decision.verdict for decision in decisions] == ["allow", "deny"]
    assert decisions[1].resolved == {"/srv/ap/out/passwd": "/etc/passwd", "/srv/ap": "/srv/ap"}


def test_prompts_are_allowed_by_server_and_name() -> None:
    bench = Bench(RESOURCES)
    assert bench.decide(bench.ask("prompts/get", {"name": "summary"})).verdict == "allow"
    assert bench.decide(bench.ask("prompts/get", {"name": "summary2"})).verdict == "deny"
    assert bench.decide(bench.ask("prompts/get", {"name": "summary"}, server="bank")).verdict == "deny"


@pytest.mark.parametrize(
    ("ref", "verdict"),
    [
        ({"type": "ref/prompt", "name": "summary"}, "allow"),
        ({"type": "ref/prompt", "name": "other"}, "deny"),
        ({"type": "ref/resource", "uri": "file:///srv/ap/{name}"}, "allow"),
        ({"type": "ref/resource", "uri": "file:///srv/{team}/x"}, "deny"),
        ({"type": "ref/other", "uri": "file:///srv/ap/x"}, "deny"),
        ({}, "deny"),
        ("x", "deny"),
    ],
)
def test_completion_is_allowed_iff_what_it_refers_to_is(ref: object, verdict: str) -> None:
    bench = Bench(RESOURCES)
    assert (
        bench.decide(bench.ask("completion/complete", {"ref": ref, "argument": {"name": "n", "value": "v"}})).verdict
        == verdict
    )


def test_a_subscription_needs_every_uri_allowed() -> None:
    bench = Bench(RESOURCES)

    def verdict(*uris: str) -> str:
        return bench.decide(
            bench.ask("subscriptions/listen", {"notifications": {"resourceSubscriptions": [*uris]}})
        ).verdict

    assert verdict() == verdict("db://ap/x") == "allow"
    assert verdict("db://ap/x", "db://hr/x") == verdict("db://hr/x", "db://ap/x") == "deny"


ASKED = {"sampling": "sampling/createMessage", "elicitation": "elicitation/create"}


@pytest.mark.parametrize("kind", ["sampling", "elicitation"])
def test_a_server_asks_the_agent_s_side_only_where_allowed(kind: str) -> None:
    allowed = BOOKS + f"protocol: {{{kind}: {{allow: true}}}}\n"
    limit = rules("{id: NOT, deny: ['a.b']}", head=f"kind: constraint\nprotocol: {{{kind}: {{allow: false}}}}")
    for texts, verdict in (
        ([BOOKS], "deny"),
        ([allowed], "allow"),
        ([allowed, BOOKS], "deny"),
        ([allowed, limit], "deny"),
    ):
        bench = Bench(*texts)
        request = dataclasses.replace(bench.ask(ASKED[kind]), direction="s2c")
        assert bench.decide(request).verdict == verdict
        if verdict == "allow":
            assert bench.answer(request, {"role": "user"}).verdict == "allow"


@pytest.mark.parametrize(
    ("uri", "verdict"),
    [
        ("file:///srv/ap", "allow"),
        ("file:///srv/ap/sub", "allow"),
        ("file:///srv", "deny"),
        ("file:///srv/ap2", "deny"),
        ("file:///srv/ap/out", "deny"),
        ("file:///srv/ap/..", "deny"),
        ("https://srv/ap", "deny"),
    ],
)
def test_roots_that_the_client_names_stay_inside_the_limit(uri: str, verdict: str) -> None:
    bench = Bench(BOOKS + "protocol: {roots: {max: ['file:///srv/ap']}}\n", links={"/srv/ap/out": "/etc"})
    request = dataclasses.replace(bench.ask("roots/list"), direction="s2c")
    assert bench.decide(request).verdict == "allow"
    decision = bench.answer(request, {"roots": [{"uri": "file:///srv/ap"}, {"uri": uri}]})
    assert (decision.verdict, decision.effect) == (verdict, "forward" if verdict == "allow" else "replace")


def test_roots_are_not_told_unless_a_policy_says_which() -> None:
    bench = Bench(BOOKS)
    request = dataclasses.replace(bench.ask("roots/list"), direction="s2c")
    bench.decide(request)
    assert bench.answer(request, {"roots": []}).effect == "replace"


def test_the_policy_looks_inside_results_that_ask_for_input() -> None:
    bench = Bench(BOOKS)
    request = bench.call_event("books.get_vendor")
    bench.decide(request)
    asking = {"resultType": "input_required", "inputRequests": {"q": {"method": "elicitation/create", "params": {}}}}
    assert bench.answer(request, asking).effect == "replace"
    told = {"name": "get_vendor", "inputResponses": {"q": {"roots": [{"uri": "file:///"}]}}}
    assert bench.decide(bench.ask("tools/call", told)).verdict == "deny"


def test_input_that_the_policy_allows_passes() -> None:
    bench = Bench(BOOKS + "protocol: {elicitation: {allow: true}}\n")
    request = bench.call_event("books.get_vendor")
    bench.decide(request)
    asking = {"resultType": "input_required", "inputRequests": {"q": {"method": "elicitation/create", "params": {}}}}
    assert bench.answer(request, asking).verdict == "allow"
    told = {"name": "get_vendor", "arguments": {}, "inputResponses": {"q": {"action": "accept"}}}
    assert bench.decide(bench.ask("tools/call", told)).verdict == "allow"
    unknown = {"resultType": "input_required", "inputRequests": {"q": {"method": "x/y"}}}
    assert bench.answer(request, unknown).verdict == "deny"


def test_a_plain_decision_is_not_reused_for_a_call_with_a_secret() -> None:
    bench = Bench(BOOKS)
    assert bench.call("books.get_vendor", {"id": "v1"}).accesses[0].scope is None
    assert "builtin.secret" in [access.scope for access in bench.call("books.get_vendor", {"id": TOKEN}).accesses]


POOL = [
    "{id: A, allow: ['a.*']}",
    "{id: B, allow: ['*.get_*', 'b.pay'], to: ['x*']}",
    "{id: C, allow: ['{a,b}.pay'], args: {n: {type: integer, max: 5}}}",
    "{id: D, allow: ['*.*'], data: [ap], unresolved: deny}",
    "{id: E, allow: ['b.*'], data: [ap, hr]}",
    "{id: F, deny: ['b.get_*']}",
    "{id: G, deny: ['*.pay'], to: ['y']}",
]
SCOPES = "data: {ap: {paths: ['/srv/ap/**'], detect: [iban]}, hr: {class: pii, paths: ['/srv/hr/**'], detect: [email]}}"
CALLS = st.tuples(
    st.sampled_from(["a.get_x", "b.get_x", "b.pay", "a.pay", "c.x"]),
    st.dictionaries(
        st.sampled_from(["n", "path"]),
        st.sampled_from([1, 6, "1", "/srv/ap/a", "/srv/hr/a", "/etc", "a@b.example", None]),
    ),
    st.sampled_from(["x", "y", None]),
)
SOURCES = st.lists(st.sampled_from(POOL), min_size=1, max_size=5, unique=True)


def text_of(chosen: list[str]) -> str:
    head = SCOPES if any("allow" in line for line in chosen) else f"{SCOPES}\nkind: constraint"
    return rules(*chosen, head=head)


def allowed(texts: list[str], calls: list[tuple[str, object, str | None]]) -> list[bool]:
    bench = Bench(*texts)
    return [bench.call(target, arguments, agent=agent).verdict == "allow" for target, arguments, agent in calls]


ALLOWING = SOURCES.filter(lambda chosen: any("allow" in line for line in chosen))


@given(ALLOWING, SOURCES, st.lists(CALLS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_another_source_never_widens(
    one: list[str], two: list[str], calls: list[tuple[str, object, str | None]]
) -> None:
    alone, both = allowed([text_of(one)], calls), allowed([text_of(one), text_of(two)], calls)
    assert [after for before, after in zip(alone, both, strict=True) if after and not before] == []


@given(SOURCES, st.sampled_from(POOL[-2:]), st.lists(CALLS, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_another_deny_rule_never_widens(
    chosen: list[str], deny: str, calls: list[tuple[str, object, str | None]]
) -> None:
    more = chosen if deny in chosen else [*chosen, deny]
    before, after = allowed([text_of(chosen)], calls), allowed([text_of(more)], calls)
    assert [new for old, new in zip(before, after, strict=True) if new and not old] == []


@given(SOURCES, st.lists(CALLS, min_size=1, max_size=4))
@settings(max_examples=40, deadline=None)
def test_the_same_messages_get_the_same_decisions(
    chosen: list[str], calls: list[tuple[str, object, str | None]]
) -> None:
    def run() -> list[object]:
        bench = Bench(text_of(chosen))
        return [*(bench.call(target, args, agent=agent) for target, args, agent in calls), *bench.judge.conclude()]

    assert run() == run()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "uri", "ref", "arguments"]), inner)
    ),
    max_leaves=6,
)
METHODS = st.sampled_from(
    [
        "tools/call",
        "resources/read",
        "prompts/get",
        "completion/complete",
        "roots/list",
        "sampling/createMessage",
        "x",
        None,
    ]
)


@given(
    st.sampled_from(["c2s", "s2c"]),
    st.sampled_from(["request", "result", "error", "notification", "invalid"]),
    METHODS,
    JSON,
    JSON,
    st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_any_message_gets_an_answer(
    direction: str, kind: str, method: str | None, params: object, result: object, asked: bool
) -> None:
    judge = Judge([policy(ANY)], mode=None, resolver=Links())
    event = Event("main/2", direction, kind, method, "c", "s", "a", None, params, result)  # type: ignore[arg-type]  # drawn
    opposite = "s2c" if direction == "c2s" else "c2s"
    request = Event("main/1", opposite, "request", method, "c", "s", "a", None, params)  # type: ignore[arg-type]  # drawn
    decision = judge.decide(event, request if asked else None)
    assert (decision.effect == "forward") == (decision.verdict == "allow")
    for finding in judge.conclude():
        assert finding.describe()
