"""The helpers for logs agree with what a slow loop over all lines would say."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_helpers import loading

from rlm_mcp.repl.guest.helpers import logs, templates, times
from rlm_mcp.repl.guest.spans import spans_of

START = datetime(2026, 1, 2, 23, 30)  # noqa: DTZ001 - as a log has it


@pytest.fixture
def loaded():
    with loading() as load:
        yield load


def log(count, step_s=1.0):
    """A line every `step_s` seconds from 23:30 on, each tenth with a trace below it."""
    lines = []
    for number in range(count):
        at = (START + timedelta(seconds=number * step_s)).isoformat(sep=" ", timespec="seconds")
        level = "ERROR" if number % 10 == 0 else "INFO"
        lines.append(f"{at} {level} worker-{number % 3} request id={number * 7919} took {number}ms")
        if level == "ERROR":
            lines += [
                "Traceback (most recent call last):",
                '  File "app.py", line 3',
                "KeyError: 'x'",
            ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("line", "moment"),
    [
        ("2026-01-02T03:04:05.678Z INFO", (2026, 1, 2, 3, 4, 5, 678000)),
        ("2026-01-02 03:04:05,678 INFO", (2026, 1, 2, 3, 4, 5, 678000)),
        ("[2026-01-02 03:04:05] INFO", (2026, 1, 2, 3, 4, 5)),
        ("2026-01-02T03:04:05+02:00 x", (2026, 1, 2, 1, 4, 5)),
        ("2026-01-02 03:04:05 -0130 x", (2026, 1, 2, 4, 34, 5)),
        ("2026/01/02 03:04:05 [error] 12#12: x", (2026, 1, 2, 3, 4, 5)),
        ('1.2.3.4 - - [02/Jan/2026:03:04:05 +0100] "GET /"', (2026, 1, 2, 2, 4, 5)),
        ("Jan  2 03:04:05 host sshd[1]: x", (1900, 1, 2, 3, 4, 5)),
        ("Fri Jan  2 03:04:05 2026 x", (2026, 1, 2, 3, 4, 5)),
        ("01-02 03:04:05.678  123 I Tag: x", (1900, 1, 2, 3, 4, 5, 678000)),
        ("I0102 03:04:05.678901   12 x.go:1] x", (1900, 1, 2, 3, 4, 5, 678901)),
        ("1767323045.5 x", (2026, 1, 2, 3, 4, 5, 500000)),
        ('{"ts": 1767323045678, "msg": "x"}', (2026, 1, 2, 3, 4, 5, 678000)),
        ('{"level":"info","time":"2026-01-02T03:04:05Z"}', (2026, 1, 2, 3, 4, 5)),
        ("2026-13-45 03:04:05 no such day", None),
        ("request 1767323045 took long", None),
        ("Traceback (most recent call last):", None),
        ("", None),
    ],
)
def test_a_time_is_read_from_a_line_in_the_forms_logs_use(line, moment):
    wanted = moment and datetime(*moment)  # noqa: DTZ001
    assert times.parse_time(line) == wanted


@given(
    count=st.integers(1, 400),
    first=st.integers(-50, 450),
    length=st.integers(0, 500),
    block=st.sampled_from([64, 300, 64 << 10]),
)
def test_between_gives_the_lines_a_loop_would(count, first, length, block):
    t0 = START + timedelta(seconds=first)
    t1 = t0 + timedelta(seconds=length)
    text = log(count)
    wanted, inside = [], False
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        moment = times.parse_time(line)
        inside = t0 <= moment < t1 if moment else inside
        if inside:
            wanted.append((number, line))
    with pytest.MonkeyPatch.context() as patch, loading() as load:
        patch.setattr(logs, "BLOCK_CHARS", block)
        load({"app.log": text, "b.log": "x"})
        window = logs.between(t0, t1, "app.log")
        assert window == "".join(line for _, line in wanted)
        if wanted:
            assert (window.path, window.first) == ("app.log", wanted[0][0])
            assert window.last == wanted[-1][0]


def test_between_takes_times_as_they_are_written(loaded):
    loaded({"app.log": log(4000)})
    whole = logs.between("2026-01-02 23:31:00", "2026-01-02T23:32:00Z")
    assert whole == logs.between("23:31", "23:32:00")
    assert (whole.count("INFO"), whole.count("ERROR")) == (54, 6)
    assert logs.between("2026-01-03", "2026-01-04").startswith("2026-01-03 00:00:00")
    aware = datetime(2026, 1, 2, 23, 31, tzinfo=UTC)
    assert logs.between(aware, aware + timedelta(minutes=1)) == whole


def test_times_without_an_offset_are_in_the_logs_own(loaded):
    loaded({"a.log": "2026-01-02T03:00:00+0200 a\n2026-01-02T04:00:00+0200 b\n"})
    assert logs.between("2026-01-02 03:30", "2026-01-02 04:30").endswith("b\n")
    assert logs.between("03:30", "04:30").endswith("b\n")
    assert logs.between("2026-01-02 01:30Z", "2026-01-02 02:30Z").endswith("b\n")


def test_a_log_without_years_is_searched_without_them(loaded):
    loaded({"a.log": "Jan  2 03:00:00 host a\nJan  3 03:00:00 host b\n"})
    assert logs.between("2026-01-02 12:00:00", "Jan 4 00:00:00").endswith("b\n")


def test_what_cannot_be_bisected_says_why(loaded):
    loaded({"a.log": log(3), "b.txt": "no times\n"})
    with pytest.raises(ValueError, match="2 files are loaded; name the path"):
        logs.between("23:30", "23:31")
    with pytest.raises(ValueError, match=r"b\.txt has no times"):
        logs.between("23:30", "23:31", "b.txt")
    with pytest.raises(ValueError, match="'noon' is no time"):
        logs.between("noon", "23:31", "a.log")
    with pytest.raises(KeyError, match=r"did you mean 'a\.log'"):
        logs.between("23:30", "23:31", "a.lo")


def test_events_join_the_lines_of_a_record(loaded):
    loaded({"a.log": "early line\n" + log(21), "b.log": "no time\nat all\n"})
    found = list(logs.events())
    assert (
        "".join(event.text + "\n" for event in found)
        == "early line\n" + log(21) + "no time\nat all\n"
    )
    assert (found[0].time, found[0].text) == (None, "early line")
    assert (found[1].line, found[1].time) == (2, START)
    assert found[1].text.endswith("KeyError: 'x'")
    assert (found[2].line, found[2].time) == (6, START + timedelta(seconds=1))
    assert (found[-1].path, found[-1].line, found[-1].text) == ("b.log", 1, "no time\nat all")
    assert repr(logs.events("a.log")).splitlines()[0] == "a.log:1: early line"


def test_events_of_a_window_keep_their_lines(loaded):
    loaded({"a.log": log(50)})
    window = logs.between("23:30:10", "23:30:12")
    assert [(event.path, event.line) for event in logs.events(window)] == [
        ("a.log", 14),
        ("a.log", 18),
    ]
    (plain,) = logs.events("just a text")
    assert (plain.path, plain.line, plain.text) == (None, 1, "just a text")


@pytest.mark.parametrize("block", [100, 64 << 10])
def test_a_rate_counts_lines_in_each_stretch_of_time(loaded, monkeypatch, block):
    monkeypatch.setattr(logs, "BLOCK_CHARS", block)
    text = log(600)
    loaded({"a.log": text})
    wanted, bucket = Counter(), START
    for line in text.splitlines():
        bucket = (times.parse_time(line) or bucket).replace(second=0)
        wanted[bucket] += 1
    found = logs.rate("1m")
    assert dict(found) == wanted
    assert sum(count for _, count in found) == text.count("\n")
    assert repr(found).splitlines()[0].startswith("2026-01-02 23:30:00         78 ███")


def test_a_rate_of_a_pattern_counts_its_matches(loaded):
    loaded({"a.log": log(600), "b.log": log(60)})
    found = dict(logs.rate("5m", "ERROR"))
    assert found == {START: 36, START + timedelta(minutes=5): 30}
    assert logs.rate("5m", "ERROR", "b.log") == [(START, 6)]
    assert logs.rate("5m", "nowhere", "b.log") == [(START, 0)]


def test_a_rate_chooses_its_step_and_bounds_its_length(loaded):
    loaded({"a.log": log(600), "b.txt": "no times"})
    assert len(logs.rate()) == 60
    assert logs.rate(text="b.txt") == []
    with pytest.raises(ValueError, match="give a larger `every`"):
        logs.rate(1, text=log(2000))
    with pytest.raises(ValueError, match="a second at least"):
        logs.rate(0.5)


def test_templates_are_the_kinds_of_lines_with_what_differs_left_out(loaded):
    loaded({"a.log": log(600)})
    found = templates.templates()
    assert [(each.lines, each.text) for each in found[:2]] == [
        (540, "<*> <*> INFO <*> request id=<*> took <*>"),
        (60, "<*> <*> ERROR <*> request id=<*> took <*>"),
    ]
    assert (found[0].path, found[0].line) == ("a.log", 5)
    assert found[0].example.startswith("2026-01-02 23:30:01 INFO")
    assert sum(each.lines for each in found) == log(600).count("\n")
    assert repr(found).splitlines()[0].endswith("(a.log:5)")
    assert len(templates.templates(1)) == 1


def test_words_that_differ_in_a_place_become_one_template(loaded):
    users = ["ann", "bob", "cay", "dan"] * 5
    loaded({"a": "".join(f"user {name} has logged in from the office\n" for name in users)})
    assert [(t.lines, t.text) for t in templates.templates()] == [
        (20, "user <*> has logged in from the office")
    ]


def test_of_a_long_text_parts_are_looked_at_and_counts_projected(loaded, monkeypatch):
    monkeypatch.setattr(templates, "SAMPLED_CHARS", 20_000)
    monkeypatch.setattr(templates, "BLOCK_CHARS", 1000)
    text = log(5000)
    loaded({"a.log": text, "b.log": text})
    common = templates.templates(1)[0]
    assert common.estimated
    assert 0.8 < common.lines / 9000 < 1.2
    assert repr(common).startswith("~")


def test_two_windows_differ_in_what_one_says_more_often(loaded):
    calm = log(300).replace("ERROR", "INFO")
    storm = log(300) + "".join(f"{START} WARN pool {n} is exhausted\n" for n in range(50))
    found = templates.diff_windows(calm, storm)
    assert (found[0].before, found[0].after) == (0, 50)
    assert found[0].text == "<*> <*> WARN pool <*> is exhausted"
    assert repr(found[0]) == "0 -> 50  <*> <*> WARN pool <*> is exhausted"
    assert templates.diff_windows(calm, calm) == []


def test_a_text_may_be_a_path_a_window_or_itself(loaded):
    loaded({"a.log": "x\ny\n"})
    assert [(span.path, span.start) for span in spans_of("a.log")] == [("a.log", 14)]
    assert [(span.path, span.text) for span in spans_of("other")] == [(None, "other")]


@pytest.mark.parametrize("text", ["", "\n", "\n\n \n"])
def test_nothing_comes_of_nothing(text):
    assert templates.templates(text=text) == []
    assert logs.rate(text=text) == []
    assert [event for event in logs.events(text) if event.text.strip()] == []


def test_a_line_longer_than_a_sample_counts_once(monkeypatch):
    monkeypatch.setattr(templates, "SAMPLED_CHARS", 1000)
    monkeypatch.setattr(templates, "BLOCK_CHARS", 100)
    (found,) = templates.templates(text="word " * 10_000)
    assert found.lines == 1
