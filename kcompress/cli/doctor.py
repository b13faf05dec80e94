"""``kcompress doctor``: what is installed, what is missing, how to get it."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kcompress.cli import defaults, options, output
from kcompress.cli.reporting import reported
from kcompress.errors import MissingProgramError


@reported
def doctor(as_json: options.Json = False) -> None:
    """Show what is installed, what is missing and how to get it.

    Exit code 0 if every codec can be written, by whichever encoder.
    """
    findings = [*_encoders(), *_filters(), *_networks(), *_models(), *_metrics(), *_devices(), *_defaults()]
    if as_json:
        for finding in findings:
            output.line(finding)
    else:
        _show(findings)
    unusable = _unusable(findings)
    if unusable:
        codecs = ", ".join(unusable)
        raise MissingProgramError(f"nothing can write {codecs}. Install one of the encoders named above.")


def _encoders() -> list[dict[str, object]]:
    from kcompress.codecs import CODECS
    from kcompress.programs import PROGRAMS

    found = []
    for codec in CODECS.values():
        for backend in (*codec.backends, *codec.only_by_name):
            use = "on demand" if backend in codec.only_by_name else "auto"
            path = PROGRAMS[backend.name].find() if backend.name in PROGRAMS else None
            name = f"{codec.name}: {backend.name}"
            found.append(_finding("encoder", name, backend.version(), use, backend.install, path))
    return found


def _filters() -> list[dict[str, object]]:
    from kcompress.pool import FILTERS
    from kcompress.programs import PROGRAMS

    found = []
    weights = _weights()
    for kind in FILTERS.values():
        program = PROGRAMS.get(kind.name)
        about = program.version() if program else weights.get(kind.name, kind.about)
        detail, path = about if kind.available() else None, program.find() if program else None
        found.append(_finding("filter", kind.name, detail, "label pool", kind.install, path))
    return found


def _networks() -> list[dict[str, object]]:
    from kcompress.networks import DEFAULTS, NETWORKS

    found = []
    weights = _weights()
    for network in NETWORKS.values():
        codecs = [codec for codec, default in DEFAULTS.items() if default == network.name]
        use = f"default for {', '.join(codecs)}" if codecs else "--task-weights" if network.task else ""
        detail = weights.get(network.name) if network.learned else network.about
        found.append(_finding("network", network.name, detail, use, "No weights came along: train some."))
    return found


def _models() -> list[dict[str, object]]:
    """Those that came along for machines' tasks, and packages that bring or read others."""
    from kcompress.inference.weights import card, shipped
    from kcompress.programs import package_version

    found = [
        _finding("model", weights.name, card(weights).get("summary", "no card"), "--model of bench and train")
        for weights in shipped()
        if weights.metadata["network"] == "classifier"
    ]
    for name, use, extra in (("rapidocr", "bench --task text", "ocr"), ("tflite", "--model FILE.tflite", "tflite")):
        found.append(_finding("model", name, package_version(name), use, f"pip install 'kcompress[{extra}]'"))
    return found


def _weights() -> dict[str, str]:
    """Summaries of the weights' cards by network, which files are there, and their strength unless it is 1."""
    from kcompress.inference.weights import card, shipped
    from kcompress.networks import NETWORKS
    from kcompress.networks.condition import TrainingDomain

    found: dict[str, str] = {}
    for weights in shipped():
        files = "safetensors + ONNX" if weights.onnx.is_file() else "safetensors only"
        name, codec = weights.metadata["network"], weights.metadata.get("codec", "any")
        strength = TrainingDomain.from_weights(weights).strength if name in NETWORKS else 1
        made = "" if strength == 1 else f", strength {strength:g}"
        line = f"{card(weights).get('summary', 'no card')} [{files}{made}]"
        # A network may have weights for every codec.
        found[name] = "; ".join(part for part in (found.get(name), f"{codec}: " * (codec != "any") + line) if part)
    return found


def _metrics() -> list[dict[str, object]]:
    from kcompress.metrics import METRICS

    weights = _weights()
    return [
        _finding("metric", name, weights.get(name, metric.about) if metric.available() else None, "", metric.install)
        for name, metric in METRICS.items()
    ]


def _devices() -> list[dict[str, object]]:
    from kcompress.inference.engine import cuda_devices
    from kcompress.programs import package_version

    found = []
    for package, place in (("onnxruntime", "cpu"), ("torch", "cuda")):
        installed = package_version(package)
        if installed is None:
            found.append(_finding("device", place, None, "", f"pip install {package}"))
            continue
        if place == "cuda":
            count = cuda_devices()
            here = f"{count} devices, {installed}" if count else None
            found.append(_finding("device", place, here, "", "No CUDA driver was found; networks run on the CPU."))
        else:
            found.append(_finding("device", place, installed))
    return found


def _defaults() -> list[dict[str, object]]:
    """Defaults of options that a file gives."""
    return [
        _finding("default", f"{command} --{option}", str(value), "", path=str(defaults.path()))
        for command, table in defaults.tables().items()
        for option, value in table.items()
    ]


def _finding(
    kind: str, name: str, detail: str | None, use: str = "", advice: str = "", path: str | None = None
) -> dict[str, object]:
    """One line of the report; the advice is given where there is no detail to tell."""
    return {
        "type": kind, "name": name, "available": detail is not None, "detail": detail, "path": path,
        "use": use, "advice": advice if detail is None else "",
    }  # fmt: skip


def _show(findings: list[dict[str, object]]) -> None:
    console = Console(highlight=False, emoji=False)
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "name", "here", "use", "version, or how to get it"):
        table.add_column(heading, overflow="fold")
    for finding in findings:
        mark = "[green]yes[/]" if finding["available"] else "[yellow]no[/]"
        found = [str(text) for text in (finding["detail"], finding["path"]) if text]
        text = escape(", ".join(found) or str(finding["advice"]))
        table.add_row(str(finding["type"]), str(finding["name"]), mark, str(finding["use"]), text)
    console.print(table)


def _unusable(findings: list[dict[str, object]]) -> list[str]:
    """Codecs that no backend can write."""
    encoders = [finding for finding in findings if finding["type"] == "encoder"]
    every = {str(finding["name"]).partition(":")[0] for finding in encoders}
    usable = {str(finding["name"]).partition(":")[0] for finding in encoders if finding["available"]}
    return sorted(every - usable)
