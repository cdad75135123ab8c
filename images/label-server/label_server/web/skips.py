"""Images that a user puts aside, with a reason that reviewers and admins can read."""

from typing import Annotated

from fastapi import APIRouter, Body
from monailabel.interfaces.utils.app import app_instance
from starlette.exceptions import HTTPException

from label_server import users
from label_server.users import Role

router = APIRouter(prefix="/activelearning", tags=["ActiveLearning"])


def skip(image: str, reason: Annotated[str, Body(embed=True)]) -> dict[str, str]:
    """Put an image aside, and give it back."""
    app_instance().skip(users.current.get().name, image, reason.strip())
    return {"image": image}


def take_back(image: str) -> dict[str, str]:
    """Have an image offered again."""
    if not app_instance().skips.end(users.current.get().name, image):
        raise HTTPException(404, "You have not skipped this image")
    return {"image": image}


def skipped() -> list[dict[str, str]]:
    """The user's own, with the reasons; reviewers and admins see everybody's."""
    user, listed = users.current.get(), app_instance().skips.listed()
    return [each for each in listed if user.role >= Role.REVIEWER or each["user"] == user.name]


router.add_api_route("/skip", skip, methods=["POST"], summary="Put an image aside, with a reason")
router.add_api_route("/skip", take_back, methods=["DELETE"], summary="Have a skipped image offered to you again")
router.add_api_route("/skipped", skipped, summary="Which images were skipped, by whom and why")
