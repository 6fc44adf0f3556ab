"""What a call touched: declared place first, detection second; in, out or unresolved."""

import json

import pytest

from pytest_mcp_governance.policy.data import collect
from pytest_mcp_governance.policy.engine import Decision
from tests.policy.cases import BOOKS, TOKEN, Bench, rules, text_result

HEAD = """\
data:
  ap.invoice: {resources: ["file:///srv/ap/**", "db://ap/*"], hosts: [app.acme.example, "*.acme.test"]}
  finance.account: {results: {bank.get_account: ["$.iban"], "books.*": ["$.bank.*"]}, detect: [iban]}
  hr.employee: {class: pii, paths: [/srv/hr/**], results: {workday.get_worker: ["$.name"]}, detect: [us_ssn, email]}
  web: {class: untrusted, results: {"browser.*": ["$"]}}
  vault: {class: secret, paths: [/srv/vault], detect: [vendor_tokens]}
"""
FREE = rules("{id: FREE, allow: ['*.*'], allow_resources: ['*:**']}", head=HEAD)
LIMITED = rules("{id: AP, allow: ['*.*'], allow_resources: ['*:**'], data: [ap.invoice, finance.account]}", head=HEAD)
STRICT = LIMITED.replace("finance.account]", "finance.account], unresolved: deny")
IBAN = "DE89370400440532013000"


def seen(decision: Decision) -> list[tuple[str | None, str, str]]:
    return [(access.scope, access.status, access.how) for access in decision.accesses]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"path": "/srv/ap/1.pdf"}, [("ap.invoice", "in", "argument")]),
        ({"path": "/srv/ap"}, [("ap.invoice", "in", "argument")]),
        ({"path": "file:///srv/ap/1.pdf"}, [("ap.invoice", "in", "argument")]),
        ({"a": {"b": ["/srv/ap/1.pdf"]}}, [("ap.invoice", "in", "argument")]),
        ({"path": "/srv/ap/../hr/x"}, [("hr.employee", "out", "argument")]),
        ({"path": "/srv/ap/link/x"}, [("hr.employee", "out", "argument")]),
        ({"path": "/etc/passwd"}, [(None, "out", "argument")]),
        ({"url": "https://app.acme.example/x"}, [("ap.invoice", "in", "argument")]),
        ({"url": "https://a.acme.test/x"}, [("ap.invoice", "in", "argument")]),
        ({"url": "https://app.acme.example.evil.example/"}, [(None, "out", "argument")]),
        ({"uri": "db://ap/7"}, [("ap.invoice", "in", "argument")]),
        ({"path": "ap/1.pdf"}, [(None, "unresolved", "argument")]),
        ({"path": "../hr/x"}, [(None, "unresolved", "argument")]),
        ({"url": "https://a b/"}, [(None, "unresolved", "argument")]),
        ({"url": " https://evil.example/"}, [(None, "out", "argument")]),
        ({"url": "ht\ttps://evil.example/"}, [(None, "out", "argument")]),
        ({"url": "https://evil.example/" + "x" * 9000}, [(None, "out", "argument")]),
        (
            {"url": "https:evil.example", "b": "db://ap/1"},
            [(None, "unresolved", "argument"), ("ap.invoice", "in", "argument")],
        ),
        ({"image": "/9j/" + "A/" * 5000}, [(None, "unresolved", "argument")]),
        ({"id": "v1"}, [(None, "unresolved", "argument")]),
        ({"to": "ann@acme.example"}, [("hr.employee", "out", "detected")]),
        ({"account": IBAN}, [("finance.account", "in", "detected"), (None, "unresolved", "argument")]),
    ],
)
def test_arguments_are_resolved_before_the_call(arguments: object, expected: list[tuple[str | None, str, str]]) -> None:
    decision = Bench(LIMITED, links={"/srv/ap/link": "/srv/hr"}).call("x.y", arguments)
    assert seen(decision) == expected
    assert decision.verdict == ("deny" if any(status == "out" for _, status, _ in expected) else "allow")


def test_an_out_of_scope_call_names_the_place_and_the_limit() -> None:
    decision = Bench(LIMITED).call("x.y", {"path": "/etc/passwd"})
    assert (decision.rule, decision.clause) == ("AP", "data.out")
    assert "/etc/passwd" in decision.reason
    assert "ap.invoice, finance.account" in decision.reason


def test_without_a_limit_every_known_scope_is_in() -> None:
    bench = Bench(FREE)
    assert seen(bench.call("x.y", {"path": "/srv/hr/x"})) == [("hr.employee", "in", "argument")]
    assert seen(bench.call("x.y", {"path": "/etc/passwd"})) == [(None, "unresolved", "argument")]


