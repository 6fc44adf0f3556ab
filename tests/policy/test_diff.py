"""What changes between two policies, and that nothing wider is ever called not wider."""

from datetime import date

import pytest

from pytest_mcp_governance.policy.diff import EVERY_CALL, Change, PolicyDiff, diff
from pytest_mcp_governance.policy.diff_markdown import as_markdown
from tests.policy.cases import BOOKS, policy, rules


def compared(before: str, after: str) -> PolicyDiff:
    return diff([policy(before)], [policy(after)])


def told(found: PolicyDiff) -> list[tuple[str, str, str]]:
    return [(change.direction, change.agent, change.tool) for change in found.changes]


def limited(**args: str) -> str:
    """A policy with one rule with these arguments."""
    shown = ", ".join(f"{name}: {{{limits}}}" for name, limits in args.items())
    return rules(f"{{id: PAY, allow: [bank.pay], args: {{{shown}}}}}")


def test_a_policy_compared_with_itself_has_no_changes():
    assert compared(BOOKS, BOOKS) == PolicyDiff(())


def test_a_new_tool_is_wider_and_is_named():
    found = compared(BOOKS, BOOKS + '- {id: PAY, allow: ["bank.pay"]}\n')
    assert told(found) == [("wider", "any agent", "bank.pay")]
    assert found.changes[0].before == "denied: no rule allows it"
    assert found.changes[0].after == "allowed by PAY"
    assert found.widens


def test_a_tool_less_is_narrower():
    found = compared(BOOKS, BOOKS.replace(', "books.list_*"', ""))
    assert told(found) == [("narrower", "any agent", "books.list_*")]
    assert not found.widens


def test_a_glob_that_covers_the_same_names_is_no_change():
    assert not compared(
        rules("{id: A, allow: ['b.{get,set}_*']}"), rules("{id: A, allow: ['b.get_*', 'b.set_*']}")
    ).changes


def test_a_wider_glob_is_told_by_what_it_adds():
    found = compared(rules("{id: A, allow: [b.read]}"), rules("{id: A, allow: ['b.read*']}"))
    assert told(found) == [("wider", "any agent", "b.read*")]


def test_a_name_that_a_pattern_covers_already_is_no_change():
    assert not compared(BOOKS, BOOKS + "- {id: B, allow: [books.get_vendor]}\n").changes


@pytest.mark.parametrize(
    ("before", "after", "directions"),
    [
        ("max: 50", "max: 90", "wider"),
        ("max: 90", "max: 50", "narrower"),
        ("min: 1, max: 50", "max: 50", "wider"),
        ("type: integer", "type: number", "wider"),
        ("type: number", "type: integer", "narrower"),
        ("type: any", "type: string", "narrower"),
        ("in: [a]", "in: [a, b]", "wider"),
        ("in: [a, b]", "in: [b]", "narrower"),
        ("min: 1, max: 9", "in: [3, 4]", "narrower"),
        ("regex: 'a+'", "in: [a, aa]", "narrower"),
        ("regex: 'a+'", "in: [b]", "wider narrower"),
        ("regex: 'a+'", "regex: 'a'", "changed"),
        ("regex: 'a+'", "type: string", "wider"),
        ("type: string", "regex: 'a'", "narrower"),
        ("host: ['*.irs.gov']", "host: [www.irs.gov]", "narrower"),
        ("host: ['*.irs.gov']", "host: [irs.gov]", "wider narrower"),
        ("host: ['*.irs.gov']", "host: ['*.gov']", "wider"),
        ("host: [a.example], no_ip: true", "host: [a.example]", ""),
        ("host: [a.example], no_userinfo: true", "host: [a.example]", "wider"),
        ("scheme: [https]", "scheme: [https, http]", "wider"),
        ("within: /srv", "within: [/srv, /etc]", "changed"),
        ("within: [/srv, /etc]", "within: /etc", "narrower"),
        ("within: /srv", "within: /srv/ap", "changed"),
        ("type: string", "type: string, optional: true", "wider"),
        ("type: string, optional: true", "type: string", "narrower"),
        ("type: integer, min: 1", "min: 1, type: integer", ""),
    ],
)  # fmt: skip
def test_limits_of_an_argument(before: str, after: str, directions: str):
    found = compared(limited(x=before), limited(x=after))
    assert [change.direction for change in found.changes] == directions.split()
    assert found.widens == any(word in directions for word in ("wider", "changed"))


def test_what_cannot_be_decided_says_so():
    (change,) = compared(limited(x="regex: 'a+'"), limited(x="regex: 'a'")).changes
    assert change.detail == "cannot be decided, so it counts as wider"
    assert change.widens


