"""What is read out of a root model's reply."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlm_mcp.engine import prompts
from rlm_mcp.engine.replies import ParsedReply, TextFinal, parse, strip_thinking


def table(**cases):
    """Rows of a parametrized table, each under a readable id."""
    return [pytest.param(*row, id=name.replace("_", " ")) for name, row in cases.items()]


TAGS = [
    *("repl", "python", "py", "Python3", "python-repl"),
    *("ipython", "tool_code", "pycon", "code"),
]


@pytest.mark.parametrize("opening", [*TAGS, "  repl", "{python}", "python title=x", "python:a.py"])
def test_a_fence_of_any_python_kind_is_code(opening):
    assert parse(f"Look:\n```{opening}\nx\n```\n").code == ("x\n",)


@pytest.mark.parametrize("tag", ["json", "text", "diff", "bash"])
def test_a_fence_of_another_language_is_not_run(tag):
    assert parse(f"```{tag}\nx = 1\n```").code == ()


@pytest.mark.parametrize(
    ("reply", "code"),
    table(
        two=("```repl\na = 1\n```\nthen\n```repl\nb = 2\n```", ["a = 1\n", "b = 2\n"]),
        tilde=("~~~python\na = 1\n~~~", ["a = 1\n"]),
        four=("````repl\na = 1\n````", ["a = 1\n"]),
        empty=("```repl\n```", []),
        none=("no code here", []),
        unclosed=("```repl\na = 1", ["a = 1"]),
        unclosed_before_another=("```repl\na = (\n```repl\nb = 2\n```", ["a = (\n", "b = 2\n"]),
        text_unclosed_before_code=("```text\nplan\n```repl\nb = 2\n```", ["b = 2\n"]),
        fence_in_a_string=(
            '```repl\ns = """\n```\nx\n```\n"""\n```\nDone.',
            ['s = """\n```\nx\n```\n"""\n'],
        ),
        tagged_fence_in_a_string=(
            '```python\ns = """\n```python\nx = 1\n```\n"""\n```\nDone.',
            ['s = """\n```python\nx = 1\n```\n"""\n'],
        ),
        fence_in_the_string_of_an_unclosed_block=(
            '```repl\ns = """\n```json\n{}\n```\n"""',
            ['s = """\n```json\n{}\n```\n"""'],
        ),
        broken_blocks_are_not_joined=(
            '```repl\ns = """\n```\nand\n```repl\nt = """\n```',
            ['s = """\n', 't = """\n'],
        ),
        quoted_block=("> ```repl\n> x = 1\n> ```", []),
        code_in_a_text_example=("````text\n```repl\nx = 1\n```\n````", []),
        carriage_returns=("```repl\r\nif x:\r\n    y()\r\n```\r\n", ["if x:\n    y()\n"]),
        in_a_list=("- do:\n\n  ```repl\n  if x:\n      y()\n  ```\n", ["if x:\n    y()\n"]),
        behind_a_list_mark=("1. ```repl\n   x = 1\n   y = 2\n   ```", ["x = 1\ny = 2\n"]),
        indented_fence_only=("  ```repl\nif x:\n    y()\n  ```", ["if x:\n    y()\n"]),
        opened_behind_words=("Now: ```python\nx = 1\n```\nDone.", ["x = 1\n"]),
        closed_inline=("```repl\nprint(1)```\nThen words (more).", ["print(1)"]),
        closed_with_words_behind=("```repl\nx = 1\n``` now done\n", ["x = 1\n"]),
        broken_code_ends_at_its_fence=("```repl\nx = (\n```\nwords", ["x = (\n"]),
        transcript=(
            "```pycon\n>>> for i in a:\n...     f(i)\n...\n1\n2\n>>> b\n3\n```",
            ["for i in a:\n    f(i)\n\nb\n"],
        ),
        transcript_in_a_bare_fence=("```\n>>> f(1)\n1\n```", ["f(1)\n"]),
        bad_escape=('```repl\nre.findall("\\d", s)\n```', ['re.findall("\\d", s)\n']),
    ),
)
def test_code_blocks_are_found_where_they_end(reply, code):
    assert list(parse(reply).code) == code


@pytest.mark.parametrize(
    "body",
    [
        "x = 1",
        "print(1)",
        "import re",
        "for i in a:\n    i",
        "await f",
        "(n := 3)",
        "FINAL(str(n))",
        "FINAL(f'{n}')",
    ],
)
def test_a_fence_without_a_tag_that_acts_is_code(body):
    assert parse(f"```\n{body}\n```").code == (body + "\n",)


@pytest.mark.parametrize(
    "body",
    ["42", "[1, 2]", "{'a': 1}", "name", "a.py", "Answer: yes", "3 matches found", "x ==", "'s'"],
)
def test_a_fence_without_a_tag_that_looks_like_output_is_not_run(body):
    assert parse(f"```\n{body}\n```").code == ()


def test_a_fence_without_a_tag_is_not_run_beside_one_with_a_tag():
    assert parse("```\nx = 1\n```\n```repl\ny = 2\n```").code == ("y = 2\n",)


@pytest.mark.parametrize(
    ("reply", "answer"),
    table(
        plain=("FINAL(42)", "42"),
        quoted=('FINAL("it is (so) at a.py:3")', "it is (so) at a.py:3"),
        brackets=("FINAL(it is (so) here)", "it is (so) here"),
        brackets_last=("FINAL(it is (so (or so)))", "it is (so (or so))"),
        two_strings=('FINAL("a" and "b")', '"a" and "b"'),
        string_first=('FINAL("a)" is in (b))', '"a)" is in (b)'),
        apostrophe=("FINAL(it's 41)\n\nMore (prose).", "it's 41"),
        unclosed=("FINAL(unclosed answer", "unclosed answer"),
        unclosed_inside=("FINAL(it is (so)", "it is (so"),
        triple=('FINAL("""two\nlines""")', "two\nlines"),
        triple_with_bracket=('FINAL("""\nmulti ) line\n""")', "\nmulti ) line\n"),
        triple_with_line_end=('FINAL("""\na :)\nb\n""")', "\na :)\nb\n"),
        string_over_lines=('FINAL("a (b))\nc")', "a (b))\nc"),
        smiley=("FINAL(first :) line\nsecond line)", "first :) line\nsecond line"),
        smiley_and_brackets=("FINAL(a :) b (c)\nand d)", "a :) b (c)\nand d"),
        numbered=(
            "FINAL(1) open the file at a.py:3\n2) close it at b.py:9)",
            "1) open the file at a.py:3\n2) close it at b.py:9",
        ),
        numbered_in_quotes=(
            'FINAL("1) open a.py:3, 2) close b.py:9")',
            "1) open a.py:3, 2) close b.py:9",
        ),
        several_lines=("FINAL(see:\n- a (x)\n- b (y)\n)", "see:\n- a (x)\n- b (y)"),
        # A retraction cannot be told from other words behind an answer.
        retracted=("FINAL(41)\n\nActually I should check this first", "41"),
        last_counts=("FINAL(1)\nFINAL(2)\n", "2"),
        placeholder_behind=("FINAL(1)\nFINAL(...)", "1"),
        full_stop=("FINAL(42).", "42"),
        bold=("**FINAL(yes)**", "yes"),
        bold_word=("**FINAL**(42)", "42"),
        emphasis=("*FINAL(42)*", "42"),
        code_span=("`FINAL(42)`", "42"),
        list_item=("- FINAL(42)", "42"),
        quote=("> FINAL(42)", "42"),
        heading=("### FINAL(42)", "42"),
        lead_in=("Answer: FINAL(42)", "42"),
        bold_lead_in=("**My final answer:** FINAL(42)", "42"),
        colon=("FINAL: 42", "42"),
        colon_paragraph=("FINAL: 42\nand 43\n\nBye.", "42\nand 43"),
        colon_bold=("**FINAL:** 42", "42"),
        colon_all_bold=("**FINAL: 42**", "42"),
        colon_code_span=("`FINAL: 42`", "42"),
        final_answer=("FINAL ANSWER: yes, at a.py:3", "yes, at a.py:3"),
        final_answer_next_line=("### Final answer:\n\nyes\n\nBye.", "yes"),
        carriage_returns=("FINAL(a\r\nb)\r\n", "a\nb"),
        untagged_fence=("So:\n```\nFINAL(42)\n```", "42"),
        text_fence=("```text\nFINAL(str(n))\n```\n", "str(n)"),
        colon_in_fence=("```\nFINAL: it is 42\n```", "it is 42"),
        fence_inside=(
            "FINAL(The function is:\n```python\ndef f(): ...\n```\nat a.py:3)",
            "The function is:\n```python\ndef f(): ...\n```\nat a.py:3",
        ),
        fence_inside_up_to_the_end=(
            "FINAL(\n```python\nf(1))\n```)",
            "```python\nf(1))\n```",
        ),
        fence_in_quotes=(
            'FINAL("""\n```python\nx = ")"\n```\n""")',
            '\n```python\nx = ")"\n```\n',
        ),
        deep_literal=('FINAL(""' + "-" * 60_000 + '"")', '""' + "-" * 60_000 + '""'),
    ),
)
def test_an_answer_in_text_is_taken_whole(reply, answer):
    assert parse(reply) == ParsedReply((), TextFinal("FINAL", answer), parse(reply).prose)


@pytest.mark.parametrize(
    ("reply", "name"),
    table(
        plain=("FINAL_VAR(answer_text)", "answer_text"),
        quoted=('Done.\n  FINAL_VAR("x")', "x"),
        code_span=("FINAL_VAR(`x`)", "x"),
        colon=("FINAL_VAR: x\nThat is it.", "x"),
        fence=("```\nFINAL_VAR(x)\n```", "x"),
        beside_code=("```repl\nx = 1\n```\nFINAL_VAR(x)", "x"),
    ),
)
def test_a_variable_named_in_text_is_a_finish(reply, name):
    assert parse(reply).final == TextFinal("FINAL_VAR", name)


@pytest.mark.parametrize(
    "reply",
    [
        "I will call FINAL(x) when done",
        "...then call\nFINAL(answer) with the result.",
        "...then call\nFINAL(answer) with the result.\nThen I am (done).",
        "Plan:\n1. look\n2. FINAL(answer)",
        "Next step: FINAL(answer)",
        "The FINAL: a word",
        "FINAL: \n```repl\nx = 1\n```",
        "FINAL()",
        'FINAL("")',
        "FINAL(...)",
        "FINAL(<your answer>)",
        "FINAL(your answer here)",
        "FINAL: [your answer]",
        "```\nFINAL(...)\n```",
        "```repl\nFINAL(1)\n```",
        "```json\nFINAL(1)\n```",
        "```text\nFirst look.\nFINAL(1)\n```",
        *(f"FINAL({example})" for example in sorted(prompts.EXAMPLE_ANSWERS)),
    ],
)
def test_no_answer_is_made_of_prose_of_code_or_of_a_placeholder(reply):
    assert parse(reply).final is None


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        ("Done.\n\nFINAL()", ""),
        ("FINAL(the answer in words)", "the answer in words"),
        ("```repl\nx = 1\n```\nFINAL(<the sum printed above>)", "<the sum printed above>"),
        ("FINAL(the answer in words)\nFINAL(42)", None),
        ("```repl\nFINAL(x)\n```\nas FINAL(the answer in words)", None),
        ("```repl\nFINAL(x)\n```\n\nFINAL(the answer in words)", None),
    ],
)
def test_a_finish_that_says_nothing_is_kept_where_nothing_else_answers(reply, said):
    hollow = parse(reply).hollow

    assert (hollow and hollow.argument) == said


@pytest.mark.parametrize(
    ("second", "code", "final"),
    [
        ("FINAL('41')", ["a = 1\n"], TextFinal("FINAL", "41")),
        ("FINAL(41)", ["a = 1\n"], TextFinal("FINAL", "41")),
        ("FINAL(a)", ["a = 1\n", "FINAL(a)\n"], None),
        ("print(a)\nFINAL(41)", ["a = 1\n", "print(a)\nFINAL(41)\n"], None),
    ],
)
def test_a_literal_given_behind_code_rests_on_no_output(second, code, final):
    reply = parse(f"```repl\na = 1\n```\nOutput: 41\n```repl\n{second}\n```")

    assert (list(reply.code), reply.final) == (code, final)


def test_a_block_whose_fence_lost_its_indent_is_code():
    assert parse("```python\n    x = 1\n    y = 2\n    ```").code == ("x = 1\ny = 2\n",)


def test_a_refused_finish_in_a_fence_is_not_run_as_code():
    assert parse("```\nFINAL(...)\n```").code == ()


def test_code_behind_an_unclosed_finish_is_still_code():
    reply = parse("FINAL(it is (so\n\n```repl\nprint(1)\n```\nThen (more).")

    assert reply.code == ("print(1)\n",)
    assert reply.final == TextFinal("FINAL", "it is (so")


@pytest.mark.parametrize(
    ("reply", "prose"),
    table(
        around_code=("Look:\n```repl\nx = 1\n```\nDone.", "Look:\n\nDone."),
        words_behind_a_mark=("```repl\nx = 1\n``` now done", "now done"),
        around_a_finish=("I saw it.\n**FINAL(42)**.\nBye.", "I saw it.\n\nBye."),
        before_code=("So:\nFINAL(42)\n```repl\nx = 1\n```\nBye.", "So:\n\n\nBye."),
        lead_in=("Answer: FINAL(42)", ""),
        finish_with_a_fence=("So:\nFINAL(a\n```python\nb\n```\nc)", "So:"),
        finish_in_a_fence=("So:\n```\nFINAL(42)\n```", "So:"),
        only_prose=(" It is 42. ", "It is 42."),
    ),
)
def test_prose_is_what_stands_outside_fences_and_the_finish(reply, prose):
    assert parse(reply).prose == prose


@pytest.mark.parametrize(
    ("text", "left"),
    table(
        block=("<think>FINAL(no)</think>yes", "yes"),
        several=("<Thinking>a</Thinking>\n<think>b</think>\nyes", "yes"),
        other_tags=("<thought>a</thought><reasoning>b</reasoning>yes", "yes"),
        before_code=("<think>a</think>```repl\nx\n```", "```repl\nx\n```"),
        before_a_quote=('<think>a</think>"yes"', '"yes"'),
        after_a_quote=('<think>say "a"</think>\nyes', "yes"),
        speaks_of_its_tag=('<think>use ".*?</think>", or so\n</think>\nyes', "yes"),
        fence_speaks_of_its_tag=("<think>\n```py\n# a</think>b\n```\n</think>\nyes", "yes"),
        fence_never_closed=("<think>\n```py\nbad(\n</think>\nyes", "yes"),
        unopened=("plan\n```repl\nbad()\n```\n</think>\nyes", "yes"),
        unopened_at_a_line_end=("plan.</think>\nyes", "yes"),
        unopened_at_a_line_start=("plan.\n</think>yes", "yes"),
        unclosed=("<think>and so on\n```repl\nbad()\n```", ""),
        in_the_middle=("a\n<think>\nb\n</think>\nc", "a\n\nc"),
        carriage_returns=("<think>\r\na\r\n</think>\r\nb\r\nc", "b\nc"),
    ),
)
def test_thinking_is_removed(text, left):
    assert strip_thinking(text) == left


@pytest.mark.parametrize(
    "text",
    table(
        nothing=("nothing to strip",),
        sentence=("The parser looks for <think> at a.py:3 and strips it.",),
        sentence_with_both=("It looks for <think> and then for </think>\nand strips it.",),
        closing_in_a_sentence=("It looks for </think> at a.py:3.",),
        in_a_code_span=("It looks for\n`</think>`",),
        pattern=('```repl\nm = re.findall(r"<think>.*?</think>", context)\n```',),
        counting=('```repl\nprint(context.count("</think>"))\n```',),
        lines_of_code=('```repl\ns = """\n<think>\na\n</think>\n"""\n```',),
        closing_line_of_code=('```repl\ns = """\n</think>\n"""\n```',),
        opened_late=("yes <think>and so on",),
        inside_a_line=("b<think>c</think>d",),
    ),
)
def test_tags_in_code_or_in_a_sentence_are_no_thinking(text):
    assert strip_thinking(text) == text


HOSTILE = {
    "broken blocks": "'```repl\\nx = (\\n```\\n'",
    "unclosed blocks": "'```repl\\nx = (\\n'",
    "open strings": '\'```repl\\ns = """\\n```\\n```\\n\'',
    "nested blocks": "'```repl\\ns = (\\n```json\\n'",
    "bare fences": "'```\\nx = (\\n'",
    "inline marks": "'```repl\\nx```\\n('",
    "unclosed finals": "'FINAL(x\\n'",
    "placeholder finals": "'FINAL(...\\n'",
    "prose finals": "'FINAL(a) b\\n'",
    "final and brackets": "'FINAL(' + '(' * 90 + ')' * 99 + ' x\\n'",
    "colons": "'FINAL:\\n'",
    "stars": "'*'",
    "quotes": "'FINAL(\\'\"'",
    "escaped quotes": "'(\\\\\\''",
    "backticks": "'`` '",
    "thinking": "'<think>a</think>'",
    "thinking with fences": "'<think>\\n```\\n</think>\\n```repl\\n'",
    "closing tags": "'a</think>\\n'",
    "blanks": "' \\n\\t  '",
    "minus signs": "'-'",
    "tool calls": "'<tool_call>{'",
    "functions": "'<function=a><parameter=b>'",
    "call lists": "'[TOOL_CALLS]['",
    "channels": "'<|channel|>final<|message|>'",
    "code tags": "'<code>x\\n'",
    "JSON": "'{\"code\":'",
    "boxes": "'\\\\boxed{'",
}


