"""What a series is expected to count at a time: a level times the hour of day, the weekday, the hour of the week.

Everything is learned online, a row at a time, from a few hundred numbers. Each factor is a quotient of two decayed
sums, what was seen over what the coarser factors expected, and leans on 1 until there is history: the hour of day
is known after a day, the weekday after a week or two, the hour of the week after a month. A row counts by the time
that it covers (`weight`, in units of five minutes), so that the same history teaches the same whatever the spacing.

A holiday is expected to be as the weekday that it resembles, times what was learned from all holidays of its kind,
times what was learned from this one in other years and since its midnight; while that is little, the expectation is
doubted. It teaches nothing about ordinary days.
"""

from math import exp, log

from msgspec import Struct, field

from hark.alerts.holidays import Day

HOUR_SECONDS = 3600.0
DAY_SECONDS = 86400.0
WEIGHT_SECONDS = 300.0

LEVEL_HALF_LIFE = 3 * 288.0
"""Half-lives are in weights: of the level three days, of an hour of day 20 days, of the others months."""
HOUR_HALF_LIFE = 20 * 12.0
DAY_HALF_LIFE = 8 * 288.0
WEEK_HOUR_HALF_LIFE = 20 * 12.0

HOUR_PRIOR, DAY_PRIOR, WEEK_HOUR_PRIOR = 8.0, 96.0, 96.0
"""How much time, in weights, must have been seen for a factor to be believed half."""
HOUR_PRIOR_COUNT, OTHER_PRIOR_COUNT = 6.0, 24.0
"""And how many counts: a small count says little about its hour, however long it was watched."""

HOLIDAY_PRIOR = 24.0
"""As above, of a holiday's factors: within hours of its midnight it is known better than by what it resembles."""
HOLIDAY_HALF_LIFE = 5 * 288.0
"""Of holidays seen."""
HOLIDAY_DOUBT = 0.25
"""The relative variance of what is expected of a holiday never seen: it may be half as much again, or half."""
HOLIDAY_DOUBT_PRIOR = 96.0
"""How much of a holiday, or four times as much of its kind, halves the doubt."""
HOLIDAY_ECHO_SECONDS = 6 * HOUR_SECONDS
"""So long after a holiday the detectors' windows still hold rows of it."""

SMALLEST = 0.02
"""An expectation is never less than this, in units of the value."""


class Expectation(Struct):
    """The mean expected of one row, and what `learn` needs to know of how it came about."""

    mean: float
    of_hour: float
    of_day: float
    hour: int
    next_hour: int
    share: float
    day: int
    week_hour: int
    next_week_hour: int
    ordinary: float = 0.0
    """Of a holiday: what its weekday leads one to expect, times what is known of it beforehand."""
    of_kind: float = 0.0
    holiday: Day | None = None
    doubt: float = 0.0
    """The relative variance that a holiday's expectation has of its own, beside the usual one."""
    doubt_until: float = 0.0


class HolidaySums(Struct):
    """What was seen of a holiday, or of a kind of them, what was expected, and the time that it took."""

    seen: float = 0.0
    expected: float = 0.0
    age: float = 0.0

    def factor(self, prior: float) -> float:
        """Return how many times as much as expected was seen; leans on 1."""
        return (self.seen + prior) / (self.expected + prior)

    def learn(self, value: float, expected: float, weight: float) -> None:
        """Take in a row."""
        keep = _decay(weight, HOLIDAY_HALF_LIFE)
        self.seen = self.seen * keep + weight * value
        self.expected = self.expected * keep + weight * expected
        self.age = self.age * keep + weight


def _zeros(size: int) -> list[float]:
    return [0.0] * size


