"""The architecture in executable form: arrows go down only, and start-up loads nothing heavy."""

import ast
import re
from pathlib import Path

import pytest

import kcompress

PACKAGE = Path(kcompress.__file__).parent
# Each layer may import those before it in its own room and every layer below. Siblings share a number.
LAYERS = {
    "errors": 0, "bitstream": 1, "storage": 1, "patches": 1, "programs": 1, "setting": 1, "images": 1, "planes": 1,
    "labels": 1, "csv_rows": 1, "arguments": 2, "workers": 1, "dataset": 1, "blockdct": 1, "colour": 1, "urls": 1,
    "inference": 2,
    "codecs": 3, "pool": 3, "metrics": 3, "machine": 3,
    "networks": 4,
    "encoding": 5, "presets": 5,
    "proxies": 6, "rate_distortion": 6, "labeling": 6,
    "search": 7, "evaluation": 7,
    "training": 8,
    "api": 9, "cli": 9, "__main__": 10,
}  # fmt: skip
MODULES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {
    "torch", "onnxruntime", "onnx", "cv2", "pyvips", "pillow_heif", "imageio_ffmpeg", "simplejpeg",
    "tifffile",
}  # fmt: skip


def _room(module: str) -> str:
    """First part below the package: the room a module lies in."""
    return module.split(".")[1] if "." in module else ""


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# Files that are nothing without a heavy library; they are imported inside functions.
WHOLLY_HEAVY = {
    "kcompress.networks.artefacts", "kcompress.networks.blend", "kcompress.networks.filter_bank",
    "kcompress.networks.feedback", "kcompress.networks.kuchen", "kcompress.networks.npp", "kcompress.networks.rdo",
    "kcompress.networks.jpeg_rate", "kcompress.networks.energies", "kcompress.networks.mcu",
    "kcompress.inference.row_scan", "kcompress.inference.window_scan", "kcompress.inference.graphs",
    "kcompress.inference.batches",
    "kcompress.pool.artifacts_network",
    "kcompress.pool.nonlocal_means", "kcompress.pool.blur", "kcompress.pool.bilateral", "kcompress.pool.guided",
    "kcompress.pool.chroma", "kcompress.pool.sharpen",
    "kcompress.metrics.vqscore_network", "kcompress.metrics.vqscore_residuals",
    "kcompress.metrics.vqscore_trunk",
    "kcompress.metrics.ssimulacra2", "kcompress.metrics.ms_ssim",
    "kcompress.metrics.iw_ssim", "kcompress.metrics.psnr_hvs_m", "kcompress.metrics.vif",
    "kcompress.metrics.differentiable", "kcompress.metrics.butteraugli",
    "kcompress.metrics.butteraugli_bands", "kcompress.metrics.butteraugli_lines", "kcompress.metrics.filters",
    "kcompress.inference.constants", "kcompress.search.levels", "kcompress.search.descent", "kcompress.search.repeated",
    "kcompress.machine.boxes", "kcompress.machine.classification", "kcompress.machine.classifiers",
    "kcompress.machine.detection", "kcompress.machine.detector_outputs", "kcompress.machine.fastestdet",
    "kcompress.machine.formats", "kcompress.machine.layouts", "kcompress.machine.tflite",
    "kcompress.machine.tflite_steps", "kcompress.machine.text", "kcompress.machine.reader",
    *(_name(path) for path in MODULES if _room(_name(path)) == "proxies"),
}  # fmt: skip


def _imports(path: Path, *, only_top: bool = False) -> set[str]:
    """Modules that a file imports; those for type checkers alone do not count."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    if only_top:
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.Lambda))
        skipped |= {id(inner) for function in functions for inner in ast.walk(function)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            found |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_imports_go_down(path: Path) -> None:
    own = _room(_name(path))
    for imported in _imports(path):
        room = _room(imported) if imported.startswith("kcompress.") else ""
        if room in LAYERS and own in LAYERS and room != own:
            assert LAYERS[room] < LAYERS[own] or (LAYERS[own] == 1 == LAYERS[room]), f"{own} imports {imported}"


def test_only_the_train_command_knows_of_training() -> None:
    users = {
        _name(path)
        for path in MODULES
        if _room(_name(path)) != "training" and any(name.startswith("kcompress.training") for name in _imports(path))
    }
    assert users == {"kcompress.cli.train", "kcompress.cli.train_options", "kcompress.cli.train_tasks"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_every_module_has_a_layer(path: Path) -> None:
    room = _room(_name(path))
    assert room == "" or room in LAYERS


@pytest.mark.parametrize(
    "room",
    [room for room in LAYERS if room not in ("errors", "setting", "training", "evaluation", "__main__")],
)
def test_nothing_heavy_is_imported_on_the_way_to_an_encode(room: str) -> None:
    for path in MODULES:
        if _room(_name(path)) == room and _name(path) not in WHOLLY_HEAVY:
            found = _imports(path, only_top=True)
            assert not {name.split(".")[0] for name in found} & HEAVY, path
            assert not found & WHOLLY_HEAVY, path


def test_the_command_line_starts_with_typer_and_rich_alone() -> None:
    for path in MODULES:
        if _room(_name(path)) == "cli":
            outside = {name.split(".")[0] for name in _imports(path, only_top=True)} - {"typer", "rich", "kcompress"}
            assert not outside & {"numpy", "PIL"}, path


def test_subprocess_has_one_user() -> None:
    users = {_name(path) for path in MODULES if "subprocess" in _imports(path)}
    assert users == {"kcompress.programs"}


def test_bits_per_pixel_are_computed_in_one_place() -> None:
    formulas = re.compile(r"8 \* [\w.()]+ / \(?[\w.]*width\b")
    assert [_name(path) for path in MODULES if formulas.search(path.read_text())] == ["kcompress.images.image"]
