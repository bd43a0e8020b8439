"""Data files of the SDK."""
