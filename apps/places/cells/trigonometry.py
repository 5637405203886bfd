"""Sines and cosines that are the same number on every processor.

numpy's and the C library's differ in the last digit between processors, versions and systems, and a position
on the border of two cells then falls into either. Here they are sums and products alone, which IEEE 754 fixes
to the last bit, with a table made by integer arithmetic.

Source: S. Gal and B. Bachelis 1991, An accurate elementary mathematical library for the IEEE floating point
standard (a table and a short polynomial); W. Cody and W. Waite 1980, Software manual for the elementary
functions (the angle less a multiple of pi in parts); T. Dekker 1971 and D. Knuth (exact products and sums).
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_LAST = 128  # table entries on each side of 0, to pi
_BITS = 180  # binary digits after the point of the integers that the table is made with
_PI = 3141592653589793238462643383279502884197169399375105820974945 * (1 << _BITS) // 10**60
_PART = 45  # bits of a part of pi / 128: its products with -128 to 128 are exact
_CUT = 3 * 2.0**21  # adding it and taking it away leaves multiples of 2**-30: 24 bits of a remainder
_SPLIT = 2.0**27 + 1  # cuts a double into halves of 26 bits


def sin_cos(angle_rad: Floats) -> tuple[Floats, Floats]:
    """Sines and cosines, each the nearest double but for about three in ten thousand: those are the next.

    Args:
        angle_rad: radians, -pi to pi.

    Shape:
        angle_rad: (N,); returns: (N,) and (N,).
    """
    number = np.rint(angle_rad * (_LAST / np.pi))
    r, r_rest = _remainder(angle_rad, number)
    r_high = (r + _CUT) - _CUT
    r_low = (r - r_high) + r_rest
    square = r * r
    cube = square * r * (-1 / 6 + square * (1 / 120 - square * (1 / 5040)))  # sin r - r
    bend = square * (-0.5 + square * (1 / 24 - square * (1 / 720 - square * (1 / 40320))))  # cos r - 1
    at = number.astype(np.int64) + _LAST
    sin, sin_high, sin_low, sin_rest, cos, cos_high, cos_low, cos_rest = (row.take(at) for row in _table())
    small_sin = sin * bend + cos * cube + (cos_high * r_low + cos_low * r + sin_rest)
    small_cos = cos * bend - sin * cube - (sin_high * r_low + sin_low * r - cos_rest)
    return _sum(sin, cos_high * r_high, small_sin), _sum(cos, -sin_high * r_high, small_cos)


def _remainder(angle: Floats, number: Floats) -> tuple[Floats, Floats]:
    """``angle - number * pi / 128`` as a double below 1 / 64 and the rest of it."""
    first, second, third = _parts_of_pi()
    near = angle - number * first  # both exact
    far = number * second  # exact
    r = near - far
    turned = near - r
    lost = (near - (r + turned)) + (turned - far)
    return r, lost - number * third


def _sum(a: Floats, b: Floats, small: Floats) -> Floats:
    """``a + b + small``; what the rounding of ``a + b`` loses is added to what is small."""
    whole = a + b
    of_b = whole - a
    lost = (a - (whole - of_b)) + (b - of_b)
    return whole + (lost + small)


@cache
def _parts_of_pi() -> tuple[float, float, float]:
    """pi / 128 as a sum of three doubles, the first two of 45 bits."""
    left, parts = _PI, []
    for cut in (_BITS + 2 - _PART, _BITS + 2 - 2 * _PART, 0):
        part = left >> cut << cut
        parts.append(part / (_LAST << _BITS))
        left -= part
    return parts[0], parts[1], parts[2]


@cache
def _table() -> NDArray[np.float64]:
    """Sines of k * pi / 128: the double, its upper half, all below that half and all below the double; then
    the same of cosines, (8, 257)."""
    columns = []
    for number in range(-_LAST, _LAST + 1):
        column: list[float] = []
        for exact in _exact(number):
            value = exact / (1 << _BITS)  # the division of integers rounds to the nearest
            high = value * _SPLIT - (value * _SPLIT - value)
            column += [value, high, _below(exact, high), _below(exact, value)]
        columns.append(column)
    return np.ascontiguousarray(np.array(columns).T)


def _below(exact: int, value: float) -> float:
    return (exact - int(value * 2.0**_BITS)) / (1 << _BITS)


def _exact(number: int) -> tuple[int, int]:
    """sin and cos of ``number * pi / 128`` as integers in units of 2**-180: their Taylor series."""
    sums, term, power = [0, 0], 1 << _BITS, 0
    while term:
        sums[power % 2] += term if power % 4 < 2 else -term
        power += 1
        term = (abs(number) * _PI // _LAST * term >> _BITS) // power
    return (sums[1] if number >= 0 else -sums[1]), sums[0]
