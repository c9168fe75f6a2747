import json
import math
import re
import subprocess
import sys
from collections import Counter
from datetime import datetime
from itertools import pairwise

import pytest
from asking import by_their_programs, of_kind

from rlm_mcp.evals.families.logs import items
from rlm_mcp.evals.log_corpus import FILES, simulate
from rlm_mcp.evals.log_simulator import STATES

CHARS, SEED = 120_000, 3
KINDS = {
    "count", "first", "last", "absent", "p95", "top", "gap", "path", "retried", "last_cause",
    "root_cause", "changed",
}  # fmt: skip


def backquoted(item):
    return re.findall(r"`([^`]+)`", item.question)


def line_at(documents, place):
    path, _, number = place.rpartition(":")
    return documents[path].split("\n")[int(number) - 1]


def distinct_lines(documents, glob=""):
    """Lines with a time, each once: what arrived twice is word for word the same."""
    texts = (text for path, text in documents.items() if path.startswith(glob))
    lines = {line for text in texts for line in text.split("\n")}
    return sorted(line for line in lines if hour_of(line) is not None)


def hour_of(line):
    """The hour in UTC that a line says."""
    found = re.search(r"(?:^|[T ])(\d\d):\d\d:\d\d", line)
    if not found:
        return None
    return (int(found[1]) - 2 * ("+0200" in line)) % 24


def window_of(item):
    """The whole hours a question is about."""
    start, end = re.search(r"from (\d\d):00 up to, but without, (\d\d):00", item.question).groups()
    return range(int(start), int(end) or 24)


def test_a_text_has_questions_of_every_kind_and_about_its_size(asked, documents):
    assert {item.kind for item in asked} == KINDS
    assert CHARS <= sum(map(len, documents.values())) < CHARS * 1.05
    assert len({item.id for item in asked}) == len(asked)


def test_the_gold_scores_in_full_and_a_wrong_answer_nothing(asked):
    wrong = {"first": "ops.syslog:999", "last": "ops.syslog:999", "absent": "ops.syslog:1"}
    wrong |= dict.fromkeys(("count", "p95", "gap", "retried", "last_cause"), "-999")

    for item in asked:
        assert item.score(item.gold) == 1, item
        assert item.score(wrong.get(item.kind, "nothing of that kind")) < 0.01, item


@pytest.mark.anyio
async def test_what_a_perfect_model_would_run_finds_every_gold(asked):
    said = await by_their_programs(asked)

    assert [
        item.id for item, text in zip(asked, said, strict=True) if item.score(text) < 0.99
    ] == []


def test_the_same_arguments_give_the_same_questions_whatever_the_hashes_of_the_process(asked):
    script = (
        "from rlm_mcp.evals.families.logs import items\n"
        f"print([(i.id, i.question, i.gold, i.program) for i in items({CHARS}, {SEED})])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={"PYTHONHASHSEED": "7", "PYTHONIOENCODING": "utf-8"},
        encoding="utf-8",
    )

    assert ran.stdout.strip() == str([(i.id, i.question, i.gold, i.program) for i in asked])
    assert items(20_000, 1)[0].id != items(20_000, 2)[0].id


def test_the_logs_have_late_lines_double_lines_traces_and_four_formats(documents):
    assert list(documents) == [path for paths in FILES.values() for path in paths]
    times = re.findall("^time=([^ ]+)", documents["orders.log"], re.MULTILINE)
    assert any(b < a for a, b in pairwise(times))
    assert max(Counter(documents["orders.log"].splitlines()).values()) == 2
    assert re.search(r"^Caused by: \S+: .+\n\tat ", documents["payments.log"], re.MULTILINE)
    assert re.match(r'time=\S+Z level=info msg="', documents["orders.log"])
    assert re.match(r"\d{4}-\d\d-\d\d [\d:]+,\d{3} \+0200 [A-Z]+ +\[", documents["payments.log"])
    assert re.match(r"[A-Z][a-z]{2} [ \d]\d [\d:]{8} db-1 postgres\[", documents["db.syslog"])


def test_a_request_goes_from_state_to_state_and_takes_as_long_as_it_says():
    log = simulate(CHARS, SEED)
    allowed = {
        (state.message, STATES[after].message)
        for state in STATES.values()
        for after, _ in state.after
    }
    allowed |= {
        ("charge timed out", "charge given up"),
        ("connection pool exhausted", "request answered"),
    }
    requests = {}
    for placed in log.records:
        if "req" in placed.record.fields:
            requests.setdefault(placed.record.fields["req"], []).append(placed.record)

    for records in requests.values():
        messages = [record.message for record in records]
        steps = {step for step in pairwise(messages) if step[1] != "connection pool exhausted"}
        assert steps <= allowed
        assert (messages[0], messages[-1]) == ("request received", "request answered")
        spent = records[-1].moment - records[0].moment
        assert 0 <= records[-1].fields["duration_ms"] - spent.total_seconds() * 1000 < 50


def test_every_record_stands_at_each_place_it_is_said_to_be():
    log = simulate(CHARS, SEED)

    for placed in log.records:
        for path, line in placed.places:
            assert placed.record.message in line_at(log.documents, f"{path}:{line}")
    copies = sum(len(placed.places) for placed in log.records)
    heads = (hour_of(line) for text in log.documents.values() for line in text.split("\n"))
    assert copies == sum(hour is not None for hour in heads) > len(log.records)


