"""The policy: any causal language model of transformers, its tokenizer, and the log-probs that training compares.

In: a :class:`PolicyConfig`, or a checkpoint directory. Out: ids → log-probs. A checkpoint is an ordinary Hugging Face
directory (safetensors, tokenizer, chat template) with one more file, ``crossagent.json``.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import json
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import logging as transformers_logging

from crossagent import __version__
from crossagent.errors import CheckpointError, RecipeError
from crossagent.policy import checkpoint, loading
from crossagent.policy.chat_template import end_of_turn_id
from crossagent.policy.config import SCRATCH, LoraConfig, PolicyConfig
from crossagent.policy.images import Pictures
from crossagent.policy.kernels import compiled
from crossagent.policy.packing import Packed, pack, packed_attention
from crossagent.policy.token_sets import Allowed, masked

log = logging.getLogger(__name__)
_TOLERANCE = {torch.float32: 1e-3, torch.float16: 3e-2, torch.bfloat16: 2e-1}
_FEWEST = 4
"""Rows of the output layer's input, at least: fewer are multiplied in another order on a CPU, and round differently."""


@dataclass(frozen=True, slots=True)
class PolicyOutput:
    """What :meth:`Policy.logprobs` returns; 0 at positions that were not asked for."""

    logprobs: Tensor
    """[row, tok] fp32: log p(token t | tokens < t) at the given temperature."""
    entropy: Tensor
    """[row, tok] fp32, nats: entropy of the distribution token t was drawn from, at that temperature."""


