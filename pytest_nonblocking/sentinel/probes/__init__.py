"""How each kind of event loop is hooked."""