def test_counts_are_those_of_distinct_lines(asked, documents):
    by_message, by_level, by_status = of_kind(asked, "count")

    [message] = backquoted(by_message)
    assert int(by_message.gold) == sum(message in line for line in distinct_lines(documents))
    level, service = re.search(r"of level (\w+) did (\w+) log", by_level.question).groups()
    assert int(by_level.gold) == sum(
        re.search(rf"(?i)\b{level}", line) is not None and hour_of(line) in window_of(by_level)
        for line in distinct_lines(documents, service)
    )
    status = re.search(r"status (\d+)", by_status.question)[1]
    lines = distinct_lines(documents, "gateway")
    assert int(by_status.gold) == sum(f'"status": {status}' in line for line in lines)
    [retried] = of_kind(asked, "retried")
    again = {line.rpartition("req=")[2] for line in distinct_lines(documents, "orders")
             if backquoted(retried)[0] in line}  # fmt: skip
    assert int(retried.gold) == len(again)


def test_the_first_and_last_place_hold_the_message_and_none_is_outside(asked, documents):
    for kind, beyond in (("first", min), ("last", max)):
        [item] = of_kind(asked, kind)
        [message] = backquoted(item)
        lines = [line for line in distinct_lines(documents) if message in line]
        assert beyond(lines) == line_at(documents, item.gold)


def test_what_is_absent_is_in_no_line_of_the_window(asked, documents):
    for item in of_kind(asked, "absent"):
        [message] = backquoted(item)
        hours = {hour_of(line) for line in distinct_lines(documents) if message in line}
        assert not hours & set(window_of(item))
        assert [item.score(said) for said in ("none", "None.", "orders.log:1")] == [1, 1, 0]


def test_the_percentile_is_that_of_the_answers_in_the_window(asked, documents):
    [item] = of_kind(asked, "p95")
    answers = map(json.loads, distinct_lines(documents, "gateway"))
    took = sorted(
        answer["duration_ms"]
        for answer in answers
        if "duration_ms" in answer and int(answer["ts"][11:13]) in window_of(item)
    )

    assert took
    assert int(item.gold) == took[math.ceil(0.95 * len(took)) - 1]


def test_the_top_errors_are_ahead_of_all_others(asked, documents):
    [item] = of_kind(asked, "top")
    log = simulate(CHARS, SEED)
    counted = Counter(p.record.message for p in log.records if p.record.level == "ERROR")
    names = set(item.gold.split(", "))

    lines = [
        line for line in distinct_lines(documents) if re.search(r"(?i)\blevel\W+error|ERROR", line)
    ]
    assert counted == {m: sum(m in line for line in lines) for m in counted}
    assert min(counted[m] for m in names) > max(n for m, n in counted.items() if m not in names)


def test_the_gap_is_the_longest_between_two_neighbours_in_time(asked, documents):
    [item] = of_kind(asked, "gap")
    service = re.search(r"did (\w+) log nothing", item.question)[1]
    lines = distinct_lines(documents, service)
    if service == "db":
        stamps = [
            datetime.strptime(f"2026 {line[:15]} +0000", "%Y %b %d %H:%M:%S %z") for line in lines
        ]
    else:
        written = [
            re.search(r"\d{4}-\d\d-\d\d[T ][\d:.,]+(?:Z| \+0200)", line)[0] for line in lines
        ]
        stamps = [datetime.fromisoformat(text.replace(" +", "+")) for text in written]
    stamps.sort()

    assert float(item.gold) == max((b - a).total_seconds() for a, b in pairwise(stamps))


def test_the_causes_counted_are_the_last_of_their_traces(asked, documents):
    [item] = of_kind(asked, "last_cause")
    message, _, cause = backquoted(item)
    records = set(re.split(r"\n(?=\d{4}-)", documents["payments.log"].strip("\n")))

    assert int(item.gold) == sum(
        message in text and text.rpartition("Caused by: ")[2].startswith(cause) for text in records
    )


def test_the_root_cause_is_a_deploy_of_the_service_whose_pool_ran_out(asked, documents):
    [item] = of_kind(asked, "root_cause")
    deploy, pool, failed = item.gold.split(" -> ")
    service = pool.partition(".")[0]

    assert f"deploy finished service={service}" in line_at(documents, deploy)
    assert "connection pool exhausted" in line_at(documents, pool)
    assert '"status": 503' in line_at(documents, failed)
    others = [
        line for line in distinct_lines(documents) if "pool exhausted" in line or ": 503" in line
    ]
    assert line_at(documents, failed) == min(line for line in others if ": 503" in line)
    assert line_at(documents, pool) == min(line for line in others if "pool exhausted" in line)
    assert item.score(f"{pool} -> {failed}") == pytest.approx(1 / 3)


def test_what_changed_is_rare_in_the_other_hours(asked, documents):
    [item] = of_kind(asked, "changed")
    [hour] = window_of(item)
    names = item.gold.split(", ")

    assert names != ["none"]
    for name in names:
        hours = Counter(hour_of(line) for line in distinct_lines(documents) if name in line)
        assert hours[hour] >= 5
        assert hours[hour] >= 5 * (hours.total() - hours[hour]) / 23


def test_the_path_of_a_request_is_that_of_its_lines_in_time(asked):
    [item] = of_kind(asked, "path")
    services = item.gold.split(" -> ")

    assert services[0] == services[-1] == "gateway"
    assert all(a != b for a, b in pairwise(services))
    assert item.score(" -> ".join(services[:-1])) < 1
    assert len(item.evidence) >= len(services)


@pytest.mark.parametrize("chars", [3_686, 5_000, 8_000])
def test_a_small_text_is_asked_what_it_can_answer(chars):
    for seed in range(12):
        assert items(chars, seed)