class Policy(nn.Module):
    """A causal language model with its tokenizer. Build it with :meth:`build` or :meth:`load`."""

    def __init__(
        self,
        model: nn.Module,
        tokenizer: Any,
        config: PolicyConfig,
        source: str | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        """Wrap a model.

        Args:
            model: Of transformers, maybe with adapters.
            tokenizer: Its tokenizer.
            config: What the recipe says.
            source: The directory or hub model that LoRA adapters go on top of.
            pictures: How it is shown pictures; None: it reads text alone.
        """
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.config = config
        self.source = source
        self.eot_id: int = end_of_turn_id(tokenizer)
        """The token that ends a response."""
        pad = tokenizer.pad_token_id
        self.pad_id: int = int(pad if pad is not None else self.eot_id)
        self.takes_positions = "position_ids" in inspect.signature(self.backbone.forward).parameters
        """Whether positions can be given, as padding on the left needs."""
        self.pictures = pictures
        self._dropout_off = self._packing = False
        self._packs: bool | None = None
        self._window: int | None = None
        """The longest row that is packed, where layers look back no further; None: any."""
        if config.gradient_checkpointing:
            self.backbone.activation_checkpointing_enable({"use_reentrant": False, "context_fn": self._again})
        self.eval()

    # -- making one ----------------------------------------------------------------------------------------------
    @classmethod
    def build(
        cls, config: PolicyConfig, *, texts: Iterable[str] = (), special_tokens: Sequence[str] = (), seed: int = 0
    ) -> Policy:
        """Make a policy from what a recipe says.

        Args:
            config: Preset, directory or hub name; LoRA.
            texts: What prompts and responses look like; a scratch tokenizer is made from them.
            special_tokens: Of the action spaces; added to the vocabulary, trained under LoRA too.
            seed: Of everything that is drawn: fresh weights, rows of new tokens, adapters. Torch's global generator is
                left as it was.

        Raises:
            RecipeError: There is no such model, or a scratch model got no texts.
            CheckpointError: The directory's weights are missing, truncated or corrupted.
        """
        directory = Path(config.model).expanduser()
        with torch.random.fork_rng(devices=[]), _quiet():
            torch.manual_seed(seed)
            if config.model in SCRATCH:
                model, tokenizer, source = loading.from_scratch(config, texts, special_tokens)
            elif (directory / checkpoint.MANIFEST).is_file() or checkpoint.recoverable(directory):
                return _continue(cls.load(directory), config, special_tokens)
            elif directory.is_dir():
                model, tokenizer, source = loading.from_directory(directory, config, texts, special_tokens)
            elif directory.suffix == ".gguf" and directory.is_file():
                model, tokenizer, source = loading.from_gguf(directory.parent, directory.name, config)
            elif loading.looks_like_path(config.model):
                raise RecipeError(
                    f"policy.model: no directory {config.model!r}; expected a preset, model or checkpoint"
                )
            else:
                model, tokenizer, source = loading.from_hub(config)
            new_ids = loading.add_tokens(model, tokenizer, special_tokens)
            stored = directory if directory.is_dir() else source
            pictures = Pictures.of(model, tokenizer, stored, config.max_pixels, config.revision)
            if config.lora is not None:
                model = loading.with_lora(model, config.lora, new_ids)
        return cls(model, tokenizer, config, source, pictures)

    @property
    def backbone(self) -> Any:
        """The transformers model itself, without a peft wrapper (adapters stay in place)."""
        return self.model.get_base_model() if self.config.lora is not None else self.model  # type: ignore[operator]

    def layers(self) -> list[nn.Module]:
        """Return the model's layers: what it repeats, and what is sharded and compiled as one."""
        names = set(getattr(self.backbone, "_no_split_modules", None) or ())
        return [module for module in self.backbone.modules() if type(module).__name__ in names]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    # -- log-probs -----------------------------------------------------------------------------------------------
    def logprobs(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        target_mask: Tensor,
        temperature: float = 1.0,
        *,
        dropout: bool = False,
        entropy: bool = True,
        entropy_gradient: bool = True,
        allowed: Allowed = (),
        images: Sequence[Sequence[bytes]] = (),
        shared: Tensor | None = None,
        looks: bool = False,
    ) -> PolicyOutput:
        """Return log p(token t | tokens < t) and entropies where ``target_mask`` is true.

        The output layer runs at those positions alone, logits / temperature in fp32. Gradients flow through both
        results. Dropout is off whatever mode the module is in, so that old, new and reference passes are one function.
        Where the model lets us (:attr:`packs`), its layers run on the tokens that there are: no padding, and what rows share
        once; see :mod:`crossagent.policy.packing`.

        Args:
            input_ids: [row, tok], padded on either side.
            attention_mask: [row, tok], 1 for real tokens.
            target_mask: [row, tok] bool; never true at position 0, which nothing predicts.
            temperature: The sampler's, > 0.
            dropout: Keep dropout in training mode (for supervised training).
            entropy: False skips the entropies (zeros).
            entropy_gradient: Whether gradients flow through the entropies.
            allowed: (row, token, set) where the sampler was constrained: only these ids could be drawn there, and log-probs
                and entropies are those of the distribution over them, so that the ratio stays 1.
            images: The pictures of each row, PNG bytes, in the order of their places in ``input_ids``; () where there are none.
            shared: [row] how many first tokens a row has in common with the rows that begin alike and say the same number; at
                most up to its first target. None: nothing is shared.
            looks: A policy that sees is shown a blank picture, beside the rows, where they have none: so that every rank runs
                the layers that read pictures, and their gradients are 0 and not missing.

        Raises:
            ValueError: A first position is a target, the temperature is not positive, or pictures do not fill their places.
        """
        if temperature <= 0:
            raise ValueError(
                f"temperature: got {temperature}; log-probs need a positive one (greedy reports those of 1)"
            )
        if bool(target_mask[:, 0].any()):
            raise ValueError("target_mask is true at position 0 of a row; nothing predicts a row's first token")
        rows, before = target_mask[:, 1:].nonzero(as_tuple=True)
        shape = input_ids.shape
        sees = any(images) or (self.pictures is not None and bool((input_ids == self.pictures.pad_id).any()))
        if looks and self.pictures is not None and not sees:
            input_ids, attention_mask, images = self.pictures.with_blank(input_ids, attention_mask)
            sees = True
        packs = self.packs and not sees
        with compiled(), contextlib.nullcontext() if dropout else self._without_dropout():
            if packs and (self._window is None or input_ids.shape[1] <= self._window):
                logits = self._packed_logits(rows, before, pack(input_ids, attention_mask, shared, self.compute_dtype))
            else:
                inputs = self._mask_inputs(attention_mask)
                if sees:
                    inputs.pop("position_ids", None)  # the model knows where its pictures are
                    inputs |= self.picture_inputs(input_ids, images)
                logits = self.logits_at(rows, before, input_ids=input_ids, use_cache=False, **inputs)
        logits = _constrained(logits.float() / temperature, rows, before + 1, allowed)
        logp = torch.log_softmax(logits, dim=-1)  # [target, vocab]
        taken = logp.gather(-1, input_ids[rows, before + 1].unsqueeze(-1)).squeeze(-1)
        zeros = torch.zeros(shape, dtype=torch.float32, device=logits.device)
        spread = zeros
        if entropy:
            with contextlib.nullcontext() if entropy_gradient else torch.no_grad():
                finite = logp.masked_fill(logp == -torch.inf, 0.0)  # 0 · −∞ is 0 here, and so is its gradient
                spread = zeros.index_put((rows, before + 1), -(finite.exp() * finite).sum(-1))
        return PolicyOutput(zeros.index_put((rows, before + 1), taken), spread)

    @contextlib.contextmanager
    def _without_dropout(self) -> Iterator[None]:
        """Switch dropout off and nothing else: gradient checkpointing needs its layers in training mode."""
        training = [module for module in self.modules() if module.training]
        before, self._dropout_off = self._dropout_off, True
        for module in training:
            module.training = isinstance(module, GradientCheckpointingLayer) and module.gradient_checkpointing
        try:
            yield
        finally:
            self._dropout_off = before
            for module in training:
                module.training = True

    @property
    def packs(self) -> bool:
        """Whether log-probs are taken without padding: its layers ask transformers for plain causal attention (``sdpa``), and
        say the same when it is packed, which is tried once, on a few tokens.
        """
        if self._packs is None:
            self._packs = self.config.attention == "sdpa" and self.takes_positions
            if self._packs:
                with torch.no_grad(), self._without_dropout():
                    reason = self._unpackable()
                self._packs = not reason
                if reason:
                    log.info("%s trains on padded rows: %s", self.backbone.config.model_type, reason)
        return self._packs

    def _unpackable(self) -> str:
        """Return why rows of this model cannot be packed, empty where they can."""
        vocab = self.backbone.get_input_embeddings().weight.shape[0]
        ids = torch.tensor([[(7 * i + 3 + row * (i > 4)) % min(vocab, 97) for i in range(12)] for row in range(3)])
        mask, wanted = torch.ones_like(ids), torch.zeros_like(ids, dtype=torch.bool)
        mask[1, 9:], wanted[:, 5:9] = 0, True
        ids, mask, rows, cols = (x.to(self.device) for x in (ids, mask, *wanted.nonzero(as_tuple=True)))
        packed = pack(ids, mask, torch.tensor([5, 5, 0]), self.compute_dtype)
        try:
            ours = self._packed_logits(rows, cols, packed).float()
        except Exception as error:  # whatever a model that does not ask transformers for attention does
            return f"{type(error).__name__}: {error}"
        theirs = self.logits_at(rows, cols, input_ids=ids, use_cache=False).float()
        self._window = min(packed.windows, default=None)
        shown = theirs.isfinite()  # what may never be sampled (places for pictures) is −∞ in both
        theirs, ours = theirs[shown], ours[shown]
        far = float((ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-3))
        return "" if far <= self.tolerance else f"its logits would be {far:.1g} of their size off"

    def _packed_logits(self, rows: Tensor, cols: Tensor, packed: Packed) -> Tensor:
        """Return logits [target, vocab] at the tokens (rows, cols) of what was packed."""
        before, self._packing = self._packing, True
        try:
            with packed_attention(self.backbone.config):
                return self.logits_at(
                    torch.zeros_like(rows),
                    packed.index[rows, cols],
                    input_ids=packed.input_ids,
                    position_ids=packed.position_ids,
                    packed=packed,
                    use_cache=False,
                )
        finally:
            self._packing = before

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.model.parameters()).dtype

    @property
    def compute_dtype(self) -> torch.dtype:
        """What matrix products and attention run in: autocast's type within it, else that of the weights."""
        kind = self.device.type
        return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else self._dtype

    @property
    def tolerance(self) -> float:
        """How far logits of a loop of ours may be from the model's own, relative to the largest, in the trial it has to pass."""
        return _TOLERANCE.get(self.compute_dtype, 1e-3)

    def _again(self) -> tuple[contextlib.AbstractContextManager[None], contextlib.AbstractContextManager[None]]:
        """Contexts of a checkpointed layer's forward and of its second run, on the way back: as it was the first time."""
        return contextlib.nullcontext(), self._as_it_was(self._dropout_off, self._packing)

    @contextlib.contextmanager
    def _as_it_was(self, dropout_off: bool, packing: bool) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            stack.enter_context(compiled())
            if dropout_off:
                stack.enter_context(self._without_dropout())
            if packing:
                stack.enter_context(packed_attention(self.backbone.config))
            yield

    def logits_at(self, rows: Tensor, cols: Tensor, **inputs: Any) -> Tensor:
        """Run the model on ``inputs`` and return its logits [target, vocab] at (rows, cols) alone, each [target].

        A hook in front of the output layer picks the positions, so that whatever a model does to its logits afterwards
        (scaling, soft-capping) still happens.
        """
        spare = max(0, _FEWEST - len(rows)) if len(rows) else 0

        def pick(_: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            picked = args[0][rows, cols]
            if spare:
                picked = torch.cat([picked, picked[:1].expand(spare, -1)])
            return (picked.unsqueeze(0), *args[1:])

        handle = self.backbone.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            logits: Tensor = self.model(**inputs).logits
            logits = logits.squeeze(0)[: len(rows)]
            return logits if self.pictures is None else self.pictures.hide(logits)
        finally:
            handle.remove()

    def picture_inputs(self, input_ids: Tensor, images: Sequence[Sequence[bytes]]) -> dict[str, Tensor]:
        """Return what the model takes beside ids [row, tok] that hold places for pictures; see :meth:`Pictures.inputs`.

        Raises:
            ValueError: There are pictures, and the model sees none; or they do not fill their places.
        """
        if self.pictures is None:
            raise ValueError("this policy reads text alone, but was given pictures")
        return self.pictures.inputs(input_ids, images)

    def _mask_inputs(self, attention_mask: Tensor) -> dict[str, Tensor]:
        mask = attention_mask.long()
        if bool((mask[:, 1:] <= mask[:, :-1]).all()) and bool((mask[:, 0] == 1).all()):
            return {}  # padded on the right: causal attention never looks at the padding
        inputs = {"attention_mask": mask}
        if self.takes_positions:
            inputs["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        return inputs

    # -- checkpoints ---------------------------------------------------------------------------------------------
    def save(self, directory: str | Path) -> None:
        """Write a checkpoint directory, whole or not at all; an existing one is replaced.

        With LoRA the adapters are written, and the base model beside them (``base/``) unless it came from a directory
        or the hub, which the checkpoint then names.
        """
        with checkpoint.staged(Path(directory)) as stage, _quiet():
            if self.config.lora is None:
                self.model.save_pretrained(stage)  # type: ignore[operator]
            else:
                self.model.save_pretrained(stage, save_embedding_layers=False)  # type: ignore[operator]
                for readme in stage.glob("README.md"):
                    readme.unlink()
                if self.source is None:
                    self.backbone.save_pretrained(stage / "base", state_dict=self._base_weights())
            self._save_prompting(stage)
            meta = {"crossagent": __version__, "policy": asdict(self.config), "source": self.source}
            checkpoint.write_manifest(stage, meta)

    def _base_weights(self) -> dict[str, Tensor]:
        """Return the weights under the adapters, by the names they have without them; nothing is copied."""
        return {
            name.replace(".token_adapter.", ".").replace(".base_layer.", "."): value
            for name, value in self.backbone.state_dict().items()
            if ".lora_" not in name and ".trainable_tokens_" not in name
        }

    def merged(self) -> Policy:
        """Return the policy with its adapters merged into the weights, which change in place; ``self`` is spent."""
        if self.config.lora is None:
            return self
        model = self.model.merge_and_unload()  # type: ignore[operator]
        return Policy(model, self.tokenizer, replace(self.config, lora=None), None, self.pictures)

    def export(self, directory: str | Path) -> None:
        """Write a plain Hugging Face directory, adapters merged into the weights, for use without crossagent."""
        with checkpoint.staged(Path(directory)) as stage, _quiet():
            model = self.model
            if self.config.lora is not None:
                model = copy.deepcopy(self.model).merge_and_unload()  # type: ignore[operator]
            model.save_pretrained(stage)  # type: ignore[operator]
            self._save_prompting(stage)

    def _save_prompting(self, stage: Path) -> None:
        self.tokenizer.save_pretrained(stage)
        if self.pictures is not None:
            self.pictures.save(stage)

    def export_adapter(self, directory: str | Path) -> None:
        """Write the adapters as PEFT does, for use without crossagent.

        Their base is the model that the policy was built on; where that came from no name, or got rows for new tokens, it is
        written beside them (``base/``), and named by its place: a directory that is moved needs ``base_model_name_or_path`` in
        ``adapter_config.json`` changed.
        """
        place = Path(directory).expanduser().absolute()
        with checkpoint.staged(place) as stage, _quiet():
            self.model.save_pretrained(stage, save_embedding_layers=False)  # type: ignore[operator]
            (stage / "README.md").unlink(missing_ok=True)
            self.tokenizer.save_pretrained(stage)
            described = json.loads((stage / "adapter_config.json").read_text(encoding="utf-8"))
            base: str | None = self.source
            if base is None or described.get("trainable_token_indices"):
                self.backbone.save_pretrained(stage / "base", state_dict=self._base_weights())
                base = str(place / "base")
            described["base_model_name_or_path"] = base
            (stage / "adapter_config.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, directory: str | Path) -> Policy:
        """Read a checkpoint of ours, exactly as it was saved.

        Raises:
            CheckpointError: Missing, truncated, corrupted, or not ours; names the file and what to do.
        """
        directory = checkpoint.recover(Path(directory).expanduser())
        meta = checkpoint.read_manifest(directory)
        stored = dict(meta["policy"])
        lora = stored.pop("lora", None)
        config = PolicyConfig(**stored, lora=LoraConfig(**lora) if lora else None)
        with torch.random.fork_rng(devices=[]), _quiet():
            tokenizer = loading.stored_tokenizer(directory)
            base: Any
            if config.lora is None:
                model: Any = loading.load_weights(directory, config)
                base = model
            else:
                from peft import PeftModel

                source = meta.get("source")
                try:
                    base = loading.base_model(config, directory, source)
                except (OSError, RecipeError) as error:
                    raise CheckpointError(
                        f"checkpoint {directory}: its adapters go on top of {source!r}, which cannot be loaded: {error}. "
                        "Put that model back, or use a checkpoint exported with its base."
                    ) from error
                loading.resize(base, len(tokenizer))
                model = PeftModel.from_pretrained(base, str(directory), is_trainable=True)
            pictures = Pictures.of(base, tokenizer, directory, config.max_pixels)
        return cls(model, tokenizer, config, meta.get("source"), pictures)


LogProbs = Callable[..., PolicyOutput]


class Reference:
    """The policy as it was when :func:`make_reference` was called; has its ``logprobs``, without gradients.

    With all weights trained it keeps a frozen copy. With LoRA it keeps the adapters of that moment (what SFT made, not
    the bare base: switching adapters off would be another policy) and shares the base weights.
    """

    def __init__(self, policy: Policy, *, spare: bool = False) -> None:
        """Freeze ``policy`` as it is now; one that is ``spare``, trained by nobody, itself instead of a copy."""
        if policy.config.lora is None or spare:
            self._policy = (policy if spare else copy.deepcopy(policy)).eval().requires_grad_(False)
            self._kept: dict[str, Tensor] = {}
        else:
            self._policy = policy
            self._kept = {n: p.detach().clone() for n, p in policy.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def logprobs(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        target_mask: Tensor,
        temperature: float = 1.0,
        *,
        allowed: Allowed = (),
        images: Sequence[Sequence[bytes]] = (),
        shared: Tensor | None = None,
    ) -> PolicyOutput:
        """See :meth:`Policy.logprobs`."""
        asked = (input_ids, attention_mask, target_mask, temperature)
        with self._in_place():
            return self._policy.logprobs(*asked, entropy=False, allowed=allowed, images=images, shared=shared)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what a resumed run needs to have the same reference again."""
        return dict(self._kept) if self._kept else dict(self._policy.state_dict())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over what :meth:`state_dict` returned."""
        if not self._kept:
            self._policy.load_state_dict(state)
            return
        if set(state) != set(self._kept):
            raise CheckpointError("the stored reference has other adapter weights than the policy; use the same recipe")
        for name, value in state.items():
            self._kept[name].copy_(value)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Swap the kept adapters in. Tensors change places, none is written to, so a graph that waits for its backward
        pass is not disturbed.
        """
        current = {}
        for name, parameter in self._policy.named_parameters():
            if name in self._kept:
                current[name] = parameter.data
                parameter.data = self._kept[name].to(parameter.device)
        try:
            yield
        finally:
            for name, parameter in self._policy.named_parameters():
                if name in current:
                    parameter.data = current[name]


def _constrained(logits: Tensor, rows: Tensor, cols: Tensor, allowed: Allowed) -> Tensor:
    """Return logits [target, vocab] with −∞ at ids that could not be drawn; targets are (rows, cols), each [target]."""
    if not allowed:
        return logits
    sets = {(row, col): tokens for row, col, tokens in allowed}
    return masked(logits, [sets.get(place, b"") for place in zip(rows.tolist(), cols.tolist(), strict=True)])


def make_reference(policy: Policy, *, spare: bool = False) -> Reference:
    """Return the policy as it is now, frozen, for the KL term; see :class:`Reference`."""
    return Reference(policy, spare=spare)


def _continue(policy: Policy, config: PolicyConfig, special_tokens: Sequence[str]) -> Policy:
    """Go on from a checkpoint of ours; its shape and tokenizer stay.

    The same LoRA, and no new tokens: its adapters train on. Otherwise they are merged into the weights, and what the
    recipe asks for, new adapters or all weights, begins on top of that.
    """
    missing = [token for token in special_tokens if token not in policy.tokenizer.get_vocab()]
    if policy.config.lora is not None:
        if policy.config.lora == config.lora and not missing:
            return policy
        policy = policy.merged()
    new_ids = loading.add_tokens(policy.model, policy.tokenizer, special_tokens)
    if config.lora is None:
        return policy
    model = loading.with_lora(policy.model, config.lora, new_ids)
    return Policy(model, policy.tokenizer, replace(policy.config, lora=config.lora), None, policy.pictures)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' progress bars off the terminal, ours are elsewhere; and what peft does, which no user can change."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
