"""Flags, ini files and markers: precedence, provenance and usage errors."""

import pytest

SHOW = """
import pytest

@pytest.mark.nonblocking{marker}
async def test_it(request):
    from pytest_nonblocking.plugin import MARKED
    settings = request.node.stash[MARKED]
    print("RESOLVED", settings.max_lag, settings.origins["max_lag"])
"""


def resolve(pytester, *flags, marker=""):
    pytester.makepyfile(SHOW.format(marker=marker))
    result = pytester.runpytest("-s", "--nonblocking-mode=off", *flags)
    result.assert_outcomes(passed=1)
    line = next(line for line in result.outlines if "RESOLVED" in line)
    value, origin = line.partition("RESOLVED ")[2].split(" ", 1)
    return float(value), origin


def test_default(pytester):
    assert resolve(pytester) == (0.02, "default")


def test_ini_beats_default(pytester):
    pytester.makeini("[pytest]\nnonblocking_max_lag = 30ms\n")
    assert resolve(pytester) == (0.03, "tox.ini")


def test_flag_beats_ini(pytester):
    pytester.makeini("[pytest]\nnonblocking_max_lag = 30ms\n")
    assert resolve(pytester, "--nonblocking-max-lag=40ms") == (0.04, "--nonblocking-max-lag")


def test_marker_beats_flag(pytester):
    flag = "--nonblocking-max-lag=40ms"
    assert resolve(pytester, flag, marker='(max_lag="50ms")') == (0.05, "marker")


def test_override_beats_ini(pytester):
    pytester.makeini("[pytest]\nnonblocking_max_lag = 30ms\n")
    resolved = resolve(pytester, "-o", "nonblocking_max_lag=35ms")
    assert resolved == (0.035, "-o nonblocking_max_lag")


@pytest.mark.parametrize("table", ["tool.pytest.ini_options", "tool.pytest"])
@pytest.mark.parametrize("value", ['"30ms"', "0.03"])
def test_toml_strings_and_numbers(pytester, table, value):
    if table == "tool.pytest" and int(pytest.__version__.partition(".")[0]) < 9:
        pytest.skip("pytest reads [tool.pytest] from version 9 on")
    pytester.makepyprojecttoml(f"[{table}]\nnonblocking_max_lag = {value}\n")
    assert resolve(pytester) == (0.03, "pyproject.toml")


def test_toml_list_of_causes(pytester):
    pytester.makepyprojecttoml(
        '[tool.pytest.ini_options]\nnonblocking_allow = ["thread-pool", "serialised-wait"]\n'
    )
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest().assert_outcomes(passed=1)


def test_the_closer_marker_wins_keyword_by_keyword(pytester):
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.nonblocking(max_lag="70ms", concurrency=9)

        @pytest.mark.nonblocking(max_lag="80ms")
        async def test_it(request):
            from pytest_nonblocking.plugin import MARKED
            settings = request.node.stash[MARKED]
            assert (settings.max_lag, settings.concurrency) == (0.08, 9)
        """
    )
    pytester.runpytest("--nonblocking-mode=off").assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("flag", "shown"),
    [
        ("--nonblocking-max-lag=fast", "*max_lag is 'fast', but must be a duration such as 20ms*"),
        (
            "--nonblocking-concurrency=1",
            "*concurrency is '1', but must be an integer of at least 2*",
        ),
        ("--nonblocking-concurrency=1000000000", "*of at least 2 and at most 100000*"),
        ("--nonblocking-timeout=1e400s", "*timeout is '1e400s', but must be a duration such as*"),
        ("--nonblocking-max-serial-fraction=nan", "*must be a number above 0 and at most*"),
        ("--nonblocking-mode=on", "*mode is 'on', but must be one of enforce, report, off*"),
        ("--nonblocking-allow=locks", "*must be one or more of blocking-call, cpu-on-loop*"),
        ("--nonblocking-app=shop", "*must be module:attribute*"),
        ("--nonblocking-report=out.pdf", "*'out.pdf': the extension must be one of .json*"),
        ("--nonblocking-report=out.xml", "*one of .json*; for JUnit XML use*--junitxml"),
        ("--nonblocking-report=missing/out.json", "*cannot write*missing*"),
        ("--nonblocking-report=.", "*the extension must be*"),
        ("--nonblocking-guard=on", "*guard is 'on', but must be one of note, fail, off"),
        (
            "--nonblocking-guard-allow=disk",
            "*guard_allow is *, but must be one or more of n*",
        ),
        ("--nonblocking-guard-categories=disk", "*must be one or more of network, database*"),
        ("--nonblocking-guard-calls=fetch", "*the dotted name of a C function*"),
        ("--nonblocking-guard-calls=a.b: disk", "*the dotted name of a C function*"),
    ],
)
def test_a_bad_flag_is_a_usage_error_before_any_test(pytester, flag, shown):
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest(flag)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([shown])
    assert "passed" not in result.stdout.str()


def test_a_bad_ini_value_names_the_file(pytester):
    pytester.makeini("[pytest]\nnonblocking_timeout = never\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*tox.ini: nonblocking setting timeout is 'never'*"])


@pytest.mark.parametrize(
    ("marker", "shown"),
    [
        (
            "(max_lags=1)",
            "*marker: nonblocking has no setting 'max_lags'; valid settings: concurrency,*",
        ),
        ("(max_lag='x')", "*marker: nonblocking setting max_lag is 'x'*"),
        (
            "(timeout=10**400)",
            "*setting timeout is 1000*000, but must be a duration*at most 1000000 s",
        ),
        (
            "(concurrency=10**5000)",
            "*setting concurrency is *, but must be an integer of at least 2*",
        ),
        ("(concurrency=3.0)", "*setting concurrency is 3.0, but must be an integer of at least*"),
        ("(10**5000)", "*takes keyword arguments only, got *"),
        ("(50)", "*takes keyword arguments only, got 50*"),
        ("(report='x.json')", "*'report' applies to the whole run*"),
    ],
)
def test_a_bad_marker_is_a_usage_error_before_any_test(pytester, marker, shown):
    pytester.makepyfile(SHOW.format(marker=marker))
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([shown])


def test_a_toml_number_that_overflows_is_a_usage_error(pytester):
    pytester.makepyprojecttoml(f"[tool.pytest.ini_options]\nnonblocking_timeout = 1{400 * '0'}\n")
    result = pytester.runpytest()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*pyproject.toml: nonblocking setting timeout is *1000*, but must be a duration*"]
    )


def test_a_failure_names_the_limit_and_its_origin(run_get):
    result = run_get("/blocking", marker='(max_blocked="7ms")')
    result.stdout.fnmatch_lines(["*limit max_blocked=7 ms (from marker)"])


def test_the_marker_is_registered(pytester):
    pytester.makepyfile(SHOW.format(marker=""))
    result = pytester.runpytest("--strict-markers", "--nonblocking-mode=off")
    result.assert_outcomes(passed=1)
    markers = pytester.runpytest("--markers")
    markers.stdout.fnmatch_lines(["@pytest.mark.nonblocking(concurrency=*"])


def test_the_plugin_can_be_switched_off(pytester):
    pytester.makepyfile("def test_it(): pass")
    pytester.runpytest_subprocess("-p", "no:nonblocking").assert_outcomes(passed=1)