def test_an_argument_more_is_wider_and_one_less_that_was_needed_too():
    assert compared(limited(x="max: 1"), limited(x="max: 1", y="max: 1")).widens
    assert compared(limited(x="max: 1", y="max: 1"), limited(x="max: 1")).widens
    found = compared(limited(x="max: 1", y="max: 1, optional: true"), limited(x="max: 1"))
    assert [change.direction for change in found.changes] == ["narrower"]


def test_limits_taken_away_are_wider():
    found = compared(limited(x="max: 1"), rules("{id: PAY, allow: [bank.pay]}"))
    assert found.changes == (Change("wider", "any agent", "bank.pay", "PAY: arguments only x", "PAY: arguments any"),)


def test_wider_and_narrower_of_one_rule_are_both_told():
    found = compared(limited(x="max: 1", y="max: 9"), limited(x="max: 2", y="max: 8"))
    assert [change.direction for change in found.changes] == ["wider", "narrower"]
    assert "x" in found.changes[0].after and "y" not in found.changes[0].after


def test_a_deny_rule_taken_away_is_wider_where_something_allows():
    allow = "{id: A, allow: ['b.*']}"
    found = compared(rules(allow, "{id: D, deny: ['*.delete_*']}"), rules(allow))
    assert told(found) == [("wider", "any agent", "b.delete_*")]
    assert found.changes[0].before == "denied by D"


def test_agents_are_told_apart():
    head = "agents: {pay: ['pay-*'], read: ['read-*']}"
    before = rules("{id: A, allow: [b.x], to: [pay]}", head=head)
    after = rules("{id: A, allow: [b.x], to: [pay, read]}", head=head)
    assert told(compared(before, after)) == [("wider", "read-*", "b.x")]
    everyone = rules("{id: A, allow: [b.x]}", head=head)
    assert ("wider", "any other agent", "b.x") in told(compared(after, everyone))


def test_a_group_that_takes_in_more_agents_is_wider():
    text = rules("{id: A, allow: [b.x], to: [pay]}", head="agents: {pay: ['pay-*']}")
    found = compared(text, text.replace("'pay-*'", "'pay-*', 'clerk-1'"))
    assert told(found) == [("wider", "clerk-1", "b.x")]


def test_from_enforce_to_observe_is_wider_for_everything():
    found = compared(BOOKS, BOOKS + "mode: observe\n")
    assert told(found) == [("wider", "any agent", EVERY_CALL)]
    assert not compared(BOOKS + "mode: observe\n", BOOKS).widens


def test_resources_and_prompts_are_compared():
    before = rules("{id: R, allow_resources: ['file:///srv/*']}")
    after = rules("{id: R, allow_resources: ['file:///srv/**'], allow_prompts: [b.sum]}")
    assert told(compared(before, after)) == [
        ("wider", "any agent", "resource file:///srv/**"),
        ("wider", "any agent", "prompt b.sum"),
    ]


def test_what_servers_may_ask_is_compared():
    before = BOOKS + "protocol: {sampling: {allow: false}, roots: {max: ['file:///srv']}}\n"
    after = BOOKS + "protocol: {sampling: {allow: true}, roots: {max: ['file:///srv', 'file:///etc']}}\n"
    assert told(compared(before, after)) == [
        ("wider", "any agent", "what servers ask: sampling"),
        ("wider", "any agent", "what servers ask: roots"),
    ]


DATA = "data: {a: {paths: [/a]}, b: {class: pii, paths: [/b], detect: [email]}}"


def test_data_that_a_rule_may_touch():
    before = rules("{id: R, allow: [b.x], data: [a]}", head=DATA)
    assert compared(before, before.replace("data: [a]}", "data: [a, b]}")).widens
    assert not compared(before.replace("data: [a]}", "data: [a, b]}"), before).widens
    assert compared(before, before.replace(", data: [a]}", "}")).widens
    denied = before.replace("data: [a]}", "data: [a], unresolved: deny}")
    assert compared(denied, before).widens
    assert not compared(before, denied).widens


def test_a_scope_that_matches_less_is_wider_for_limits_and_for_labels():
    before = rules("{id: R, allow: [b.x], data: [a]}", head=DATA)
    found = compared(before, before.replace(", detect: [email]", ""))
    assert told(found) == [("wider", "any agent", "data scope b"), ("changed", "any agent", "b.x")]
    assert found.changes[0].before == "pii: masked and withheld"
    assert compared(before, before.replace("class: pii, ", "")).changes[0].tool == "data scope b"
    assert not compared(before.replace(", detect: [email]", ""), before).widens


def test_a_scope_that_a_rule_may_touch_and_that_covers_more_is_wider():
    before = rules("{id: R, allow: [b.x], data: [a]}", head=DATA)
    assert compared(before, before.replace("paths: [/a]", "paths: [/a, /c]")).widens
    assert not compared(before.replace("paths: [/a]", "paths: [/a, /c]"), before).widens


