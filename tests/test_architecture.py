"""Laws about the source itself: short files, short functions, nothing about the machine it was written on."""

import ast
import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("dnalm", "tests", "bench", "runs")
SOURCES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
SUFFIXES = {"", ".py", ".md", ".toml", ".txt", ".j2", ".cff", ".json", ".sh"}
FILES = [ROOT.glob("*"), (ROOT / ".ci").glob("*"), *((ROOT / f).rglob("*") for f in (*FOLDERS, "docs"))]
TEXTS = sorted(path for files in FILES for path in files if path.suffix in SUFFIXES and path.is_file())
PLACES = [re.escape(f"{ROOT}/"), re.escape(f"{ROOT.parent}/shared"), r"/(?:home|Users)/\w"]
MACHINE = re.compile("|".join([*PLACES, r"index[-]url", r"find[-]links"]))
MOST_LINES = 400
MOST_FUNCTION_LINES = 60


def name(path):
    return path.relative_to(ROOT).as_posix()


def test_files_and_functions_are_short():
    assert ROOT / "dnalm" / "cli.py" in SOURCES
    long = {}
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
        found = [f.name for f in functions if f.end_lineno - f.lineno >= MOST_FUNCTION_LINES]
        if found or len(text.splitlines()) > MOST_LINES:
            long[name(path)] = found
    assert long == {}


def test_nothing_names_the_machine_or_where_packages_came_from():
    assert {"pyproject.toml", "Makefile", ".ci/run"} <= set(map(name, TEXTS))
    found = {name(path): MACHINE.findall(path.read_text(encoding="utf-8")) for path in TEXTS}
    assert {path: words for path, words in found.items() if words} == {}


def test_the_picture_of_the_rooms_is_the_import_contract():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    *rooms, ground = next(c for c in config["contracts"] if c["type"] == "layers")["layers"]
    picture = (ROOT / "CONTRIBUTING.md").read_text().split("```\n")[1]
    drawn, drawn_ground, doors = picture.strip().splitlines()
    assert drawn.split(" -> ") == rooms[::-1]
    assert set(drawn_ground.removeprefix("ground: ").split(", ")) == set(ground.split(" : "))
    modules = {path.stem for path in (ROOT / "dnalm").glob("*.py")}
    packages = {path.parent.name for path in (ROOT / "dnalm").glob("*/__init__.py")}
    assert modules | packages == {*rooms, *ground.split(" : "), "__init__", "__main__", "cli"}
    assert all(name in doors for name in ("__init__", "__main__", "cli"))
