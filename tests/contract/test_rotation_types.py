import pytest

from tests.contract.stage import ROTATION_ID, Stage, parsed, status_of

ROTATIONS = "/api/v2/secret-rotations"


@pytest.mark.parametrize(("slug", "app"), [("postgres-credentials", "postgres"), ("mysql-credentials", "mysql")])
def test_a_database_rotation_has_users_in_place_of_keys(stage: Stage, slug: str, app: str) -> None:
    rotation = stage.standin.add_rotation(rotation_type=slug, user_name="payments")
    one = f"{ROTATIONS}/{slug}/{rotation.id}"

    before = stage.json("GET", f"{one}/generated-credentials")
    rotated = stage.json("POST", f"{one}/rotate-secrets")["secretRotation"]
    after = stage.json("GET", f"{one}/generated-credentials")

    assert [len(credentials["generatedCredentials"]) for credentials in (before, after)] == [1, 2]
    assert after["generatedCredentials"][0] == before["generatedCredentials"][0]
    assert after["generatedCredentials"][1]["username"] == "payments_2"
    assert (rotated["activeIndex"], rotated["connection"]["app"]) == (1, app)
    assert rotated["parameters"] == {"username1": "payments_1", "username2": "payments_2"}
    assert stage.keys.list_access_keys("payments") == []


def test_a_rotation_answers_under_its_own_type_only(stage: Stage) -> None:
    rotation = stage.standin.add_rotation(rotation_type="postgres-credentials")

    outcome = stage.send("GET", f"{ROTATIONS}/aws-iam-user-secret/{rotation.id}")

    assert status_of(outcome) == 400
    assert parsed(outcome)["message"].endswith("is not configured for AWS IAM User Secret")


def test_a_list_can_be_of_one_type_and_is_of_one_project(stage: Stage) -> None:
    project_id = stage.rotation.project_id
    database = stage.standin.add_rotation(rotation_type="postgres-credentials")
    stage.standin.add_rotation(user_name="other", project_id="another")

    def listed(path: str) -> list[str]:
        return [rotation["id"] for rotation in stage.json("GET", path)["secretRotations"]]

    assert listed(f"{ROTATIONS}?projectId={project_id}") == [ROTATION_ID, database.id]
    assert listed(f"{ROTATIONS}/postgres-credentials?projectId={project_id}") == [database.id]
    assert listed(f"{ROTATIONS}/mysql-credentials?projectId={project_id}") == []
