"""What a hash model computes on: the CPU, or a GPU for which onnxruntime has an execution provider."""

import contextlib
import sys
from typing import Any, Literal

from hashcli.errors import HashcliError

Device = Literal["auto", "cpu", "cuda", "coreml"]

# TensorFloat-32, CUDA's default, rounds to 10 bits of mantissa, which would change more codes.
_PROVIDERS: dict[str, tuple[str, dict[str, str]]] = {
    "cuda": ("CUDAExecutionProvider", {"use_tf32": "0"}),
    "coreml": ("CoreMLExecutionProvider", {}),
}
_HOW_TO_GET = {
    "cuda": "It needs an NVIDIA GPU on Linux or Windows, and onnxruntime-gpu in place of onnxruntime: "
    "pip uninstall onnxruntime, then pip install 'onnxruntime-gpu[cuda,cudnn]'.",
    "coreml": "It needs a Mac, where onnxruntime brings it.",
}


class DeviceError(HashcliError):
    """The `device` that was asked for is not there or does not work."""

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(f"The device {device} cannot be used: {problem}.", _HOW_TO_GET.get(device, ""))
        self.device = device


def available_devices() -> list[str]:
    """The GPUs' names that the installed onnxruntime knows, best first, and "cpu"."""
    import onnxruntime as ort

    offered = ort.get_available_providers()
    return [device for device, (provider, _) in _PROVIDERS.items() if provider in offered] + ["cpu"]


def choose_device(device: Device) -> str:
    """ "cpu", "cuda" or "coreml": the device asked for, or for "auto" the best that onnxruntime offers.

    onnxruntime is not loaded to choose the CPU. Raises DeviceError if it does not offer the device, and HashcliError
    for an unknown one.
    """
    if device == "cpu":
        return "cpu"
    if device != "auto" and device not in _PROVIDERS:
        raise HashcliError(f"There is no device {device!r}.", "Choose auto, cpu, cuda or coreml.")
    available = available_devices()
    if device == "auto":
        return available[0]
    if device not in available:
        raise DeviceError(device, "the installed onnxruntime is built without it")
    return device


def providers(device: str) -> list[Any]:
    """The execution providers of a session on a device. What a GPU cannot compute is left to the CPU."""
    return ([_PROVIDERS[device]] if device in _PROVIDERS else []) + ["CPUExecutionProvider"]


def runs_on(session: Any, device: str) -> bool:
    """Whether a session has the device's provider: onnxruntime goes on without one that does not start."""
    return device not in _PROVIDERS or _PROVIDERS[device][0] in session.get_providers()


def load_libraries(device: str) -> None:
    """Load the CUDA libraries that pip has installed, where the system has none."""
    import onnxruntime as ort

    if device == "cuda" and hasattr(ort, "preload_dlls"):  # since 1.21
        with contextlib.redirect_stdout(sys.stderr):  # it prints what it misses
            ort.preload_dlls()