class Baseline(Struct):
    """The level and the seasons of one series; plain numbers, so that it can be written down and read again."""

    level: float = -1.0
    age: float = 0.0
    hour_seen: list[float] = field(default_factory=lambda: _zeros(24))
    hour_expected: list[float] = field(default_factory=lambda: _zeros(24))
    day_seen: list[float] = field(default_factory=lambda: _zeros(7))
    day_expected: list[float] = field(default_factory=lambda: _zeros(7))
    week_hour_seen: list[float] = field(default_factory=lambda: _zeros(168))
    week_hour_expected: list[float] = field(default_factory=lambda: _zeros(168))
    holidays: dict[str, HolidaySums] = field(default_factory=dict)
    kinds: dict[str, HolidaySums] = field(default_factory=dict)
    doubt: float = 0.0
    doubt_until: float = 0.0

    def expect(self, middle: float, weight: float, holiday: Day | None = None) -> Expectation:
        """Return what the row whose middle is `middle` (seconds since 1970, UTC) should count.

        Factors of neighbouring hours are interpolated between the middles of the hours.
        """
        if holiday is not None:
            return self._expect_holiday(middle, weight, holiday)
        level = self.level
        at = middle / HOUR_SECONDS - 0.5
        whole = int(at // 1)
        share = at - whole
        hour, week_hour = whole % 24, whole % 168
        next_hour, next_week_hour = (whole + 1) % 24, (whole + 1) % 168
        prior = HOUR_PRIOR * level + HOUR_PRIOR_COUNT * weight
        seen, expected = self.hour_seen, self.hour_expected
        of_hour = level * (
            (1 - share) * (seen[hour] + prior) / (expected[hour] + prior)
            + share * (seen[next_hour] + prior) / (expected[next_hour] + prior)
        )
        day = int(middle // DAY_SECONDS) % 7
        prior = DAY_PRIOR * level + OTHER_PRIOR_COUNT * weight
        of_day = of_hour * (self.day_seen[day] + prior) / (self.day_expected[day] + prior)
        prior = WEEK_HOUR_PRIOR * level + OTHER_PRIOR_COUNT * weight
        seen, expected = self.week_hour_seen, self.week_hour_expected
        mean = of_day * (
            (1 - share) * (seen[week_hour] + prior) / (expected[week_hour] + prior)
            + share * (seen[next_week_hour] + prior) / (expected[next_week_hour] + prior)
        )
        return Expectation(
            max(mean, SMALLEST), of_hour, of_day, hour, next_hour, share, day, week_hour, next_week_hour
        )

    def _expect_holiday(self, middle: float, weight: float, holiday: Day) -> Expectation:
        found = self.expect(middle + holiday.shift_seconds, weight)
        of_kind = self.kinds.get(holiday.kind, _UNSEEN) if holiday.kind else _UNSEEN
        own = self.holidays.get(holiday.name, _UNSEEN)
        prior = HOLIDAY_PRIOR * self.level + OTHER_PRIOR_COUNT * weight
        found.holiday = holiday
        found.ordinary = found.mean * holiday.times
        found.of_kind = found.ordinary * of_kind.factor(prior)
        found.mean = max(found.of_kind * own.factor(prior), SMALLEST)
        known = max(own.age, of_kind.age / 4)
        found.doubt_until = middle + HOLIDAY_ECHO_SECONDS
        found.doubt = HOLIDAY_DOUBT * HOLIDAY_DOUBT_PRIOR / (HOLIDAY_DOUBT_PRIOR + known)
        return found

    def doubt_at(self, timestamp: float, found: Expectation) -> float:
        """Return the relative variance to add to that of an expectation: 0 but on holidays and shortly after."""
        return max(found.doubt, self.doubt if timestamp < self.doubt_until else 0.0)

    def begin(self, value: float) -> None:
        """Take the first value as the level; called once, before the first `expect`."""
        self.level = max(value, 0.5)

    def learn(self, found: Expectation, value: float, weight: float) -> None:
        """Move towards `value`, which the caller has clipped: a spike must not become the expectation."""
        level, mean = self.level, found.mean
        if found.holiday is not None:
            self._learn_holiday(found, found.holiday, value, weight)
            return
        share = found.share
        keep = _decay(weight, HOUR_HALF_LIFE)
        without_hour = value * found.of_hour / mean
        for at, part in ((found.hour, 1 - share), (found.next_hour, share)):
            stay = 1 - (1 - keep) * part
            self.hour_seen[at] = self.hour_seen[at] * stay + weight * part * without_hour
            self.hour_expected[at] = self.hour_expected[at] * stay + weight * part * level
        keep = _decay(weight, DAY_HALF_LIFE)
        day = found.day
        self.day_seen[day] = self.day_seen[day] * keep + weight * value * found.of_day / mean
        self.day_expected[day] = self.day_expected[day] * keep + weight * found.of_hour
        keep = _decay(weight, WEEK_HOUR_HALF_LIFE)
        for at, part in ((found.week_hour, 1 - share), (found.next_week_hour, share)):
            stay = 1 - (1 - keep) * part
            self.week_hour_seen[at] = self.week_hour_seen[at] * stay + weight * part * value
            self.week_hour_expected[at] = self.week_hour_expected[at] * stay + weight * part * found.of_day
        # In the first hours the level is the mean so far; later it forgets.
        self.age += weight
        gain = max(1 - _decay(weight, LEVEL_HALF_LIFE), weight / (self.age + 12))
        self.level = max(level * (1 + gain * (value / mean - 1)), SMALLEST)

    def _learn_holiday(self, found: Expectation, holiday: Day, value: float, weight: float) -> None:
        self.doubt, self.doubt_until = found.doubt, found.doubt_until
        if holiday.kind:
            self.kinds.setdefault(holiday.kind, HolidaySums()).learn(value, found.ordinary, weight)
        self.holidays.setdefault(holiday.name, HolidaySums()).learn(value, found.of_kind, weight)


_UNSEEN = HolidaySums()


def _decay(weight: float, half_life: float) -> float:
    return exp(-log(2) * weight / half_life)
