"""What the server's process does without, to start sooner."""

from label_server.web.__main__ import unused


def test_a_server_goes_without_what_its_trainings_alone_need():
    assert unused(["start_server", "--conf", "models", "deepgrow_2d", "--conf", "sam2", "false"]) == (
        "matplotlib",
        "mlflow",
        "pandas",
    )


def test_sam2_finds_matplotlib_which_it_imports(start):
    arguments = start(MODELS="deepgrow_2d,sam2").server.arguments
    assert unused(arguments) == ("mlflow", "pandas")
