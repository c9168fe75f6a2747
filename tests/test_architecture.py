"""The map of the house, drawn by reading every module: arrows, sizes, names."""

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

import pytest

import rlm_mcp
from rlm_mcp import errors

PACKAGE = Path(rlm_mcp.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))

BOTTOM = {
    "conduct", "errors", "events", "given", "protocols", "rights", "rules", "settings",
    "settings_file", "tasks", "tokens", "types", "words",
}  # fmt: skip
ARROWS = {
    "clients": {"clients"},
    "contexts": {"contexts"},
    "llm": {"llm"},
    "repl": {"repl"},
    "engine": {"engine", "llm", "repl", "contexts"},
    "runs": {"runs"},
    "service": {"engine", "runs", "llm", "repl", "contexts"},
    "resuming": {"service", "engine", "runs", "llm"},
    "replaying": {"service", "engine", "runs"},
    "rerun": {"replaying", "engine", "runs", "repl", "contexts"},
    "server": {"server", "resuming", "service", "engine", "runs", "llm", "repl", "contexts"},
    "library": {"replaying", "resuming", "service", "engine", "runs", "llm", "repl", "contexts"},
    "evals": {"evals", "library", "service", "engine", "runs", "llm"},
    "cli": {
        "cli",
        "clients",
        "evals",
        "library",
        "server",
        "replaying",
        "rerun",
        "resuming",
        "service",
        "engine",
        "runs",
        "llm",
        "repl",
        "contexts",
    },
    "__main__": {"cli"},
    "__init__": {"library", "runs"},
}
BANNED = {
    "manager", "handler", "util", "utils", "helper", "helpers", "base", "common", "misc", "data",
    "info", "process", "do", "core",
}  # fmt: skip
# `info` is the word for a ContextInfo, `helpers` that of the REPL's functions; the rest are names
# that other programs gave.
EXEMPT = {"helpers", "info", "ContextInfo", "context_info", "ClientInfo", "client_info"}
MOST_LINES = 400
MOST_FUNCTION_LINES = 50
MOST_PARAMETERS = 6
MOST_COMMENTS = 0.05


def tree(module):
    return ast.parse((PACKAGE / module).read_text(encoding="utf-8"))


def imports(module):
    """Absolute names of what a module imports, relative imports resolved."""
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                package = ["rlm_mcp", *module.parent.parts]
                stem = package[: len(package) - node.level + 1]
                yield ".".join(filter(None, [*stem, node.module]))
            else:
                yield node.module


def part(module):
    """The package of a module, or the module itself at the top."""
    return module.parts[0] if len(module.parts) > 1 else module.stem


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_imports_follow_the_arrows(module):
    here = part(module)
    allowed = BOTTOM | ARROWS.get(here, set())
    ours = [name.split(".")[1:] for name in imports(module) if name.split(".")[0] == "rlm_mcp"]

    strayed = [parts for parts in ours if parts and parts[0] not in allowed]

    assert strayed == []


@pytest.mark.parametrize("module", [m for m in MODULES if "guest" in m.parts], ids=str)
def test_the_guest_imports_the_standard_library_and_regex_only(module):
    known = set(sys.stdlib_module_names) | {"regex"}

    strayed = [
        name
        for name in imports(module)
        if name.split(".")[0] not in known and not name.startswith("rlm_mcp.repl.guest")
    ]

    assert strayed == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_a_module_says_its_job_in_its_first_docstring_line(module):
    docstring = ast.get_docstring(tree(module))

    assert docstring
    assert docstring.splitlines()[0].endswith((".", ":"))


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_the_server_imports_mcp_and_nothing_imports_asyncio(module):
    roots = {name.split(".")[0] for name in imports(module)}

    assert "asyncio" not in roots
    assert part(module) == "server" or not roots & {"mcp", "mcp_types"}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_only_the_command_line_prints(module):
    printing = [
        node.lineno
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "print"
    ]

    assert part(module) == "cli" or printing == []


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_modules_functions_and_signatures_stay_small(module):
    lines = (PACKAGE / module).read_text(encoding="utf-8").count("\n")
    functions = [
        node
        for node in ast.walk(tree(module))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    long = [node.name for node in functions if code_lines(node) > MOST_FUNCTION_LINES]
    wide = [node.name for node in functions if parameters(node) > MOST_PARAMETERS]

    assert lines <= MOST_LINES
    assert (long, wide) == ([], [])


def code_lines(function):
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def parameters(function):
    # A tool's parameters are its contract with the model, so those functions are as wide as it is.
    if any("tool" in ast.unparse(decorator) for decorator in function.decorator_list):
        return 0
    names = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return sum(name.arg not in {"self", "cls"} for name in names)


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_names_are_words_of_the_field(module):
    names = {module.stem}
    for node in ast.walk(tree(module)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)

    banned = {name for name in names - EXEMPT if BANNED & set(words(name))}

    assert banned == set()


def words(name):
    return [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name)]


def test_comments_are_rare():
    comments = lines = 0
    for module in MODULES:
        source = (PACKAGE / module).read_text(encoding="utf-8")
        lines += source.count("\n")
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        comments += sum(token.type == tokenize.COMMENT for token in tokens)

    assert comments / lines < MOST_COMMENTS


def test_the_error_tree_in_the_docstring_is_the_one_in_the_code():
    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    written = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.RlmError)
    }

    assert drawn == written - {"RlmError"}


def test_no_tracked_file_names_a_path_of_a_machine():
    root = PACKAGE.parent
    if not (root / "pyproject.toml").is_file():
        pytest.skip("an installed package has no source tree")
    texts = [*root.glob("*.*"), *root.glob("examples/**/*.*"), *root.glob("rlm_mcp/**/*.*")]
    private = re.compile(r"(?:^|[\s\"'`(=])/(?:work|root|home/\w+|Users/\w+)/")

    named = [
        path.name
        for path in texts
        if path.suffix in {".py", ".md", ".toml", ".example", ".json"}
        and private.search(path.read_text(encoding="utf-8"))
    ]

    assert named == []