@pytest.mark.parametrize("arguments", [{}, {"path": "x"}, {"path": "/srv/ap/a", "to": "../b"}])
def test_unresolved_is_blocked_only_where_the_rule_says_so(arguments: object) -> None:
    assert Bench(LIMITED).call("x.y", arguments).verdict == "allow"
    assert Bench(STRICT).call("x.y", arguments).clause == "data.unresolved"


def test_unresolved_waits_for_the_result_where_one_is_declared() -> None:
    bench = Bench(STRICT)
    call, answer = bench.exchange("bank.get_account", {}, text_result(json.dumps({"iban": IBAN})))
    assert (call.verdict, answer.verdict) == ("allow", "allow")
    call, answer = bench.exchange("bank.get_account", {}, text_result("nothing to see"))
    assert (call.verdict, answer.clause, answer.effect) == ("allow", "data.unresolved", "replace")


def test_a_failed_call_is_not_withheld_for_carrying_no_data() -> None:
    bench = Bench(STRICT)
    _, answer = bench.exchange("bank.get_account", {}, text_result("no such account") | {"isError": True})
    assert answer.verdict == "allow"


@pytest.mark.parametrize(
    "result",
    [
        text_result(json.dumps({"iban": IBAN})),
        {"content": [], "structuredContent": {"iban": IBAN}},
        {"content": [], "structuredContent": {"result": {"iban": IBAN}}},
        {"content": [{"type": "resource", "resource": {"uri": "db://ap/1", "text": json.dumps({"iban": IBAN})}}]},
    ],
)
def test_results_are_read_wherever_a_server_puts_them(result: object) -> None:
    _, answer = Bench(LIMITED).exchange("bank.get_account", {}, result)
    access = next(access for access in answer.accesses if access.scope == "finance.account")
    assert (access.status, access.how, access.data, access.fields) == (
        "in",
        "result",
        "bank.get_account $.iban",
        (IBAN,),
    )


def test_a_result_out_of_scope_is_withheld() -> None:
    bench = Bench(LIMITED)
    _, answer = bench.exchange("workday.get_worker", {}, text_result(json.dumps({"name": "Ann Hart", "id": 3})))
    assert (answer.verdict, answer.effect, answer.rule) == ("deny", "replace", "AP")
    finding = bench.judge.conclude()[0]
    assert (finding.state, finding.scope, finding.tool) == ("blocked", "hr.employee", "get_worker")


def test_a_result_out_of_scope_is_only_recorded_when_observing() -> None:
    bench = Bench(f"{LIMITED}\nmode: observe")
    _, answer = bench.exchange("workday.get_worker", {}, text_result('{"name": "Ann Hart"}'))
    assert (answer.verdict, answer.effect) == ("observe", "forward")
    assert bench.judge.conclude()[0].state == "reached"


def test_each_matched_value_stands_on_its_own() -> None:
    _, answer = Bench(FREE).exchange("books.x", {}, text_result(json.dumps({"bank": {"a": "A", "b": ["B", {"c": 3}]}})))
    assert answer.accesses[0].fields == ("A", "B", 3)


def test_a_declared_label_comes_before_detection() -> None:
    text = text_result(json.dumps({"name": "ann@acme.example", "boss": "bob@acme.example"}))
    _, answer = Bench(FREE).exchange("workday.get_worker", {}, text)
    assert [(a.how, a.fields) for a in answer.accesses] == [
        ("result", ("ann@acme.example",)),
        ("detected", ("bob@acme.example",)),
    ]


def test_untrusted_labels_a_source_and_limits_nothing() -> None:
    _, answer = Bench(LIMITED).exchange("browser.snapshot", {}, text_result("hello"))
    assert (answer.verdict, seen(answer)) == ("allow", [("web", "in", "result")])


def test_an_error_answer_is_a_leak_channel_and_is_judged() -> None:
    bench = Bench(LIMITED)
    request = bench.call_event("x.y")
    bench.decide(request)
    leak = bench.answer(request, None, error={"code": 1, "message": "x", "data": {"trace": "ann@acme.example"}})
    assert (leak.verdict, leak.effect, leak.clause) == ("deny", "replace", "data.out")


def test_a_resource_read_is_an_access_by_uri() -> None:
    bench = Bench(LIMITED)
    request = bench.ask("resources/read", {"uri": "db://ap/7"})
    assert seen(bench.decide(request)) == [("ap.invoice", "in", "uri")]
    other = {"contents": [{"uri": "db://ap/7", "text": "x"}, {"uri": "db://hr/1", "text": "y"}]}
    assert bench.answer(request, other).clause == "data.out"


