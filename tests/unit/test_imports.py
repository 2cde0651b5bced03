"""The folder listing is the architecture: imports run downwards, and only `rotate` loads the code that rotates."""

import ast
import re
from pathlib import Path

import pytest

FUNCTIONS = Path(__file__).parents[2] / "functions"
PACKAGES = ("old_keys", "dry_run", "mirror", "triggers", "outcomes", "rotation", "infisical")  # from top to bottom
HANDLERS = ("dispatch", "rotate", "hook", "audit", "retire")


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(FUNCTIONS).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> set[str]:
    """The modules of this project that a module imports, anywhere in it, but those for types alone."""
    tree = ast.parse(path.read_text("utf-8"))
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in for_types or not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & MODULES.keys()
    return found - {"rotator"}


MODULES = {module_of(path): path for path in FUNCTIONS.rglob("*.py")}


def package_of(module: str) -> str:
    """`rotator.rotation.policy` is of `rotation`; what stands beside the packages is of none."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in PACKAGES else ""


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downwards(module: str) -> None:
    allowed = PACKAGES if module in HANDLERS else PACKAGES[_place(module) :]
    imported = {package_of(each) for each in imports_of(MODULES[module])} - {""}

    assert imported <= set(allowed)
    assert not imports_of(MODULES[module]) & set(HANDLERS)


def _place(module: str) -> int:
    package = package_of(module)
    return PACKAGES.index(package) if package else len(PACKAGES)


def test_no_module_imports_itself_in_a_circle() -> None:
    ended: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in ended:
            for imported in sorted(
                imports_of(MODULES[module])
                - {package_name for package_name in MODULES if MODULES[package_name].name == "__init__.py"}
            ):
                visit(imported, (*above, module))
            ended.add(module)

    for module in sorted(MODULES):
        visit(module, ())


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_says_what_it_is_for(package: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[f"rotator.{package}"].read_text("utf-8")))


def loaded_by(handler: str) -> set[str]:
    """All modules that a handler loads, directly or not."""
    loaded: set[str] = set()
    waiting = [handler]
    while waiting:
        module = waiting.pop()
        if module not in loaded:
            loaded.add(module)
            waiting += imports_of(MODULES[module])
    return loaded


@pytest.mark.parametrize(
    ("handler", "rotates"),
    [("rotate", True), ("dispatch", False), ("hook", False), ("audit", False), ("retire", False)],
)
def test_only_rotate_loads_the_code_that_rotates(handler: str, rotates: bool) -> None:  # noqa: FBT001 - a parameter
    assert ("rotator.rotation.attempt" in loaded_by(handler)) is rotates


def test_the_picture_of_the_packages_shows_every_import_between_them() -> None:
    architecture = (FUNCTIONS.parent / "docs" / "architecture.md").read_text("utf-8")
    code = architecture.partition("\n## Code\n")[2]
    drawn = {(one, other) for one, other in re.findall(r"^    (\w+) --> (\w+)$", code, re.MULTILINE)}

    imported = {
        (module if module in HANDLERS else package_of(module), package_of(each))
        for module, path in MODULES.items()
        for each in imports_of(path)
    }
    assert drawn == {(one, other) for one, other in imported if one and other and one != other}
