"""Downstream models: classifiers and detectors that pictures are compressed for, opened as the user types them."""

from dataclasses import replace

from kcompress.errors import UsageError
from kcompress.machine.model import Model
from kcompress.machine.preparation import Preparation, prepared, split


def opened(spec: str, device: str = "cpu") -> Model:
    """Open a model.

    Args:
        spec: a file or name, and after a colon how pictures are prepared (`Preparation`), with commas between:
            ``net.pt2``, ``net.onnx:size=224,mean=imagenet``, ``fastestdet:net.pth``, ``torchvision:resnet50``,
            ``classifier-small``. Without ``size`` pictures get the size that the file declares.
            ``.pt2`` and TorchScript files can hold code: open those alone whose source you trust.
        device: ``cpu`` or ``cuda:N``. ONNX models compute on the CPU whatever it says.

    Raises:
        UsageError: not understood, a key that does not exist, a value that is not allowed, no such kind of model, or a
            size that the file rules out.
        WeightsError: the file is missing, cannot be loaded, or does not take colour pictures.
        MissingProgramError: torchvision or its weights are not at hand.
    """
    target, keys = split(spec)
    prepared(spec, keys, Preparation())  # a slip of the user's is told before torch is imported and a file read
    from kcompress.machine.formats import load

    found = load(target, spec, device)
    preparation = prepared(spec, keys, found.preparation)
    height, width = found.shape[2:]
    if preparation.size is None and height is not None and width is not None:
        preparation = replace(preparation, size=(height, width))
    if preparation.size is not None:
        asked_height, asked_width = preparation.size
        if height not in (None, asked_height) or width not in (None, asked_width):
            raise UsageError(
                f"the model {spec}: its file takes pictures of {width or 'any'}x{height or 'any'} pixels (width x "
                f"height), and {asked_width}x{asked_height} were asked for. Leave size out, or export the model anew."
            )
    return Model(spec, found, preparation, device)
