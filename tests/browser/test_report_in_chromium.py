"""The report as a browser shows it: silent, offline, whole without script, narrow without scrolling."""

from __future__ import annotations

import io
from itertools import pairwise

import pytest
from PIL import Image
from playwright.sync_api import expect

from .conftest import RUNS, Open

CONTRAST = """() => {
  // WCAG 2.2, 1.4.3: contrast of every visible text against the nearest opaque background.
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = c => { const [r, g, b] = c.map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c; } return [255, 255, 255]; };
  const poor = new Set(), walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const e = walk.currentNode.parentElement;
    if (!walk.currentNode.data.trim() || e.closest('script,style,svg,.sr,.skip') || !e.checkVisibility()) continue;
    const style = getComputedStyle(e), a = light(rgb(style.color).slice(0, 3)), b = light(behind(e).slice(0, 3));
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05), size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) poor.add(`${e.className || e.tagName}: ${ratio.toFixed(2)}`);
  }
  return [...poor];
}"""
UNNAMED = """() => [...document.querySelectorAll('a[href],button,input,select,[role=button],[role=img],[role=region]')]
  .filter(e => !(e.getAttribute('aria-label') || e.getAttribute('aria-labelledby') || e.textContent.trim()
    || e.querySelector('[aria-label]')))
  .map(e => e.outerHTML.slice(0, 120))"""


@pytest.mark.parametrize("run", RUNS)
def test_no_complaint_no_request_no_sideways_scroll(open_page: Open, run: str) -> None:
    shown = open_page(run, width=420)
    expect(shown.page.locator("html[data-ready=true]")).to_be_attached()
    shown.page.evaluate("for (const call of document.querySelectorAll('details')) call.open = true")
    for width in (420, 1440):
        shown.page.set_viewport_size({"width": width, "height": 900})
        assert shown.page.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.complaints == []
    assert {url for url in shown.requests if not url.startswith(("file:", "data:image/"))} == set()


def test_hostile_strings_run_nothing(open_page: Open) -> None:
    shown = open_page("hostile")
    expect(shown.page.locator("html[data-ready=true]")).to_be_attached()
    assert "PWNED" not in shown.page.title()
    assert shown.page.locator("main script, main img, [onload], [onerror], [onfocus]").count() == 0


def test_findings_and_calls_are_readable_without_script(open_page: Open) -> None:
    page = open_page("sample", script=False).page
    expect(page.get_by_role("heading", level=1)).to_contain_text("No enforced rule was broken")
    finding = page.locator("#finding-1")
    expect(finding).to_contain_text("portal-1 called browser.browser_click against rule NO-EXPORT")
    assert finding.locator("svg.pic").bounding_box()["width"] > 200  # type: ignore[index]
    call = page.locator("details.call").nth(9)
    call.locator("summary").first.click()
    expect(call.get_by_text("Rule NO-WRITE stopped it before it reached the server")).to_be_visible()
    expect(page.locator("#bar")).to_be_hidden()
    expect(page.get_by_role("button", name="Light / dark")).to_be_hidden()


def test_the_menu_stays_at_phone_width_without_script(open_page: Open) -> None:
    page = open_page("sample", script=False, width=420).page
    menu = page.get_by_role("navigation", name="Sections")
    expect(menu.get_by_role("link")).to_have_text(
        ["Findings", "Access", "Timeline", "Screens", "Tests", "Calls", "Check"]
    )
    assert menu.evaluate("e => e.clientHeight") < 44, "one row"
    menu.get_by_role("link", name="Check").click()
    expect(page.get_by_role("heading", name="Check this file")).to_be_in_viewport()


def test_the_four_answers_are_on_the_first_two_screens_of_a_phone(open_page: Open) -> None:
    page = open_page("sample", width=420).page
    answers = page.get_by_role("navigation", name="Four answers")
    box = answers.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 2 * 900
    answers.get_by_role("link", name="Screens").click()
    expect(page.get_by_role("heading", name="Screens")).to_be_in_viewport()


def test_a_screen_of_the_gallery_leads_to_its_call_without_script(open_page: Open) -> None:
    page = open_page("sample", "#screens", script=False).page
    page.locator("#screens .thumb").last.click()
    expect(page.locator("#call-9")).to_be_in_viewport()


