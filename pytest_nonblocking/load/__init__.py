"""Running scenarios: single runs, bursts, their schedule, and the speed of the machine."""
