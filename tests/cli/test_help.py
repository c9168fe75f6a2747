"""What each command says of itself: agreed on word by word, whole where it is listed, and short."""

import inspect
import textwrap

import click
import pytest

from rlm_mcp.cli.main import command

MOST_LINES = 60


def commands(group, name):
    """Every command by the words that call it."""
    yield name, group
    for word, each in getattr(group, "commands", {}).items():
        yield from commands(each, f"{name} {word}")


COMMANDS = dict(commands(command, "rlm-mcp"))
LISTED = {name: each for name, each in COMMANDS.items() if name != "rlm-mcp"}


def words(name, told):
    """The help, however this version of click lays it out."""
    yield " ".join([name, *told.collect_usage_pieces(click.Context(told))])
    for paragraph in inspect.cleandoc(told.help or "").split("\n\n"):
        as_it_is = paragraph.startswith("\b")
        yield paragraph.strip("\b\n") if as_it_is else textwrap.fill(paragraph, 98)
    for option in told.params:
        if isinstance(option, click.Option):
            names = ", ".join([*option.opts, *option.secondary_opts])
            yield textwrap.fill(f"{names}  {option.help}", 98, subsequent_indent=" " * 6)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_a_command_is_the_one_agreed_on(golden, name):
    golden(f"help_{name.replace(' ', '_')}.txt", "\n\n".join(words(name, COMMANDS[name])) + "\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_is_for(name):
    options = [each for each in COMMANDS[name].params if isinstance(each, click.Option)]

    assert [each.name for each in options if not each.help] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_a_help_fits_a_screen_or_so(name):
    told = COMMANDS[name].get_help(click.Context(COMMANDS[name], info_name=name))

    assert told.count("\n") < MOST_LINES


@pytest.mark.parametrize("name", COMMANDS)
def test_no_mark_of_layout_is_left_in_a_help(name):
    told = COMMANDS[name].get_help(click.Context(COMMANDS[name], info_name=name))

    assert "\\" not in told
    assert "\b" not in told


@pytest.mark.parametrize("name", LISTED)
def test_a_list_of_commands_says_in_full_what_each_does(name):
    told = LISTED[name].get_short_help_str(limit=80 - 13 - len("  "))

    assert told.endswith(".")
    assert not told.endswith("...")


def test_the_exit_codes_are_told_in_one_place():
    for code in ("0 done", "1 failed", "2 wrong usage", "3 a budget was spent", "130 interrupted"):
        assert code in " ".join(command.help.split())


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["doctr"], "'doctor'"),
        (["traces", "shwo"], "'show'"),
        (["ask", "--turn", "3"], "'--turns'"),
    ],
)
async def test_a_wrong_name_is_answered_with_the_nearest(desk, typed, meant):
    code, out, err = await desk.run(*typed)

    assert (code, out) == (2, "")
    assert f"Did you mean {meant}?" in err


@pytest.mark.anyio
async def test_a_value_of_an_option_that_cannot_work_names_the_option(desk):
    code, _, err = await desk.run("ask", "--turns", "0", "path", "question")

    assert code == 2
    assert "Invalid value for '--turns': 0" in err
