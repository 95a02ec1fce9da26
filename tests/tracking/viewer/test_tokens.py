import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from crossagent.errors import DataError
from crossagent.tracking.viewer.tokens import TokenTexts


def byte_level():
    vocab = {token: k for k, token in enumerate([*sorted(pre_tokenizers.ByteLevel.alphabet()), "Ġoak", "é"])}
    tokenizer = Tokenizer(models.BPE(vocab, []))
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, vocab


def test_byte_level_tokens_show_blanks_and_broken_bytes():
    tokenizer, vocab = byte_level()
    texts = TokenTexts(tokenizer)
    assert texts.text(vocab["Ġoak"]) == " oak"
    assert texts.text(vocab["Ċ"]) == "\n"
    assert texts.text(vocab["Ã"]) == "⟨C3⟩", "half a character is shown as its byte"
    assert texts.text(10**6) == "⟨1000000⟩"
    assert list(texts.table([5, 3, 5])) == [3, 5]


def test_sentencepiece_tokens_keep_the_space_that_decoding_drops():
    tokenizer = Tokenizer(models.WordLevel({"▁oak": 0, "log": 1}, unk_token="log"))
    tokenizer.decoder = decoders.Metaspace()
    assert [TokenTexts(tokenizer).text(k) for k in (0, 1)] == [" oak", "log"]


def test_a_run_s_tokenizer_is_found_and_a_broken_one_named(tmp_path):
    assert not TokenTexts.of_run(tmp_path).known
    assert TokenTexts.of_run(tmp_path).text(7) == "⟨7⟩"
    path = tmp_path / "untrained/checkpoint/tokenizer.json"
    path.parent.mkdir(parents=True)
    byte_level()[0].save(str(path))
    assert TokenTexts.of_run(tmp_path).known
    path.write_text("{")
    with pytest.raises(DataError, match=r"tokenizer.json: not a tokenizer"):
        TokenTexts.of_run(tmp_path)
