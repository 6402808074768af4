"""From measured runs to a judgement. Pure: no clock, no event loop, no input or output."""
