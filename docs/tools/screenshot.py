"""Takes the pictures of the running stack: the start page, and the synthetic CT with its three nodules labelled.

Type `python3 deploy.py up --yes --sample`, then `python3 deploy.py test --yes unit` once for the packages, then
`.venv/bin/python docs/tools/screenshot.py`. It labels the synthetic CT, which is what the pictures show.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelpod import status
from labelpod.dicom import phantom
from labelpod.docker.stack import Stack
from labelpod.project import Project
from labelpod.studies import push
from tests.support.annotator import Annotator
from tests.support.nodules import balls
from tests.support.viewer import Viewer, viewer

FOLDER = Path(__file__).resolve().parents[1]
LABELLING, START = FOLDER / "ohif.png", FOLDER / "start_page.png"
CHROMIUM = "/usr/bin/chromium"
# Without a GPU Chromium draws with SwiftShader; it asks nobody on the Internet for anything.
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--disable-component-update", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
_DRAWN = 4000  # milliseconds that SwiftShader may take


def main() -> None:
    """Label the phantom, open it, and save what is seen."""
    stack = Stack.load(Project.of_this_checkout())
    address = status.collect(stack)["label_server"]["url"]
    study = next(each for each in push.list_studies(push.Orthanc.of(stack.values)) if "SYNTHETIC" in str(each))
    series = next(each for each in study.series if each.modality == "CT")
    if not study.labelled:
        label(Annotator(address), series.uid)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        with viewer(browser, address) as shown:
            shown.page.goto(address)
            shown.page.screenshot(path=START)
            show(shown, study.uid, series.uid)
            shown.page.screenshot(path=LABELLING)
        browser.close()
    print(f"{START} and {LABELLING} written")


def label(annotator: Annotator, uid: str) -> None:
    """Each nodule a segment of its own: a ball where the phantom has it."""
    image = annotator.image(uid)
    annotator.submit(uid, image, balls(image, phantom.nodules()))


def show(shown: Viewer, study: str, series: str) -> None:
    """Open the CT with its stored label, and go to the second nodule, which is the largest."""
    shown.open(study, series, "Stored:")
    shown.press("2")  # it is the label that is painted
    shown.press("2")  # the views move to it
    shown.page.wait_for_load_state("networkidle")
    shown.page.wait_for_timeout(_DRAWN)


if __name__ == "__main__":
    main()
