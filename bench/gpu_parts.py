"""What is measured on a GPU, part by part."""

from concurrent.futures import ThreadPoolExecutor
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from bench import gpu_card
from bench.gpu_results import Results
from bench.gpu_server import Server

_NETWORKS = ("deepgrow_2d", "deepgrow_3d")
_MODELS = (*_NETWORKS, "deepgrow_pipeline")
_CPU = "CPU of that machine"
# Of the networks' answers, by the norm of the difference. A GPU computes convolutions with TF32's ten bits.
_TOLERANCE = 0.01
_TOO_LITTLE_MB = 256


def clicks(server: Server, results: Results) -> None:
    """The first click with each model, when no network is on the card yet, and later ones elsewhere in the nodule."""
    results.figure("reading the CT ahead of the first click", server.ahead(), "s")
    for model in _MODELS:
        server.forget()
        with gpu_card.peak() as peak:
            first = server.click(model, server.point()).checked()
            later = [server.click(model, server.point(number)).checked() for number in range(1, server.sizes.later + 1)]
        results.figure(f"{model}, first click", first.seconds, "s")
        results.figure(f"{model}, later clicks", median(each.seconds for each in later), "s")
        _memory(results, f"{model}, clicks", peak)
        if model == "deepgrow_pipeline":
            slices = int(first.mask.any(axis=(0, 1)).sum())
            results.figure("slices in the pipeline's mask", slices, "")


def same(server: Server, results: Results) -> None:
    """The same clicks on the CPU: how long they take there, and how far the answers lie apart."""
    point = server.point()
    for model in _MODELS:
        there = [server.click(model, point).checked() for _ in "12"]
        server.click(model, point, device="cpu").checked()  # loads the network
        here = server.click(model, point, device="cpu").checked()
        results.figure(f"{model}, later clicks", here.seconds, "s", _CPU)
        results.figure(f"{model}, voxels that differ from the CPU's", _share(there[0].mask, here.mask), "%")
        results.figure(f"{model}, voxels that differ from the same click again", _share(*[e.mask for e in there]), "%")
    device = "cuda" if gpu_card.present() else "cpu"
    for model in _NETWORKS:
        right = server.logits(model, point, "cpu")
        error = _error(server.logits(model, point, device), right)
        results.figure(f"{model}, network's answer, distance from the CPU's", error, "")
        if error > _TOLERANCE:
            results.finding(f"{model}: the distance is more than {_TOLERANCE}")
        allowed, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, False
        error = _error(server.logits(model, point, device), right)
        torch.backends.cudnn.allow_tf32 = allowed
        results.figure(f"{model}, the same without TF32", error, "")


def together(server: Server, results: Results) -> None:
    """Two clicks at once, which the server works on one after the other."""
    jobs = [(model, server.point(number)) for number, model in enumerate(_NETWORKS)]
    alone = [server.click(*job).checked() for job in jobs]
    with ThreadPoolExecutor() as pool:
        both = [each.checked() for each in pool.map(lambda job: server.click(*job), jobs)]
    results.figure("two clicks at once, until both are answered", max(each.seconds for each in both), "s")
    results.figure("the same two one after the other", sum(each.seconds for each in alone), "s")
    share = max(_share(one.mask, other.mask) for one, other in zip(alone, both, strict=True))
    results.figure("voxels of two clicks at once that differ from those alone", share, "%")


def room(server: Server, results: Results) -> None:
    """A click for which the card has no memory left, the click after it, and the smallest card that does."""
    point = server.point()
    before = server.click("deepgrow_3d", point).checked()
    server.click("deepgrow_3d", point).checked()
    taken = gpu_card.tensors()
    gpu_card.hold_to_more(_TOO_LITTLE_MB)
    refused = server.click("deepgrow_3d", point)
    gpu_card.hold_to(None)
    after = server.click("deepgrow_3d", point).checked()
    results.finding(f"a click without enough memory is answered {refused.status}: {refused.reason or 'a mask'}")
    share, more = _share(before.mask, after.mask), gpu_card.tensors() - taken
    results.finding(f"the click after it is answered, {share:.2g} % of the voxels differ, {more:.0f} MB more are taken")
    for model in _MODELS if gpu_card.present() else ():
        server.forget()
        enough = [gigabytes for gigabytes in server.sizes.cards if _fits(server, model, gigabytes)]
        gpu_card.hold_to(None)
        if enough:
            results.figure(f"{model}, smallest card of {_listed(server.sizes.cards)} GB", min(enough), "GB")


def training(server: Server, results: Results) -> None:
    """One epoch over the slices or the region of one patient's nodule, and the validation on another's."""
    for model in _NETWORKS:
        server.forget()
        with gpu_card.peak() as peak:
            seconds = server.train(model)
        results.figure(f"{model}, training, one epoch", seconds, "s")
        _memory(results, f"{model}, training", peak)


def sam2(server: Server, results: Results) -> None:
    """SAM2 as MONAI Label has it, and a click with DeepGrow before and after it."""
    point, image = server.point(labelled=True), "patient1"
    before = server.click("deepgrow_2d", point, image).checked()
    for model in ("sam_2d", "sam_3d"):
        with gpu_card.peak() as peak:
            first = server.click(model, point, image).checked()
            later = server.click(model, [point[0] + 1, *point[1:]], image).checked()
        results.figure(f"{model}, first click", first.seconds, "s")
        results.figure(f"{model}, later clicks", later.seconds, "s")
        _memory(results, f"{model}, clicks", peak)
        after = server.click("deepgrow_2d", point, image).checked()
        share = _share(before.mask, after.mask)
        results.figure(f"voxels of a deepgrow_2d click that {model} changes", share, "%")


def _fits(server: Server, model: str, gigabytes: float) -> bool:
    torch.cuda.empty_cache()
    gpu_card.hold_to(gigabytes)
    return server.click(model, server.point()).status == 200


def _memory(results: Results, what: str, peak: gpu_card.Peak) -> None:
    if gpu_card.present():
        results.figure(f"{what}, memory of the card", peak.process, "MB")
        results.figure(f"{what}, of it in tensors", peak.tensors, "MB")


def _share(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Voxels in one mask alone, in per cent of those in either."""
    either = np.count_nonzero((one > 0) | (other > 0))
    return 100 * int(np.count_nonzero((one > 0) != (other > 0))) / max(1, int(either))


def _error(one: NDArray[np.float32], right: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(one - right)) / float(np.linalg.norm(right))


def _listed(numbers: tuple[float, ...]) -> str:
    return ", ".join(f"{number:g}" for number in sorted(numbers))
