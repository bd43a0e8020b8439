"""Versions in production: published to the store, promoted on running servers, rolled back."""
