"""From files to pixels: where the bytes come from, and how they are resized."""
