"""Data files of the SDK."""

__all__: list[str] = []
