"""Downstream models: classifiers and detectors that pictures are compressed for, opened as the user types them."""

from dataclasses import replace

from kcompress.errors import UsageError
from kcompress.machine.input_transform import InputTransform, parse_transform, split_spec
from kcompress.machine.model import Model


def open_model(spec: str, device: str = "cpu") -> Model:
    """Open a model.

    Args:
        spec: a file or name, and after a colon how pictures are prepared (`InputTransform`), with commas between:
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
    target, keys = split_spec(spec)
    parse_transform(
        spec, keys, InputTransform()
    )  # a slip of the user's is told before torch is imported and a file read
    from kcompress.machine.formats import load

    found = load(target, spec, device)
    transform = parse_transform(spec, keys, found.transform)
    height, width = found.shape[2:]
    if transform.size is None and height is not None and width is not None:
        transform = replace(transform, size=(height, width))
    if transform.size is not None:
        asked_height, asked_width = transform.size
        if height not in (None, asked_height) or width not in (None, asked_width):
            raise UsageError(
                f"the model {spec}: its file takes pictures of {width or 'any'}x{height or 'any'} pixels (width x "
                f"height), and {asked_width}x{asked_height} were asked for. Leave size out, or export the model anew."
            )
    return Model(spec, found, transform, device)
