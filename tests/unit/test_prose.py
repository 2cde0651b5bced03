"""`tools/prose.py`, which `make lint` runs over documents and sources."""

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def check(path: Path, text: str) -> tuple[int, str]:
    """The exit status and the output for one file."""
    path.write_text(text, "utf-8")
    run = subprocess.run(
        [".venv-checks/bin/python", "-m", "tools.prose", path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stderr == ""
    return run.returncode, run.stdout


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("own.md", "A title.\n\nThe value\nis no JSON object.\n", ":4: 'is no JSON': write is not …"),
        ("general.md", "A title.\n\nThis is very good.\n", ":3: Substitute"),
        ("doubled.md", "Read the the page.\n", ":1: 'the the': the same word twice"),
        ("docstring.py", '"""A queue that\ntells of failures."""\n', ":2: 'tells of': write reports"),
        ("message.py", 'raise ValueError("the text is no dry run")\n', ":1: 'is no dry run': write is not …"),
        (
            "description.yaml",
            "Description: Two, unless told otherwise.\n",
            ":1: 'unless told otherwise': write by default",
        ),
    ],
)
def test_prose_check_fails_on_an_unclear_phrase(tmp_path: Path, name: str, text: str, found: str) -> None:
    status, output = check(tmp_path / name, text)

    assert status == 1
    assert f"{name}{found}" in output


def test_prose_check_only_warns_of_a_long_sentence(tmp_path: Path) -> None:
    status, output = check(tmp_path / "long.md", f"Short.\n\nA {'word, ' * 30}end.\n")

    assert (status, output) == (0, f"{tmp_path}/long.md:3: warning: a sentence of 32 words\n")


def test_prose_check_ignores_code_in_documents(tmp_path: Path) -> None:
    assert check(tmp_path / "code.md", "Say `unless told`.\n\n```python\nsurely()\n```\n") == (0, "")
