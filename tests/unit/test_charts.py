"""The positions of what the page draws, from literal records."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reported import level, record

from pytest_nonblocking.reporting import charts

HEIGHT = charts.BOTTOM - charts.TOP


def levels(*each):
    return record(levels=list(each)).levels


def test_the_parts_of_a_bar_stand_on_each_other_and_on_the_axis():
    chart = charts.budget(levels(level(1, 20.0, cpu=5.0, idle=15.0), level(8, 30.0, cpu=30.0)))
    drawn = {(bar.x, bar.colour): bar for bar in chart.bars}
    first, second = sorted({x for x, _ in drawn})
    cpu, idle = drawn[first, "cpu"], drawn[first, "idle"]
    assert cpu.y + cpu.height == charts.BOTTOM
    assert idle.y + idle.height == pytest.approx(cpu.y)
    assert idle.height == pytest.approx(3 * cpu.height)
    assert drawn[second, "cpu"].height == pytest.approx(6 * cpu.height)
    assert first + cpu.width < second
    assert [tick.label for tick in chart.x_ticks] == ["1", "8"]


def test_the_highest_bar_fits_the_axis():
    chart = charts.budget(levels(level(1, 30.0, idle=30.0)))
    assert [tick.label for tick in chart.y_ticks] == ["0", "5", "10", "15", "20", "25", "30"]
    assert min(bar.y for bar in chart.bars) == pytest.approx(charts.TOP)


def test_the_measured_lines_lie_between_the_ideal_and_the_worst():
    chart = charts.latency(levels(level(1, 20.0, idle=20.0), level(4, 50.0, idle=50.0)))
    slowest, median, ideal, worst = (line.points for line in chart.lines)
    assert ideal[0] == worst[0] == slowest[0]
    assert ideal[0][1] == ideal[1][1]
    assert charts.BOTTOM - worst[1][1] == pytest.approx(4 * (charts.BOTTOM - worst[0][1]))
    assert worst[1][1] < slowest[1][1] < median[1][1]
    assert slowest[1][1] < ideal[1][1]
    assert [line.dots for line in chart.lines] == [True, True, False, False]


def test_a_latency_that_is_not_known_has_no_point():
    unknown = {"min": None, "p50": None, "p95": None, "max": None}
    chart = charts.latency(levels(level(1, 20.0), level(4, 50.0) | {"latency_ms": unknown}))
    assert [len(line.points) for line in chart.lines] == [1, 1, 2, 2]


def test_a_level_whose_label_would_overlap_the_next_has_none():
    chart = charts.latency(levels(*(level(n, 20.0) for n in (1, 8, 1000))))
    assert [tick.label for tick in chart.x_ticks] == ["8", "1000"]


def test_a_reader_who_does_not_see_the_drawing_has_its_figures():
    chart = charts.budget(levels(level(1, 20.04), level(50, 31.0)))
    assert chart.shown == "Where the loop's time goes, 1 at once: 20.0 ms, 50 at once: 31.0 ms"


@given(st.floats(min_value=0, max_value=1e7))
def test_an_axis_has_a_few_round_steps_and_holds_what_is_drawn(makespan):
    chart = charts.budget(levels(level(1, 20.0, idle=makespan)))
    values = [float(tick.label) for tick in chart.y_ticks]
    positions = [tick.position for tick in chart.y_ticks]
    assert 2 <= len(values) <= 7
    assert values[0] == 0
    assert values[-1] >= makespan * 0.99999
    assert (positions[0], positions[-1]) == (charts.BOTTOM, pytest.approx(charts.TOP))
    assert all(0 <= bar.height <= HEIGHT * 1.00001 for bar in chart.bars)