@pytest.mark.parametrize("piece", HOSTILE.values(), ids=HOSTILE)
def test_the_time_to_read_a_hostile_reply_does_not_grow_with_its_square(piece):
    program = (
        "from rlm_mcp.engine.replies import parse, strip_thinking\n"
        f"piece = {piece}\n"
        "for before in ['', 'FINAL(\"']:\n"
        "    parse(strip_thinking(before + piece * (200_000 // len(piece))))\n"
    )

    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


PIECES = [
    *"`~()\"' \n\t\\*:->",
    "```",
    "\n```repl\n",
    "\n```\n",
    "\n```text\n",
    "\nFINAL(",
    "\nFINAL: ",
    "\nFINAL_VAR(",
    "\n<code>",
    "</code>",
    "<tool_call>{",
    '"name": "python", "arguments": {"code": "',
    '"}}',
    "<|channel|>final<|message|>",
    "\\boxed{",
    "}",
    "print(context)",
    "<think>",
    "\n</think>\n",
    ">>> ",
    "x = 1",
    "\r\n",
    "\0",
    "\ud800",
    '"""',
]


@given(st.lists(st.sampled_from(PIECES), max_size=60).map("".join) | st.text(max_size=200))
def test_no_reply_breaks_the_parser(text):
    reply = parse(strip_thinking(text))

    assert all(code.strip() for code in reply.code)
    assert reply.final is None or reply.final.argument.strip()
