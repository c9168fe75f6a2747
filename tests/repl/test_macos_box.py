"""What of the macOS box can be held here: its profile and what it tries.

Seatbelt itself was never run in CI.
"""

import re
import sys

import pytest

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes
from rlm_mcp.repl.boxes.macos import proved
from rlm_mcp.repl.guest import macos, macos_probes
from rlm_mcp.repl.messages import Hello


def test_the_profile_allows_nothing_but_oneself():
    rules = re.findall(r"^\((\w+) (.*)\)$", macos.PROFILE, re.MULTILINE)
    allowed = {operation for verb, operation in rules if verb == "allow"}

    assert rules[:2] == [("version", "1"), ("deny", "default")]
    assert all(operation.endswith("(target self)") for operation in allowed)
    assert {operation.split()[0] for operation in allowed} == {"signal", "process-info-pidinfo"}
    assert macos.PROFILE.count("(") == macos.PROFILE.count(")")


def test_what_could_replace_the_guest_is_tried_last():
    assert list(macos_probes.DEEDS)[-1] == "execute a program"


@pytest.mark.skipif(sys.platform == "darwin", reason="there it may work")
def test_it_says_that_this_is_not_macos():
    with pytest.raises(SandboxUnavailable, match="needs macOS, this is "):
        boxes.load("macos").require()


@pytest.mark.parametrize("passed", macos_probes.DEEDS)
def test_one_deed_that_was_not_refused_is_enough_to_refuse_the_guest(passed):
    probes = dict.fromkeys(macos_probes.DEEDS, True)
    hello = Hello("3.13", ("Seatbelt",), probes, 0, checkpoints=False, in_place=True)

    assert proved(hello) == ("Seatbelt",)
    probes[passed] = False
    with pytest.raises(SandboxUnavailable, match=f"did not refuse the sandboxed process: {passed}"):
        proved(hello)
