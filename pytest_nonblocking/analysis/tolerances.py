"""Every tolerance of the analysis, with its derivation."""

from __future__ import annotations

# Bounds

LEAST_EXCESS = 0.001
"""Seconds per request below which nothing fails for scaling: 1,000 requests/s on one core."""

CPU_SPREAD, CPU_SPREAD_PRESSED = 0.12, 0.05
"""Relative spread of the CPU time of the same code between measurements (caches, clock speed, the
measured slowdown itself), and what is added under full CPU pressure. CPU divided by the slowdown
had a standard deviation of 7 % on a virtual machine with a busy host; docs/operating-curve.md shows
the resulting error rates."""

COLD = 0.6
"""Largest share by which turns of neighbours on the core raise the CPU time of the same code. Each
leaves caches without its data, and to fill them took 1.1 ms of the next slice of 3 ms: a factor of
3 / (3 - 1.1) = 1.58. A page of an ORM took 2.8 ms of CPU on a quiet machine and 4.0 ms where it
waited for 0.6x of that for a core; at 1.5x it took 5.1 ms, which this does not cover. A share of 1
would: with it, four xdist workers left 5 of 71 faulty handlers undecided."""

MARGIN, MARGIN_PRESSED = 0.04, 0.10
"""Share by which the judged figure must clear its limit on either side, and what is added under
full CPU pressure. It covers the difference between two measurements of the same waits; see
docs/operating-curve.md."""

RESOLUTION = 3
"""Multiple of a limit up to which a pass admits what a descheduled loop may have hidden: 2 to 5 ms
per request beside four busy processes on two cores, 20 ms beside ten."""

CONFIDENCE = 3.0
"""Standard deviations of the bounds of a sampled share: 1 in 740 on each side."""

ROUND = 0.01
"""Seconds of one round of the scheduler: three tasks a core with slices of 3 ms. Looks within one
may see the same threads wait, so they count as one sample."""

SERVER_WAKEUPS, LONGEST_WAKEUPS = 4, 18
"""Wake-ups of another process's server per request (accept, read, a worker, write), each as late as
the watchdog was on average; and the same for the longest of 50 requests. The sum of four
exponential delays exceeds 18 means in 1 of 740 such maxima."""

FREELY_HELD = 0.41
"""Largest share of the time for which threads that release the GIL while computing hold it:
40 hashing threads on two cores beside four busy processes, where the holder of the GIL waits for a
core too. At a share of 1 the GIL is the bottleneck."""

RESIDUAL_SHARE, RESIDUAL_SECONDS = 0.01, 0.001
"""Largest part of a run that its budget may leave unaccounted for: one clock reading at each end
(20 us), and one kernel accounting tick (1 to 4 ms in the worst case)."""

CALLBACK_MARGIN = 0.02
"""Share by which a callback must clear its limit: a 50 ms timer fires up to 1 ms late."""

PART_OF_A_CORE = 1 / 6
"""What four busy processes on two cores leave of a core to a thread or a child process at least:
two that compute got 0.17 to 0.25 of one. On a system without schedstat, how long they wait for one
is not known."""

WAVES = 1.5
"""Multiple of T(1) / n by which a default pool of n threads may delay each request, and of the mean
delay of its threads. Its copies end in waves of n, T(1) apart: a factor of 1; and a wave is as slow
as the slowest of its calls."""

STEAL_TICK = 0.01
"""Seconds by which the kernel's count of stolen time is coarse: a tick of /proc/stat (USER_HZ)."""

BLIND = 0.1
"""Largest share of the time for which the loop may be descheduled on a system without schedstat."""

# The number of runs

SINGLES = 3
"""Single runs before the first burst."""

MORE_SINGLES, ENOUGH_SINGLES, MOST_SINGLES = 5, 8, 48
"""Single runs needed before waits can convict: for what another copy is seen to hold, and for
anything else, which may be waits of random length; and most of them. Eight are the fewest of which
a burst of 8 can prove by ranks that it is slower, at a chance of FLIP: 9 / C(16, 8). With 48, the
last copy that ranks can prove to be slower is number 41 of 50, in the middle of a queue that every
third copy is in. A look after each of them makes a wrong proof no likelier than 1 in 2,000 (20,000
simulations of each of eight distributions and three sizes)."""

QUEUED = 0.5
"""Share of the waiting for what one copy gets after another from which the middle copy is in a
queue, and needs no ranks."""

FLIP = 0.001
"""Chance at which waits of random length may look like a queue."""

SMALL_BURST = 8
"""Copies of the first burst, which is enough for a handler that blocks."""

CONVICTING = 2
"""Bursts that must agree on a fail that the single runs do not show by themselves."""

QUIETEST = 3
"""Bursts at one level that vote: those that the machine disturbed no more than the third one."""

MOST, LONGEST, MOST_SHORT = 5, 2.0, 25
"""Bursts at one level while the machine disturbs them: 5, or as many as fit into 2 s, up to 25. Of
25 bursts of 30 ms beside four busy processes, some fall into a moment in which the loop has a core
to itself."""

MOSTLY_TAKEN = 0.5
"""Share of a run that timed out which the machine took, above which it may only have been slow. A
copy that never ends does not compete for cores: the share is then 0.05, even beside busy ones."""

IDLE_WHEN_LATE = 0.9
"""Share of a run that timed out above which its loop was idle: the rest is callbacks of the
plugin's own looks and of other tasks."""

# Attribution

COMPUTES = 0.5
"""Share of a callback's CPU time from which one call is what computes: the majority."""

BLOCKS = 0.25
"""Least share of the longest blocked callback that a call takes in the guarded run if it is the
cause: concurrent copies may wait for longer than a single one."""

QUICK_CALLS = 0.005
"""Seconds below which calls are quick: the default of ``max_blocked``. Which of two quick calls
took longer is chance."""

UNSEEN = 0.005
"""CPU seconds up to which a callback may fall between two samples, usually 2.5 ms apart."""

CALLBACKS_ALIKE = 1 + CONFIDENCE * CPU_SPREAD
"""Multiple of the mean CPU of slices up to which a callback may be one of them. In slices of 5 ms
that hold the GIL, half fall between samples and half do not."""

ALIKE = 0.8
"""Share of the copies at the fullest place from which another one is as full. A queue that lets one
copy pass each s seconds has d / s of them in a wait of d seconds behind it. Over the limit, s is at
least a tenth of T(1) and so of d: that is 10 copies, of 50 at once a fifth."""

BESIDE = 4
"""A queue in user code is named even if one in a library is up to 4x as long: frameworks have
tasks of their own that wait beside each handler."""

LOCK_IS_BOTTLENECK = 0.2
"""Share of their time for which a pool's threads wait for a lock that limits them. If they would
use it r times as much as it allows, they wait for 1 - 1/r of their time: a fifth from r = 1.25 on.
Up to r = 0.9 they wait for less, even if all times are exponential: the tests simulate it."""

LASTS_AS_LONG = 0.8
"""Share of the time for which a pool is full that a lock which limits it is contended at least. All
of its threads but one wait for the lock then, and each look samples up to 16 of them."""
