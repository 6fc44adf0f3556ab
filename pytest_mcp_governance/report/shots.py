"""Chooses which screen stands where: one at each finding, before and after at each call, all of them in the gallery.

Every one is drawn from one embedded copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .model import Call, Evidence, Finding, Screen, Text
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
class Tile:
    """One picture of the gallery, or one reason why there is none, with the calls that it belongs to."""

    picture: Picture | None
    missing: str
    title: Text
    calls: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Shots:
    """`screens` were taken of a browser, `images` stood in answers of tools."""

    pictures: tuple[Picture, ...]
    of_finding: dict[int, Shot]
    of_call: dict[int, tuple[Shot, ...]]
    screens: tuple[Tile, ...]
    images: tuple[Tile, ...]


@dataclass(frozen=True, slots=True)
class _Telling:
    """The screen that stands at a finding, and the earlier call it is borrowed from, if it is."""

    screen: Screen
    borrowed_from: int = 0


def shots_of(evidence: Evidence, blob: Callable[[str], bytes | None]) -> Shots:
    """The shots of a run; pictures of findings are embedded before those of other calls."""
    chosen = {x.number: told for x in evidence.findings if (told := _telling(x, evidence)) is not None}
    of_noted = (s for x in evidence.findings for n in x.calls for s in evidence.calls[n - 1].screens)
    of_all = (s for c in evidence.calls for s in c.screens)
    found = album([*(told.screen for told in chosen.values()), *of_noted, *of_all], blob)
    of_finding = {number: _shot(told.screen, found, told.borrowed_from) for number, told in chosen.items()}
    of_call = {c.number: tuple(_call_shots(c, found)) for c in evidence.calls if c.screens}
    for finding in evidence.findings:
        if finding.number in of_finding and chosen[finding.number].borrowed_from:
            of_call.setdefault(finding.calls[0], (of_finding[finding.number],))
    taken = [(c.number, s) for c in evidence.calls for s in c.screens]
    screens = _tiles(((n, s) for n, s in taken if s.is_screen), found)
    images = _tiles(((n, s) for n, s in taken if s.kind == "image"), found)
    return Shots(tuple(found.pictures.values()), of_finding, of_call, screens, images)


def _tiles(taken: Iterable[tuple[int, Screen]], found: Album) -> tuple[Tile, ...]:
    """Each different picture once, in the order of calls; what is not shown stands as one tile for each reason."""
    first: dict[str, Screen] = {}
    calls: dict[str, dict[int, None]] = {}
    for number, screen in taken:
        picture = found.of(screen)
        key = picture.key if picture else found.reason(screen)
        first.setdefault(key, screen)
        calls.setdefault(key, {})[number] = None
    tiles = []
    for key, screen in first.items():
        picture = found.of(screen)
        missing = "" if picture else NO_PICTURE[found.reason(screen)]
        tiles.append(Tile(picture, missing, screen.title if picture else "", tuple(calls[key])))
    return tuple(tiles)


def _telling(finding: Finding, evidence: Evidence) -> _Telling | None:
    """What a blocked call wanted to act on, what a call that went through led to, else the last screen before."""
    shown = [s for n in finding.calls for s in evidence.calls[n - 1].screens if not s.failed]
    screens = [s for s in shown if s.is_screen] or shown
    wanted = "before" if finding.state == "blocked" else "after"
    if screens:
        return _Telling(next((s for s in screens if s.moment == wanted), screens[0]))
    if not finding.calls:
        return None
    call = evidence.calls[finding.calls[0] - 1]
    while call.previous:
        call = evidence.calls[call.previous - 1]
        earlier = [s for s in call.screens if s.is_screen]
        if earlier:
            return _Telling(max(earlier, key=lambda s: s.at.us), call.number)
    return None


def _call_shots(call: Call, found: Album) -> Iterator[Shot]:
    """Screens in the order before, pictures in the answer, after; an unchanged screen stands once."""
    order = {"before": 0, "": 1, "after": 2}
    screens = sorted(call.screens, key=lambda s: (order.get(s.moment, 1), s.at.us))
    shown: list[Shot] = []
    for shot in (_shot(screen, found) for screen in screens):
        same = next((n for n, s in enumerate(shown) if s.picture is not None and s.picture is shot.picture), None)
        if same is None:
            shown.append(shot)
            continue
        first = shown[same]
        caption = f"{first.caption} {shot.caption} Both are the same picture."
        label = f"{first.label} and {shot.label.lower()}"
        shown[same] = Shot(first.screen, first.picture, "", caption, label)
    yield from shown


def _shot(screen: Screen, found: Album, borrowed_from: int = 0) -> Shot:
    picture = found.of(screen)
    by_kind = "In the answer" if screen.kind == "image" else "Screen"
    label = {"before": "Before", "after": "After"}.get(screen.moment, by_kind)
    return Shot(
        screen=screen,
        picture=picture,
        missing="" if picture else NO_PICTURE[found.reason(screen)],
        caption=screen_caption(screen, borrowed_from),
        label="Earlier" if borrowed_from else label,
    )
