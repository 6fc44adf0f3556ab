"""Chooses which screen stands where: one at each finding, before and after at each call, each drawn from one copy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from .model import Call, Evidence, Finding, Screen
from .pictures import Album, Picture, album
from .text import NO_PICTURE, screen_caption


@dataclass(frozen=True, slots=True)
class Shot:
    """A screen as shown: with its picture, or with the sentence that says why there is none."""

    screen: Screen
    picture: Picture | None
    missing: str
    caption: str
    label: str


@dataclass(frozen=True, slots=True)
class Shots:
    pictures: tuple[Picture, ...]
    of_finding: dict[int, Shot]
    of_call: dict[int, tuple[Shot, ...]]
    not_shown: int


def shots_of(evidence: Evidence, blob: Callable[[str], bytes | None]) -> Shots:
    """The shots of a run; pictures of findings are embedded before those of other calls."""
    calls = {c.number: c for c in evidence.calls}
    chosen = {x.number: s for x in evidence.findings if (s := _telling(x, calls)) is not None}
    ordered = [*chosen.values(), *_of_noted_calls(evidence, calls), *(s for c in evidence.calls for s in c.screens)]
    found = album(ordered, blob)
    of_finding = {
        number: _shot(screen, found, _call_of(evidence.findings[number - 1], calls, screen))
        for number, screen in chosen.items()
    }
    of_call = {c.number: tuple(_call_shots(c, found)) for c in evidence.calls if c.screens}
    unseen = {s.at.ref for c in evidence.calls for s in c.screens if found.of(s) is None}
    return Shots(tuple(found.pictures.values()), of_finding, of_call, len(unseen))


def _telling(finding: Finding, calls: dict[int, Call]) -> Screen | None:
    """What a blocked call wanted to act on, or what a call that went through led to."""
    screens = [s for n in finding.calls for s in calls[n].screens if not s.failed]
    wanted = "before" if finding.state == "blocked" else "after"
    return next((s for s in screens if s.moment == wanted), screens[0] if screens else None)


def _of_noted_calls(evidence: Evidence, calls: dict[int, Call]) -> Iterator[Screen]:
    for finding in evidence.findings:
        for number in finding.calls:
            yield from calls[number].screens


def _call_of(finding: Finding, calls: dict[int, Call], screen: Screen) -> Call | None:
    return next((calls[n] for n in finding.calls if screen in calls[n].screens), None)


def _call_shots(call: Call, found: Album) -> Iterator[Shot]:
    """Screens in the order before, pictures in the answer, after; an unchanged screen stands once."""
    order = {"before": 0, "": 1, "after": 2}
    screens = sorted(call.screens, key=lambda s: (order.get(s.moment, 1), s.at.us))
    shown: list[Shot] = []
    for screen in screens:
        shot = _shot(screen, found, call)
        same = next((n for n, s in enumerate(shown) if s.picture is not None and s.picture is shot.picture), None)
        if same is None:
            shown.append(shot)
            continue
        first = shown[same]
        caption = f"{first.caption} {shot.caption} Both are the same picture."
        shown[same] = Shot(first.screen, first.picture, "", caption, "Before and after")
    yield from shown


def _shot(screen: Screen, found: Album, call: Call | None) -> Shot:
    picture = found.of(screen)
    label = {"before": "Before", "after": "After"}.get(
        screen.moment, "In the answer" if screen.kind == "image" else "Screen"
    )
    return Shot(
        screen=screen,
        picture=picture,
        missing="" if picture else NO_PICTURE[found.reason(screen)],
        caption=screen_caption(screen, None),
        label=label,
    )
