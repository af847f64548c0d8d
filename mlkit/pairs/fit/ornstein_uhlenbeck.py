"""The Ornstein-Uhlenbeck process of a spread, and when to trade it.

dX = speed (mean - X) dt + volatility dW, with time in bars.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Estimate:
    """A parameter and its standard error."""

    value: float
    error: float

    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval."""
        return self.value - 1.96 * self.error, self.value + 1.96 * self.error


@dataclass(frozen=True)
class OrnsteinUhlenbeck:
    """A process fitted to a spread that was observed once a bar.

    Attributes:
        speed: Of reversion, a bar.
        mean: The level that it reverts to.
        volatility: A square root of a bar.
        half_life: ln 2 / speed, in bars.
        deviation: Standard deviation of the stationary process.
    """

    speed: Estimate
    mean: Estimate
    volatility: Estimate
    half_life: Estimate
    deviation: float


def fit(spread: NDArray[np.float64]) -> OrnsteinUhlenbeck | None:
    """Fit by maximum likelihood, which is the regression of each level on the one before.

    Standard errors follow from the regression's by the delta method.

    Args:
        spread: Shape (length,).

    Returns:
        None if the spread does not revert: the slope is not between 0 and 1.
    """
    before, after = spread[:-1] - spread.mean(), spread[1:] - spread.mean()
    count = len(before)
    square = float(((before - before.mean()) ** 2).sum())
    slope = float((before - before.mean()) @ after / square)
    if not 0.0 < slope < 1.0:
        return None
    constant = float(after.mean() - slope * before.mean())
    residual = after - constant - slope * before
    variance = float(residual @ residual) / (count - 2)
    return _from_regression(
        slope, constant, variance, square, count, float(spread.mean()), float(before.mean())
    )


def _from_regression(
    slope: float,
    constant: float,
    variance: float,
    square: float,
    count: int,
    centre: float,
    before: float,
) -> OrnsteinUhlenbeck:
    slope_error = math.sqrt(variance / square)
    speed = -math.log(slope)
    speed_error = slope_error / slope
    level = constant / (1.0 - slope)
    lever = level - before  # the constant's and the slope's errors go together
    mean_error = math.sqrt(variance / count + lever**2 * variance / square) / (1.0 - slope)
    stationary = variance / (1.0 - slope**2)
    squared = 2.0 * speed * stationary
    by_slope = -1.0 / (slope * speed) + 2.0 * slope / (1.0 - slope**2)  # of log squared
    squared_error = squared * math.hypot(math.sqrt(2.0 / count), by_slope * slope_error)
    volatility = math.sqrt(squared)
    return OrnsteinUhlenbeck(
        speed=Estimate(speed, speed_error),
        mean=Estimate(centre + level, mean_error),
        volatility=Estimate(volatility, squared_error / (2.0 * volatility)),
        half_life=Estimate(math.log(2.0) / speed, math.log(2.0) / speed**2 * speed_error),
        deviation=math.sqrt(stationary),
    )


@dataclass(frozen=True)
class Thresholds:
    """When to trade a reverting spread.

    Attributes:
        distance: Enter so far from the mean, and leave as far on its other side.
        return_rate: Expected return for each unit of time, after costs.
        cycle_time: Expected time from one entry to the next.
    """

    distance: float
    return_rate: float
    cycle_time: float


def bertram(speed: float, volatility: float, cost: float) -> Thresholds:
    """Find the thresholds with the most expected return for each unit of time.

    Bertram (2010), "Analytic solutions for optimal statistical arbitrage trading", section 4:
    enter at -d, leave at d, and start again; the spread is a log price, `cost` is what one
    cycle costs, and time is in the unit of `speed`.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import erfi

    unit = volatility / math.sqrt(speed)

    def cycle_time(distance: float) -> float:
        return 2.0 * math.pi / speed * float(erfi(distance / unit))

    def loss(distance: float) -> float:
        return -(2.0 * distance - cost) / cycle_time(distance)

    # Beyond six units a cycle takes e^36 of them; a cost above that is never earned back.
    best = minimize_scalar(
        loss,
        bounds=(cost / 2.0, cost / 2.0 + 6.0 * unit),
        method="bounded",
        options={"xatol": 1e-12 * unit},
    )
    distance = float(best.x)
    return Thresholds(distance, -loss(distance), cycle_time(distance))
