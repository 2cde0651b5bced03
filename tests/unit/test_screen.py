"""What `make run` prints is what was said, whatever it looks like."""

import pytest

from tests.sandbox.screen import screen, tell

ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:payments/deployer-AbCdEf"


def test_an_arn_holds_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    screen().print(ARN, soft_wrap=True)

    assert capsys.readouterr().out == f"{ARN}\n"


def test_a_problem_holds_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    tell(screen(), OSError(2, "[red]none[/]"))

    assert capsys.readouterr().out == "✗ [Errno 2] [red]none[/]\n"