def test_image_bytes_are_not_read_as_text() -> None:
    result = {"content": [{"type": "image", "mimeType": "image/png", "data": TOKEN}]}
    assert seen(Bench(FREE).exchange("x.y", {}, result)[1]) == []


@pytest.mark.parametrize("texts", [[], [rules("{id: R, allow: ['*.*']}")]])
def test_built_in_secrets_are_labelled_with_and_without_a_policy(texts: list[str]) -> None:
    bench = Bench(*texts, secrets=["hunter2-value", "short", ""])
    call, answer = bench.exchange("x.y", {"t": f"Bearer {TOKEN}"}, text_result("pw hunter2-value short"))
    for decision, value in ((call, TOKEN), (answer, "hunter2-value")):
        access = next(access for access in decision.accesses if access.scope)
        assert (access.scope, access.scope_class, access.how) == ("builtin.secret", "secret", "detected")
        assert access.fields == (value,)
        assert value not in repr(decision)


def test_a_declared_secret_scope_takes_the_place_of_the_built_in_one() -> None:
    scopes = [access.scope for access in Bench(FREE).call("x.y", {"t": TOKEN}).accesses if access.scope]
    assert scopes == ["vault"]


def test_a_built_in_secret_is_outside_a_rule_s_limit_unless_named() -> None:
    limited = rules("{id: R, allow: ['*.*'], data: [ap]}", head="data: {ap: {paths: [/srv/ap]}}")
    named = limited.replace("data: [ap]", "data: [ap, builtin.secret]")
    result = text_result(f"key {TOKEN}")
    assert Bench(limited).exchange("x.y", {}, result)[1].effect == "replace"
    assert Bench(named).exchange("x.y", {}, result)[1].effect == "forward"


def test_every_forwarded_call_has_an_access() -> None:
    for bench in (Bench(), Bench(FREE), Bench(LIMITED), Bench(f"{LIMITED}\nmode: observe")):
        for arguments in ({}, {"path": "/srv/ap/a"}, {"path": "x"}, {"t": TOKEN}, {"to": "a@b.example"}):
            decision = bench.call("x.y", arguments)
            assert decision.effect == "block" or [a for a in decision.accesses if a.how != "detected"] != []
        assert bench.decide(bench.ask("resources/read", {"uri": "db://ap/1"})).accesses


def test_one_source_s_allowing_rules_judge_the_answer() -> None:
    text = rules("{id: A, allow: ['w.*'], data: [ap]}", "{id: B, allow: ['w.*'], data: [hr]}",
                 head="data: {ap: {results: {w.x: [$.ap]}}, hr: {results: {w.x: [$.hr]}}}")  # fmt: skip
    bench = Bench(text)
    verdicts = [bench.exchange("w.x", {}, text_result(json.dumps(found)))[1] for found in ({"ap": 1}, {"hr": 1})]
    assert [(decision.verdict, decision.rule) for decision in verdicts] == [("allow", "A"), ("allow", "B")]
    assert bench.exchange("w.x", {}, text_result('{"ap": 1, "hr": 1}'))[1].verdict == "deny"


def test_a_message_as_long_as_a_frame_may_be_is_judged() -> None:
    half = 32 * 1024 * 1024 - 1000
    result = text_result("x" * half) | {"structuredContent": {"result": "y" * half}}
    assert Bench(BOOKS).exchange("books.get_all", {}, result)[1].verdict == "allow"


def test_a_text_that_is_sent_twice_is_looked_at_once() -> None:
    leaves = collect(text_result("a bill") | {"structuredContent": {"result": "a bill"}})
    assert leaves.text.count("a bill") == 1
    assert [text for _, text in leaves.items].count("a bill") == 2


def test_more_values_of_one_kind_than_anyone_can_judge_are_refused() -> None:
    bench = Bench(FREE)
    crowd = " ".join(f"a{n}@b.example" for n in range(100_001))
    decision = bench.exchange("books.get_all", {}, text_result(crowd))[1]
    assert (decision.verdict, decision.rule, decision.clause) == ("deny", "ERROR", "size")


@pytest.mark.parametrize(("people", "detected"), [(100, 1), (20_000, 20_001)])
def test_many_labels_and_many_detections_are_not_compared_each_with_each(people: int, detected: int) -> None:
    bench = Bench(FREE.replace('["$.name"]', '["$[*].name"]'))
    names = [{"name": f"Ann <a{n}@b.example>"} for n in range(people)]
    told = text_result("x@b.example") | {"structuredContent": names}
    _, answer = bench.exchange("workday.get_worker", {}, told)
    assert [len(access.fields) for access in answer.accesses if access.how == "detected"] == [detected]
