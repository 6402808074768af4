"""Pure analysis: from measured runs to a judgement, without clocks, event loops or I/O."""
