"""pytest plugin that proves that ASGI handlers never block the event loop."""
