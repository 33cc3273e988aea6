"""The largest batch that fits: doubling, then halving the gap."""

from collections.abc import Callable


def largest(fits: Callable[[int], bool], start: int, tries: int) -> tuple[int, int | None]:
    """``(n, m)``: n fits and m > n does not, to within an eighth of n if ``tries`` suffice.

    Args:
      fits: whether n fits; asked at most ``tries`` times.
      start: the first n to ask for, at least 1.
      tries: at least 1.

    Returns:
      n is 0 where nothing is known to fit, m None where everything asked for does.
    """
    low, high, n = 0, None, start
    for _ in range(tries):
        if fits(n):
            low = n
        else:
            high = n
        if high is None:
            n = 2 * low
        elif high - low <= max(1, low // 8):
            break
        else:
            n = (low + high) // 2
    return low, high