def test_a_heading_is_not_under_the_menu_at_phone_width(open_page: Open) -> None:
    page = open_page("sample", "#access", width=420).page
    below = page.locator("header.top").evaluate("e => e.getBoundingClientRect().bottom")
    assert page.locator("#access-h").evaluate("e => e.getBoundingClientRect().top") >= below


def test_numbers_of_policy_lines_never_overprint(open_page: Open) -> None:
    page = open_page("sample", "#policy-1-1").page
    lines = page.locator(".numbered").first.locator("span[id]")
    lines.nth(2).evaluate("e => { e.textContent = '' }")  # a blank line
    tops = lines.evaluate_all("all => all.map(e => e.getBoundingClientRect().top)")
    assert all(below - above >= 15 for above, below in pairwise(tops))


def test_a_link_opens_its_call_without_script(open_page: Open) -> None:
    page = open_page("sample", "#call-12", script=False).page
    expect(page.locator("#call-12")).to_be_in_viewport()
    expect(page.locator("#call-12").get_by_text("Download started", exact=True)).to_be_visible()


def test_the_screen_of_a_finding_is_drawn_from_the_one_embedded_copy(open_page: Open) -> None:
    page = open_page("sample").page
    box = page.locator("#finding-1 svg.pic").bounding_box()
    assert box is not None
    assert box["width"] / box["height"] == pytest.approx(1280 / 800, rel=0.02)
    # A pixel of the picture's dark menu, which no colour of the page resembles.
    shot = page.locator("#finding-1 .thumb").screenshot()
    assert _has_colour(shot, (20, 50, 74))


def test_filters_narrow_the_calls_and_clear_brings_them_back(open_page: Open) -> None:
    page = open_page("sample").page
    calls = page.locator("details.call:visible")
    expect(page.get_by_role("status")).to_have_text("12 of 12 calls")
    page.get_by_label("Agent", exact=True).select_option("portal-1")
    expect(calls).to_have_count(5)
    page.get_by_label("Search calls").fill("214 VENDORS")
    expect(calls).to_have_count(1)
    expect(page.get_by_role("status")).to_have_text("1 of 12 calls")
    page.get_by_label("Search calls").fill("no such text")
    expect(page.get_by_text("No call matches.")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    expect(calls).to_have_count(12)


def test_a_cell_of_the_matrix_shows_its_calls(open_page: Open) -> None:
    page = open_page("sample").page
    page.locator(".mx a[data-agent=portal-1][data-scope='finance.invoice']").click()
    expect(page.locator("details.call:visible")).to_have_count(4)
    expect(page.get_by_label("Data scope", exact=True)).to_have_value("finance.invoice")


def test_a_link_opens_a_call_that_a_filter_hides(open_page: Open) -> None:
    page = open_page("sample").page
    page.get_by_label("Agent", exact=True).select_option("books-reader")
    page.get_by_role("link", name="Open call 12").click()
    expect(page.locator("#call-12").get_by_text("Download started", exact=True)).to_be_visible()


def test_a_screen_can_be_enlarged_and_closed_by_keyboard(open_page: Open) -> None:
    page = open_page("sample", "#call-12").page
    page.locator("#call-12 .frame").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


@pytest.mark.parametrize("run", ["sample", "broken", "expectations", "unjudged"])
def test_text_has_contrast_and_controls_have_names(open_page: Open, run: str) -> None:
    page = open_page(run).page
    page.evaluate("for (const d of document.querySelectorAll('details')) d.open = true")
    assert page.evaluate(UNNAMED) == []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(CONTRAST) == []


def test_light_and_dark_can_be_switched(open_page: Open) -> None:
    page = open_page("sample", color_scheme="light").page
    ground = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(ground)
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate(ground) != before
    page.get_by_role("button", name="Light / dark").click()
    assert page.evaluate(ground) == before


def _has_colour(png: bytes, wanted: tuple[int, int, int]) -> bool:
    image = Image.open(io.BytesIO(png)).convert("RGB").resize((60, 40))
    pixels = (image.getpixel((x, y)) for x in range(60) for y in range(40))
    return any(isinstance(p, tuple) and all(abs(a - b) < 14 for a, b in zip(p, wanted, strict=True)) for p in pixels)
