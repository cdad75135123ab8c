"""Takes README's picture: the synthetic CT with its three nodules labelled, in OHIF.

Type `python3 deploy.py up --yes --sample`, then `python3 deploy.py test --yes unit` once for the packages, then
`.venv/bin/python docs/tools/screenshot.py`. It labels the synthetic CT, which is what the picture shows.
"""

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from labelpod import status
from labelpod.dicom import phantom
from labelpod.docker.stack import Stack
from labelpod.project import Project
from labelpod.studies import push
from tests.support.annotator import Annotator
from tests.support.nodules import balls

PICTURE = Path(__file__).resolve().parents[1] / "ohif.png"
CHROMIUM = "/usr/bin/chromium"
# Without a GPU Chromium draws with SwiftShader; it asks nobody on the Internet for anything.
FLAGS = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync"]
FLAGS += ["--disable-component-update", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]


def main() -> None:
    """Label the phantom, open it, and save what is seen."""
    stack = Stack.load(Project.of_this_checkout())
    state = status.collect(stack)
    study = next(each for each in push.list_studies(push.Orthanc.of(stack.values)) if "SYNTHETIC" in str(each))
    series = next(each for each in study.series if each.modality == "CT")
    if not study.labelled:
        label(Annotator(state["label_server"]["url"]), series.uid)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        show(page, f"{state['ohif']['url']}viewer?StudyInstanceUIDs={study.uid}")
        page.screenshot(path=PICTURE)
        browser.close()
    print(f"{PICTURE} written")


def label(annotator: Annotator, uid: str) -> None:
    """Each nodule a segment of its own: a ball where the phantom has it."""
    image = annotator.image(uid)
    annotator.submit(uid, image, balls(image, phantom.nodules()))


def show(page: Page, url: str) -> None:
    """Open the study, load its segmentation, and go to the second nodule, which is the largest."""
    page.goto(url)
    segmentation = page.locator('[data-cy="study-browser-thumbnail-no-image"]').first
    segmentation.wait_for(timeout=60_000)
    if page.get_by_text("Confirm and Hide").count():
        page.get_by_text("Confirm and Hide").click()
    page.wait_for_timeout(4000)
    segmentation.dblclick()
    page.get_by_text("Yes", exact=True).click(timeout=60_000)
    page.wait_for_timeout(6000)
    page.locator('[data-cy^="panelSegmentation"]').first.click()
    page.get_by_text("nodule2", exact=True).click()
    page.locator("canvas").first.hover()
    for _ in range(phantom.nodules()[1].ijk[2] - 2):
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(60)
    page.wait_for_timeout(4000)


if __name__ == "__main__":
    main()
