"""How many requests at a time a server takes well, learned from how long it takes to answer. Pure.

A gradient limiter, as TCP Vegas and Netflix' concurrency-limits have it. A server answers at its own pace while it has a free
core for each request; from there on more requests only wait in it, and each takes longer:

    limit ← limit · (long · tolerance / short) + queue

`long` is what an answer takes while hardly anything else is asked, `short` what it takes now. The factor is between 0.3 and 1, so
that the limit can fall to its least and not below, and it moves a fifth of the way at a time. With a server of K cores it comes to
rest at about `tolerance · K + queue`: 5 on the two cores on which 5 was measured to be best.

`long` rises only with answers to a few requests at a time, else it would follow the very waiting that it is to tell. A server that has
become slower for good, or that others keep busy, so drives the limit down, to about 5 while it is asked without a pause; in the next lull
`long` is learned anew, and the limit rises again.
"""

from dataclasses import dataclass, replace

LEAST, MOST = 3, 16
TOLERANCE = 1.5
"""How many times as long an answer may take before the limit falls."""
QUEUE = 2.0
"""What the limit grows by where nothing waits, so that more is tried."""
_SMOOTHING = 0.2
_LOWEST_GRADIENT = 0.3
_AFTER_DROP = 0.7
_FEW = LEAST - 1
"""So many at a time say what an answer takes by itself."""
_SHORT, _LONG = 10, 50
"""Answers over which the two times are averaged."""


@dataclass(frozen=True, slots=True)
class GradientLimit:
    """What is known after so many answers."""

    exact: float = 5.0
    """The limit, which moves in parts; before it knows better it is what suited an apiserver on two cores."""
    long: float | None = None
    short: float | None = None

    @property
    def whole(self) -> int:
        """How many requests may be under way at a time."""
        return int(self.exact)

    def after(self, seconds: float, under_way: int) -> "GradientLimit":
        """Return the limit after an answer that took so long, while so many requests were under way, itself among them."""
        short = _averaged(self.short, seconds, _SHORT)
        long = short if self.long is None else self.long
        if short < long or under_way <= _FEW:
            long = _averaged(long, short, _LONG)
        learned = GradientLimit(self.exact, long, short)
        if under_way * 2 < self.exact:
            return learned  # so few say nothing of how many would be too many
        return learned._towards(self.exact * _gradient(long, short) + QUEUE)

    def after_drop(self) -> "GradientLimit":
        """Return the limit after a request that was turned away, or not answered in time."""
        return replace(self, exact=max(float(LEAST), self.exact * _AFTER_DROP))

    def _towards(self, wanted: float) -> "GradientLimit":
        exact = self.exact + _SMOOTHING * (wanted - self.exact)
        return replace(self, exact=min(float(MOST), max(float(LEAST), exact)))


def _gradient(long: float, short: float) -> float:
    if short <= 0:
        return 1.0  # answered within the clock's own grain
    return max(_LOWEST_GRADIENT, min(1.0, TOLERANCE * long / short))


def _averaged(average: float | None, new: float, over: int) -> float:
    return new if average is None else average + (new - average) / over
