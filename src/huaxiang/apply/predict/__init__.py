"""Customer lifetime value, purchase intent of a running session, the next purchase, what if."""
