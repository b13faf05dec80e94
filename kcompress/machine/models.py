"""Downstream models, classifiers and detectors, opened by the user's text."""

from dataclasses import replace

from kcompress.errors import UsageError
from kcompress.machine.input_transform import InputTransform, parse_transform, split_spec
from kcompress.machine.model import Model


def open_model(spec: str, device: str = "cpu") -> Model:
    """Open a model.

    Args:
        spec: a file or name, and after a colon the keys of `InputTransform` with commas between:
            ``net.pt2``, ``net.onnx:size=224,mean=imagenet``, ``fastestdet:net.pth``, ``torchvision:resnet50``,
            ``classifier-small``. Without ``size`` the size that the file declares holds.
            ``.pt2`` and TorchScript files can hold code: open only those whose source you trust.
        device: ``cpu`` or ``cuda:N``. ONNX models compute on the CPU whatever it says.

    Raises:
        UsageError: a key, value, kind of model or size is not allowed.
        WeightsError: the file is missing, cannot be loaded, or does not take colour pictures.
        MissingProgramError: torchvision or its weights are not installed.
    """
    target, keys = split_spec(spec)
    parse_transform(spec, keys, InputTransform())  # report a user's slip before torch is imported
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
