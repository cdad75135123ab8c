"""`studies`: DICOM studies, on their way to Orthanc and in it."""

from typing import Annotated

import typer

from labelpod import console, lifecycle
from labelpod.clients.label_server import LabelServer
from labelpod.clients.orthanc import Orthanc
from labelpod.commands.options import AsJson, Paths, Yes, ended, group, project, show
from labelpod.config import settings
from labelpod.errors import DeployError

# pydicom and numpy take a third of a start, so that what needs them is imported where it is used.
app = group("Push, check, list and migrate DICOM studies.")


@app.command(epilog="Example: deploy.py studies push CT-2026-001")
def push(
    context: typer.Context,
    paths: Paths,
    force: Annotated[bool, typer.Option("--force", help="Send series that the check refuses, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Check DICOM files and send them to Orthanc."""
    from labelpod.studies import push as pushing

    values = settings.load(project(context).env_file)
    outcome = pushing.push(paths, Orthanc.of(values), values.STUDIES_MODALITY, force=force)
    show(as_json, pushing.outcome_json(outcome), lambda: pushing.outcome_table(outcome))
    ended(outcome.ok)


@app.command(epilog="Example: deploy.py studies check CT-2026-001")
def check(context: typer.Context, paths: Paths, as_json: AsJson = False) -> None:
    """Check DICOM files for what MONAI Label would read wrongly."""
    from labelpod.dicom import preflight

    report = preflight.scan(paths, settings.load(project(context).env_file).STUDIES_MODALITY)
    show(as_json, preflight.to_json(report), lambda: preflight.table(report))
    ended(report.ok)


@app.command("list", epilog="Example: deploy.py studies list --json")
def list_studies(context: typer.Context, as_json: AsJson = False) -> None:
    """List the studies in Orthanc."""
    from labelpod.studies import labels
    from labelpod.studies import push as stored

    values = settings.load(project(context).env_file)
    found = stored.list_studies(Orthanc.of(values))
    try:
        with LabelServer(values) as server:
            found = labels.marked(found, labels.ask(server))
    except DeployError as problem:
        console.say(f"Each DICOM SEG is taken for a label, because {problem.message}.")
    show(as_json, stored.studies_json(found), lambda: stored.studies_table(found))


@app.command(epilog="Example: deploy.py studies migrate")
def migrate(context: typer.Context, yes: Yes = False) -> None:
    """Copy the studies into the database that LABELPOD_ORTHANC_DB names."""
    console.out.print(lifecycle.migrate(project(context), yes=yes))
