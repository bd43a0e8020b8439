"""Figures for people."""


def brief(value: float, digits: int = 3) -> str:
    """Return *value* with so many digits that count, and never with an exponent if it is large: ``1,230``."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** (digits - 1) else f"{rounded:.{digits}g}"
