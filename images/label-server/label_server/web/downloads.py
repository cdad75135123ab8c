"""Images for annotators, made ready for the first click while they are looked at."""

from monailabel.endpoints.datastore import download_image
from monailabel.interfaces.utils.app import app_instance
from starlette.background import BackgroundTask
from starlette.responses import Response


def image(image: str) -> Response:
    """The file of an image; what is to be done ahead begins when it is sent, and keeps nobody waiting."""
    answer: Response = download_image(image)
    answer.background = BackgroundTask(app_instance().prepare, image)
    return answer
