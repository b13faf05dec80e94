"""Files of one picture: by a codec behind each preprocessor, and by peers."""

import time
from dataclasses import dataclass

from kcompress.codecs import CODECS, decode
from kcompress.encoding import Session, preprocessed
from kcompress.evaluation.peers import PEERS
from kcompress.evaluation.plan import Plan, preprocessor_of
from kcompress.images import Image, Pixels
from kcompress.networks import NONE


@dataclass(frozen=True)
class TimedFile:
    """Bytes of a file, and wall times."""

    data: bytes
    preprocess_seconds: float
    encode_seconds: float


class Files:
    """Files of one picture by one codec and its peers, each encoded once.

    ``image`` is the picture as the codec can hold it; ``backend`` and ``version`` are those of the codec's encoder.

    Raises:
        KcompressError: the codec cannot hold the picture, or no encoder is there.
    """

    def __init__(self, plan: Plan, image: Image, codec: str) -> None:
        chosen = CODECS[codec]
        self.image, session = Session.of(image, chosen, chosen.setting(), plan.backend)
        self.backend, self.version = session.backend.name, session.backend.version() or ""
        self._plan, self._codec = plan, codec
        self._prepared = NONE, self.image, 0.0
        self._files: dict[tuple[str, int], TimedFile] = {}

    def file(self, name: str, quality: int) -> TimedFile:
        """File behind a preprocessor or by a peer, at a quality."""
        if (name, quality) not in self._files:
            self._files[name, quality] = self._encoded(name, quality)
        return self._files[name, quality]

    def pixels(self, name: str, quality: int) -> Pixels:
        """Decoded file, (H, W, 3)."""
        return decode(self.file(name, quality).data).pixels

    def _encoded(self, name: str, quality: int) -> TimedFile:
        if name in PEERS:
            start = time.perf_counter()
            file = PEERS[name].encode(self.image, quality)
            return TimedFile(file, 0.0, time.perf_counter() - start)
        codec = self._plan.codec(self._codec, name)
        _, session = Session.of(self.image, codec, self._plan.setting(codec, name, quality), self._plan.backend)
        preprocessor = preprocessor_of(self._plan, name, self._codec)
        # What does not depend on the setting is prepared once for all qualities.
        if self._prepared[0] != name or (preprocessor and preprocessor.conditioned):
            prepared, _, seconds = preprocessed(self.image, preprocessor, session.setting)
            self._prepared = name, prepared, seconds
        _, prepared, seconds = self._prepared
        encoded = session.encode(prepared)
        return TimedFile(encoded.data, seconds, encoded.codec_seconds)
