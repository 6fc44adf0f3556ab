"""A lane per agent over the run's time, as plain SVG numbers: no script needed, no style attributes.

Calls that fall on the same thousandth of the run share one mark, so a lane never has more than 1,000.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from .clock import clock
from .model import Call, Evidence
from .text import FOUND, ORDER_OF_STATES

RESOLUTION = 1_000
STEPS_US = tuple(
    s * 1_000
    for s in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000,
              300_000, 600_000, 900_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000, 43_200_000, 86_400_000)
)  # fmt: skip
TICKS = 6


@dataclass(frozen=True, slots=True)
class Mark:
    """Calls at one place of a lane; `x` is in percent, `state` the worst of theirs."""

    x: str
    state: str
    calls: tuple[int, ...]
    title: str

    @property
    def is_finding(self) -> bool:
        return self.state in FOUND


@dataclass(frozen=True, slots=True)
class Band:
    """A test on the time axis, in percent."""

    x: str
    width: str
    test: str


@dataclass(frozen=True, slots=True)
class Lane:
    agent: str
    calls: int
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Timeline:
    lanes: tuple[Lane, ...]
    bands: tuple[Band, ...]
    ticks: tuple[tuple[str, str], ...]
    span_us: int


def timeline(evidence: Evidence) -> Timeline | None:
    """Lanes of all calls; None when no call has a readable time."""
    timed = [c for c in evidence.calls if c.request.at.us]
    if not timed:
        return None
    start = min(c.request.at.us for c in timed)
    end = max(max(c.request.at.us for c in timed), start + 1_000)
    margin = (end - start) // 40 + 1
    scale = _Scale(start - margin, end + margin)
    lanes: dict[str, list[Call]] = defaultdict(list)
    for call in timed:
        lanes[call.request.agent].append(call)
    return Timeline(
        lanes=tuple(Lane(agent, len(calls), _marks(calls, scale)) for agent, calls in sorted(lanes.items())),
        bands=_bands(evidence, scale),
        ticks=_ticks(scale),
        span_us=end - start,
    )


@dataclass(frozen=True, slots=True)
class _Scale:
    start: int
    end: int

    def place(self, us: int) -> int:
        """0 to 1,000."""
        clamped = min(max(us, self.start), self.end)
        return (clamped - self.start) * RESOLUTION // (self.end - self.start)


def percent(place: int) -> str:
    return f"{place / (RESOLUTION / 100):.1f}%"


def _marks(calls: list[Call], scale: _Scale) -> tuple[Mark, ...]:
    places: dict[int, list[Call]] = defaultdict(list)
    for call in calls:
        places[scale.place(call.request.at.us)].append(call)
    marks = []
    for place, group in sorted(places.items()):
        state = min((c.state for c in group), key=ORDER_OF_STATES.index)
        worst = next(c for c in group if c.state == state)
        first = clock(worst.request.at.us, fine=True)
        title = f"Call {worst.number}, {first}" + (f", and {len(group) - 1} more" if len(group) > 1 else "")
        numbers = (worst.number, *(c.number for c in group if c is not worst))
        marks.append(Mark(percent(place), state, numbers, title))
    return tuple(sorted(marks, key=lambda m: m.is_finding))


def _bands(evidence: Evidence, scale: _Scale) -> tuple[Band, ...]:
    bands = []
    for test in evidence.tests:
        if not test.started.us:
            continue
        left = scale.place(test.started.us)
        right = scale.place(test.ended.us) if test.ended else RESOLUTION
        bands.append(Band(percent(left), percent(max(right - left, 2)), test.name))
    return tuple(bands)


def _ticks(scale: _Scale) -> tuple[tuple[str, str], ...]:
    span = scale.end - scale.start
    step = next((s for s in STEPS_US if span / s <= TICKS), STEPS_US[-1])
    first = -(-scale.start // step) * step
    fine = step < 1_000_000
    times = [us for us in range(first, scale.end, step) if 30 <= scale.place(us) <= 970][:24]
    return tuple((percent(scale.place(us)), clock(us, fine=fine)) for us in times)
