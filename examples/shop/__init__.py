"""A small shop: each module has endpoints that block the event loop, and their right twins."""