def test_the_last_place_taken_out_of_all_scopes_is_wider():
    head = "data: {a: {paths: [/a], hosts: [a.example]}}"
    before = rules("{id: R, allow: [b.x], data: [a]}", head=head)
    assert compared(before, before.replace("paths: [/a], ", "")).widens


def test_a_scope_that_becomes_untrusted_is_in_everywhere():
    before = rules("{id: R, allow: [b.x], data: [a]}", head="data: {a: {paths: [/a]}, b: {paths: [/b]}}")
    assert compared(before, before.replace("b: {", "b: {class: untrusted, ")).widens


def test_another_source_never_widens():
    more = policy(rules("{id: X, allow: ['books.get_a']}"))
    found = diff([policy(BOOKS)], [policy(BOOKS), more])
    assert found.changes and not found.widens
    assert diff([policy(BOOKS), more], [policy(BOOKS)]).widens


def test_what_the_floor_holds_back_is_not_wider():
    floor = policy(limited(x="max: 50"))
    loose = policy(limited(x="max: 90"))
    assert diff([policy(limited(x="max: 50")), floor], [loose, floor]) == PolicyDiff(())


def test_limits_that_two_sources_give_together_are_not_wider():
    both = policy(limited(x="min: 1, max: 5"))
    low, high = policy(limited(x="min: 1")), policy(limited(x="max: 5"))
    assert not diff([both], [low, high]).widens
    assert diff([both], [low]).widens


def test_no_policy_is_the_widest_of_all():
    found = diff([policy(BOOKS)], [])
    assert found.widens
    assert "nothing is judged" in found.changes[0].after
    assert not diff([], [policy(BOOKS)]).widens
    assert diff([], []) == PolicyDiff(())


def test_constraints_alone_allow_nothing():
    floor = policy("governance: 1\npolicy: f\nkind: constraint\nrules:\n- {id: D, deny: ['*.x']}\n")
    assert diff([floor], [policy(BOOKS)]).widens
    assert not diff([policy(BOOKS)], [floor]).widens


def test_patterns_that_overlap_in_too_many_ways_count_as_wider_unless_written_alike():
    many = [f"{{id: D{n}, deny: ['*.*{chr(97 + n)}{chr(98 + n)}*'], to: [a{n}]}}" for n in range(16)]
    before = rules("{id: A, allow: ['*.*']}", *many)
    assert not compared(before, before).changes
    (change,) = compared(before, rules("{id: A, allow: ['*.*']}", *many[:-1])).changes
    assert change.direction == "changed" and "too many patterns" in change.detail
    assert not compared(before, rules("{id: A, allow: ['*.*']}", *many, "{id: E, deny: [a.b]}")).widens


def test_many_patterns_of_one_rule_are_no_trouble():
    words = ", ".join(f"'*.*{chr(97 + n)}{chr(98 + n)}*'" for n in range(20))
    before = rules("{id: A, allow: ['b.*']}", f"{{id: D, deny: [{words}]}}")
    assert told(compared(before, rules("{id: A, allow: ['b.*']}")))[0][0] == "wider"


def test_hostile_names_stay_characters_in_markdown():
    hostile = "b.x|`<img src=x>`[a](http://e)\\n**"
    found = compared(BOOKS, BOOKS + f"- {{id: H, allow: ['{hostile}']}}\n".replace("**", "_"))
    text = as_markdown(found)
    row = next(line for line in text.splitlines() if "WIDER" in line)
    assert row.count("|") == 6
    assert not set("<`[]") & set(row.replace("**", ""))


def test_markdown_begins_with_what_is_wider():
    found = compared(BOOKS, BOOKS.replace(', "books.list_*"', ', "bank.pay"'))
    lines = found.markdown().splitlines()
    assert lines[2] == "1 change lets agents do more, or may."
    assert "WIDER" in lines[6] and "bank.pay" in lines[6]
    assert "narrower" in lines[7]


GROUPS = "agents: {pay: ['pay-*'], batch: [pay-batch]}"
LIMITED = rules("{id: PAY, allow: [bank.pay], to: [pay], args: {amount: {type: integer, max: 50}}}", head=GROUPS)
HIGHER = LIMITED.replace("max: 50", "max: 90")


def waiver(rule: str = "PAY", limits: str = "max: 90", until: str = "2026-12-15", name: str = "W-7") -> str:
    return (
        f"\nwaivers:\n- {{id: {name}, rule: {rule}, args: {{amount: {{{limits}}}}}, agents: [batch], ticket: G-1,"
        f" owner: o, expires: {until}, reason: r}}"
    )


