"""What each token id of a run says, from the tokenizer that its checkpoints carry. Loads neither torch nor transformers."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer

from crossagent.errors import DataError


class TokenTexts:
    """Token id → text, one at a time: what decoding would merge, drop or repair stays visible."""

    def __init__(self, tokenizer: Tokenizer | None) -> None:
        """Read from ``tokenizer``; without one, an id is shown as its number."""
        self._tokenizer = tokenizer
        self._texts: dict[int, str] = {}

    @classmethod
    def of_run(cls, run: Path) -> TokenTexts:
        """Use the tokenizer of a run's checkpoints; it is the same in all of them.

        Raises:
            DataError: It cannot be read.
        """
        for path in sorted(run.glob("*/checkpoint/tokenizer.json")):
            try:
                return cls(Tokenizer.from_file(str(path)))
            except Exception as error:  # the library raises plain Exception
                raise DataError(f"{path}: not a tokenizer ({error}); expected what the run saved") from error
        return cls(None)

    @property
    def known(self) -> bool:
        """Whether there is a tokenizer."""
        return self._tokenizer is not None

    def table(self, ids: Iterable[int]) -> dict[int, str]:
        """Return id → text of these ids, sorted by id."""
        return {i: self.text(i) for i in sorted(set(ids))}

    def text(self, token: int) -> str:
        """Return one token's text. Bytes that are no character by themselves are written ``⟨E2 80⟩``."""
        if token not in self._texts:
            self._texts[token] = self._decode(token)
        return self._texts[token]

    def _decode(self, token: int) -> str:
        piece = None if self._tokenizer is None else self._tokenizer.id_to_token(token)
        if self._tokenizer is None or piece is None:
            return f"⟨{token}⟩"
        text: str = self._tokenizer.decode([token], skip_special_tokens=False)
        if "\ufffd" in text:
            if all(c in _BYTES for c in piece):
                return "⟨" + " ".join(f"{_BYTES[c]:02X}" for c in piece) + "⟩"
            return str(piece)
        # SentencePiece drops the space that opens a text; here every token opens one.
        return f" {text}" if piece.startswith("▁") and not text.startswith(" ") else text


def _byte_alphabet() -> dict[str, int]:
    """Return character → byte of byte-level BPE: printable bytes are themselves, the others follow from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + n): b for n, b in enumerate(others)}


_BYTES = _byte_alphabet()
