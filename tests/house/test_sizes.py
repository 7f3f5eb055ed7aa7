from __future__ import annotations

from tests.house.sources import Source, functions, python, source

MODULE_LINES = 400
FUNCTION_LINES = 50

# What is larger, with the size it may have at most. A number only goes down, and an entry that
# is not needed any more has to go.
LARGER_MODULES: dict[str, int] = {}
LARGER_FUNCTIONS: dict[str, int] = {}


def sizes_of_functions(of: Source) -> dict[str, int]:
    return {
        f"{of.path}:{name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for name, node in functions(of.tree)
    }


def test_no_module_is_larger_than_one_reading() -> None:
    too_large = {
        module.path: module.lines
        for module in python("gateway")
        if module.lines > LARGER_MODULES.get(module.path, MODULE_LINES)
    }

    assert too_large == {}, "split by noun"


def test_no_function_is_larger_than_one_screen() -> None:
    too_large = {
        name: size
        for module in python("gateway")
        for name, size in sizes_of_functions(module).items()
        if size > LARGER_FUNCTIONS.get(name, FUNCTION_LINES)
    }

    assert too_large == {}


def test_an_exception_that_is_not_needed_any_more_is_removed() -> None:
    modules = {module.path: module.lines for module in python("gateway")}
    sizes = {n: s for module in python("gateway") for n, s in sizes_of_functions(module).items()}
    stale = [name for name in LARGER_MODULES if modules.get(name, 0) <= MODULE_LINES]
    stale += [name for name in LARGER_FUNCTIONS if sizes.get(name, 0) <= FUNCTION_LINES]
    slack = [name for name, size in LARGER_MODULES.items() if modules.get(name, 0) < size]
    slack += [name for name, size in LARGER_FUNCTIONS.items() if sizes.get(name, 0) < size]

    assert stale == []
    assert slack == [], "lower the number to what the code has now"


def test_sizes_are_measured_for_methods_and_nested_functions() -> None:
    text = "class A:\n    def b(self):\n        def c():\n            return 1\n        return c\n"

    assert sizes_of_functions(source("a.py", text)) == {"a.py:A.b": 4, "a.py:A.b.c": 2}
