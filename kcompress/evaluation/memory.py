"""Memory of a bench, plan.json: ladders that were found, and what a resumed run must share with the one before."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from kcompress import storage
from kcompress.codecs import check_settings
from kcompress.codecs.quantisation import OWN, STANDARD
from kcompress.errors import InputError, UsageError
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan, preprocessor_of
from kcompress.evaluation.points import Point
from kcompress.inference.weights import open_shipped, open_weights
from kcompress.networks import NETWORKS
from kcompress.networks.loading import shipped_weights


def recalled(path: Path, weights: dict[str, str], before: Sequence[Point], *, resume: bool) -> dict[str, list[int]]:
    """The ladders of the run that is resumed; its points count only if they came from the same weights."""
    if not (resume and path.is_file()):
        return {}
    try:
        kept = json.loads(path.read_bytes())
        kept = {"weights": dict(kept["weights"]), "ladders": dict(kept["ladders"])}
        for name, listed in kept["ladders"].items():
            codec, *peer = name.split(" ")  # a peer's ladder is named after it, too, and the codec's qualities
            if not peer:
                check_settings(path, [(codec, quality) for quality in listed])
            elif [PEERS[peer[0]].scale.checked(quality, "--quality", peer[0]) for quality in listed] != listed:
                raise ValueError(name)
    except (ValueError, KeyError, TypeError, RecursionError, UsageError):
        raise InputError(f"{path} is no plan of a bench. Remove it, or give another -o.") from None
    used = {f"{_kind(point.preprocessor)} {point.codec}" for point in before}
    used |= {name for name in weights if before and " " not in name}  # metrics
    changed = [name for name, digest in weights.items() if name in used and kept["weights"].get(name, "") != digest]
    if changed:
        raise UsageError(
            f"--resume: weights, tables or use of {', '.join(changed)} are others than before. Give another -o."
        )
    weights |= {name: digest for name, digest in kept["weights"].items() if name not in weights}
    return dict(kept["ladders"])


def remember(path: Path, ladders: dict[str, list[int]], weights: dict[str, str]) -> None:
    """Write the file, wholly or not at all."""
    kept = {name: digest for name, digest in weights.items() if digest}
    storage.write(str(path), json.dumps({"ladders": ladders, "weights": kept}).encode())


def weights_behind(plan: Plan) -> dict[str, str]:
    """SHA-256 of the weights behind a plan, by ``network codec``, ``filter codec``, ``ar+nlm codec`` and ``metric``.

    That of tables other than libjpeg's stands behind it, and what else the setting is of which a point tells nothing.
    """
    found = {name: open_shipped(name).digest() for name in plan.metrics if name == "vqscore"}
    found |= {machine.name: machine.about() for machine in plan.machines}
    for codec in plan.qualities:
        for name in plan.preprocessors_of(codec):
            kind, digest = _kind(name), ""
            if name in NETWORKS and NETWORKS[name].learned:
                digest = open_weights(plan.weights_of(name, codec) or shipped_weights(name, codec)).digest()
            elif "ar" in kind.split("+"):
                digest = open_shipped("ar").digest()
            before = preprocessor_of(plan, name, codec)
            if before is not None and before.strength != 1:
                digest += f" strength {before.strength:g}"
            chosen = plan.codec(codec, name)
            tables = chosen.tables
            if tables is not None and tables.name not in (OWN, STANDARD.name):
                digest += hashlib.sha256(repr([tables.at(quality) for quality in range(101)]).encode()).hexdigest()
            setting = plan.setting(chosen, name, chosen.quality.default)
            digest += f" {setting.effort} {setting.sharp_yuv} {setting.bits} {setting.parameters}"
            found[f"{kind} {codec}"] = digest
    return found


def _kind(preprocessor: str) -> str:
    """Names of a network or of filters, without numbers."""
    return "+".join(name.partition(":")[0] for name in preprocessor.split("+"))
