"""The key and the webhook's secret may stand in files, so that they are in nobody's environment."""

from pathlib import Path

from razorpay_simulator.settings import Settings


def test_secrets_may_stand_in_files_named_like_their_variables(tmp_path: Path) -> None:
    (tmp_path / "SIMULATOR_KEY_ID").write_text("rzp_test_from_a_file\n")
    (tmp_path / "SIMULATOR_KEY_SECRET").write_text("from a file")
    variables = {"SIMULATOR_SECRETS": str(tmp_path), "SIMULATOR_DATA": "ledger", "SIMULATOR_KEY_SECRET": "first"}
    settings = Settings.from_environment(variables)
    assert settings.key_id == "rzp_test_from_a_file"
    assert settings.key_secret == "first"