def test_a_new_waiver_is_a_widening_itself_and_waives_nothing():
    found = compared(LIMITED, LIMITED + waiver())
    assert told(found) == [("wider", "pay-batch", "bank.pay")]
    assert found.changes[0].before == "PAY: args.amount <= 50"
    assert found.changes[0].after == "PAY with waiver W-7: args.amount <= 90"
    assert found.widens
    assert compared(LIMITED, HIGHER + waiver(limits="max: 95")).widens


def test_what_a_waiver_allowed_already_is_waived_for_its_agents_only():
    found = compared(LIMITED + waiver(), HIGHER + waiver())
    assert [(change.agent, change.waiver, change.widens) for change in found.changes] == [
        ("pay-*", None, True),
        ("pay-batch", "W-7", False),
    ]
    only = HIGHER.replace("id: PAY", "id: OLD").replace("to: [pay]", "to: [batch]")
    both = LIMITED + only[only.index("\n- ") :]
    waived = compared(LIMITED + waiver(), both + waiver())
    assert [(change.agent, change.waiver) for change in waived.changes] == [("pay-batch", "W-7")]
    assert not waived.widens
    assert "waiver W-7" in waived.markdown() and "covered by a waiver" in waived.markdown()


def test_beyond_the_waiver_nothing_is_waived():
    assert compared(LIMITED + waiver(limits="max: 80"), HIGHER + waiver(limits="max: 80")).widens


def test_an_expired_waiver_waives_nothing():
    before, after = policy(LIMITED + waiver()), policy(LIMITED.replace("to: [pay]", "to: [batch]").replace("50", "90"))
    assert not diff([before], [after], today=date(2026, 12, 15)).widens
    assert diff([before], [after], today=date(2026, 12, 16)).widens


def test_a_waiver_that_lasts_longer_or_goes_further_is_wider():
    longer = compared(LIMITED + waiver(), LIMITED + waiver(until="2027-12-15"))
    assert longer.changes == (
        Change(
            "wider", "pay-batch", "bank.pay", "PAY with waiver W-7: waiver W-7 until 2026-12-15",
            "PAY with waiver W-7: waiver W-7 until 2027-12-15",
        ),
    )  # fmt: skip
    assert compared(LIMITED + waiver(), LIMITED + waiver(limits="max: 99")).widens
    assert compared(LIMITED + waiver(), LIMITED + waiver().replace("[batch]", "[pay]")).widens
    shorter = compared(LIMITED + waiver(), LIMITED + waiver(until="2026-12-01"))
    assert [change.direction for change in shorter.changes] == ["narrower"]
    assert not compared(LIMITED + waiver(), LIMITED).widens


def test_a_waiver_of_the_floor_covers_a_rule_of_the_same_id():
    floor = policy(LIMITED + waiver())
    before, after = policy(LIMITED), policy(LIMITED.replace("to: [pay]", "to: [batch]").replace("50", "90"))
    found = diff([before], [after], floor=[floor])
    assert [(c.direction, c.agent, c.waiver) for c in found.changes if c.direction == "wider"] == [
        ("wider", "pay-batch", "W-7")
    ]
    assert not found.widens
    assert diff([before], [after]).widens
    assert not diff([before], [before], floor=[floor]).changes


def test_a_waiver_of_a_deny_rule_is_compared():
    before = rules("{id: A, allow: ['b.*']}", "{id: D, deny: ['*.del']}", head=GROUPS)
    lifted = before + waiver(rule="D", limits="max: 5")
    found = compared(before, lifted)
    assert told(found) == [("wider", "pay-batch", "b.del")]
    assert found.changes[0].before == "denied by D"
    assert not compared(lifted, before).widens
    assert not compared(lifted, lifted).changes
    assert compared(lifted, before.replace("'*.del'", "'*.dell'")).widens


def test_a_waiver_that_no_call_of_the_rule_can_use_is_no_change():
    before = rules("{id: PAY, allow: [b.x], args: {x: {max: 1}}}", "{id: D, deny: [b.x]}", head=GROUPS)
    lifted = before + waiver(rule="D", limits="max: 5")  # D is lifted where amount is given, which PAY does not allow
    assert not compared(lifted, lifted).changes


def test_many_deny_rules_are_told_apart_no_further_than_needed():
    many = [f"{{id: D{n}, deny: ['*.*{chr(97 + n)}{chr(98 + n)}*']}}" for n in range(16)]
    before = rules("{id: A, allow: ['b.*']}", *many)
    assert not compared(before, before).changes
    found = compared(before, rules("{id: A, allow: ['b.*']}", *many[:-1]))
    assert {change.direction for change in found.changes} == {"wider"}
    assert found.changes[0].before == "denied by D0 or D1 or D2 or another"
