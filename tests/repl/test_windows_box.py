"""What of the Windows box can be held here: layouts, numbers, bytes, and what a guest is given.

Nothing here starts an AppContainer; that was never run in CI.
"""

import ctypes
import re
import subprocess
import sys

import pytest

from rlm_mcp.errors import SandboxUnavailable
from rlm_mcp.repl import boxes, contained, program, runtime, win32
from rlm_mcp.repl.boxes.windows import proved
from rlm_mcp.repl.guest import windows_probes
from rlm_mcp.repl.messages import Hello

MB = 1 << 20


@pytest.mark.parametrize(
    ("structure", "size", "offsets"),
    [
        (win32.SecurityAttributes, 24, {"descriptor": 8, "inherit": 16}),
        (
            win32.StartupInformation,
            112,
            {
                "desktop": 16, "title": 24, "place_and_extent": 32, "fill": 56, "flags": 60,
                "show": 64, "reserved_size": 66, "reserved_bytes": 72, "standard_input": 80,
                "standard_output": 88, "standard_error": 96, "attributes": 104,
            },
        ),
        (win32.Created, 24, {"thread": 8, "process_id": 16, "thread_id": 20}),
        (win32.SecurityCapabilities, 24, {"capabilities": 8, "count": 16, "reserved": 20}),
        (
            win32.BasicLimits,
            64,
            {
                "flags": 16, "smallest_working_set": 24, "active_processes": 40, "affinity": 48,
                "priority_class": 56, "scheduling_class": 60,
            },
        ),
        (
            win32.ExtendedLimits,
            144,
            {"counters": 64, "process_memory": 112, "job_memory": 120, "peak_job_memory": 136},
        ),
    ],
)  # fmt: skip
def test_a_structure_is_laid_out_as_on_64_bit_windows(structure, size, offsets):
    assert ctypes.sizeof(structure) == size
    assert {name: getattr(structure, name).offset for name in offsets} == offsets


def test_a_guest_is_created_with_exactly_these_attributes():
    values = contained.values(container=0x1000, job=0x44, handles=(0x50, 0x54, 0x58))
    contents = {key: bytes(value) for key, value in values.items()}

    assert contents == {
        0x00020009: (0x1000).to_bytes(8, "little") + bytes(16),
        0x0002000D: (0x44).to_bytes(8, "little"),
        0x00020002: b"".join(handle.to_bytes(8, "little") for handle in (0x50, 0x54, 0x58)),
        0x0002000E: (1).to_bytes(4, "little"),
        0x00020007: (0x0111_0001_0011_1000).to_bytes(8, "little"),
    }


def test_without_a_container_a_guest_is_held_by_its_job_alone():
    assert set(contained.values(None, job=0x44, handles=(0x50,))) == {0x0002000D, 0x00020002}


def test_a_process_is_created_without_a_console_and_with_what_was_set_up():
    assert contained.CREATION == 0x00080408
    startup = contained.startup_of(read=0x50, write=0x54, attributes=0x2000)

    assert (startup.size, startup.flags) == (112, 0x100)
    assert (startup.standard_input, startup.standard_output) == (0x50, 0x54)
    assert (startup.standard_error, startup.attributes) == (None, 0x2000)


def test_a_job_holds_one_process_and_ends_it_with_its_last_handle():
    limits = contained.limits(512 * MB)

    assert limits.basic.flags == 0x2000 | 0x400 | 0x200 | 0x100 | 0x8
    assert limits.basic.active_processes == 1
    assert limits.process_memory == limits.job_memory == 608 * MB


def test_an_environment_is_sorted_without_regard_to_case_and_ends_twice():
    block = win32.environment_block({"TZ": "UTC", "SystemRoot": "C:\\Windows", "a": "é"})

    assert block.decode("utf-16-le") == "a=é\0SystemRoot=C:\\Windows\0TZ=UTC\0\0"


def test_an_empty_environment_is_an_end_alone():
    assert win32.environment_block({}) == bytes(2)


def test_the_loader_survives_a_command_line(program_cache):
    loader = program.build(program_cache).loader
    line = subprocess.list2cmdline(["C:\\a b\\python.exe", "-c", loader, "0:1", "C:\\a b\\", "12"])

    assert split(line) == ["C:\\a b\\python.exe", "-c", loader, "0:1", "C:\\a b\\", "12"]
    assert len(line) < 32_767


def split(line):
    """As Windows takes a command line apart: "Parsing C command-line arguments"."""
    arguments, current, quoted, started, place = [], "", False, False, 0
    while place < len(line):
        slashes = len(re.match(r"\\*", line[place:])[0])
        place += slashes
        if line[place : place + 1] == '"':
            current += "\\" * (slashes // 2)
            if slashes % 2:
                current += '"'
            else:
                quoted, started = not quoted, True
            place += 1
            continue
        current += "\\" * slashes
        if place < len(line) and not slashes:
            if line[place] in " \t" and not quoted:
                if current or started:
                    arguments.append(current)
                current, started = "", False
            else:
                current += line[place]
            place += 1
    return [*arguments, current] if current or started else arguments


def test_every_function_names_its_library_and_takes_what_ctypes_can_pass():
    for name, (library, _, arguments) in win32.FUNCTIONS.items():
        assert library in {"kernel32", "advapi32", "userenv"}
        ctypes.CFUNCTYPE(ctypes.c_int32, *arguments)
        assert name[0].isupper()


def test_the_interpreter_is_copied_without_what_a_guest_has_no_use_for(tmp_path, program_cache):
    python, folder = tmp_path / "python", tmp_path / "runtime"
    for name in (
        "python.exe", "pythonw.exe", "python3.dll", "python311.dll", "vcruntime140.dll", "NEWS.txt",
        "DLLs/_ctypes.pyd", "DLLs/_ssl.pyd", "DLLs/_tkinter.pyd", "DLLs/_socket.pyd",
        "DLLs/libffi-8.dll", "DLLs/libcrypto-3.dll", "Lib/os.py", "Lib/encodings/utf_8.py",
        "Lib/ctypes/__init__.py", "Lib/site-packages/secret.py", "Lib/test/support.py",
    ):  # fmt: skip
        (python / name).parent.mkdir(parents=True, exist_ok=True)
        (python / name).write_bytes(name.encode())
    folder.mkdir()
    built = program.build(program_cache)

    runtime.copy(python, folder, built)

    copied = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert copied == {
        "python.exe", "python3.dll", "python311.dll", "vcruntime140.dll", "DLLs/_ctypes.pyd",
        "DLLs/_socket.pyd", "DLLs/libffi-8.dll", "Lib/os.py", "Lib/encodings/utf_8.py",
        "Lib/ctypes/__init__.py", built.file.name,
    }  # fmt: skip


def test_containers_are_granted_reading_and_running_for_all_that_comes_into_the_folder():
    assert runtime.READABLE_TO_CONTAINERS == "*S-1-15-2-1:(OI)(CI)(RX)"


@pytest.mark.skipif(sys.platform == "win32", reason="there it may work")
def test_it_says_that_this_is_not_windows():
    with pytest.raises(SandboxUnavailable, match="needs Windows, this is "):
        boxes.load("windows").require()


def test_one_deed_that_was_not_refused_is_enough_to_refuse_the_guest():
    probes = dict.fromkeys(windows_probes.deeds(MB), True)
    hello = Hello("3.13", ("AppContainer", "job"), probes, 0, checkpoints=False, in_place=True)

    assert proved(hello) == ("AppContainer", "job")
    probes["read a file"] = False
    with pytest.raises(SandboxUnavailable, match="did not refuse the sandboxed process: read a f"):
        proved(hello)
