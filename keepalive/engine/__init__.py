"""Acts on what the core decides."""
