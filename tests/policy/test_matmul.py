from __future__ import annotations

import pytest
import torch

from crossagent.policy import matmul
from crossagent.policy.matmul import set_matmul_precision


@pytest.fixture(autouse=True)
def as_before():
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


def test_what_a_recipe_names_is_set() -> None:
    for choice in ("high", "medium", "highest"):
        assert set_matmul_precision(choice, "cpu") == torch.get_float32_matmul_precision() == choice


@pytest.mark.parametrize(
    ("error", "accelerator", "vendor", "chosen"),
    [
        (1e-5, "cpu", "AuthenticAMD", "medium"), (1e-2, "cpu", "AuthenticAMD", "highest"),
        (1e-5, "cpu", "GenuineIntel", "highest"),
        (1e-5, "cuda", "AuthenticAMD", "highest"), (1e-5, "auto", "AuthenticAMD", "highest"),
    ],
)  # fmt: skip
def test_auto_is_medium_only_on_a_cpu_that_then_rounds_as_float32_does_and_whose_mkl_is_slow(
    monkeypatch: pytest.MonkeyPatch, error: float, accelerator: str, vendor: str, chosen: str
) -> None:
    monkeypatch.setattr(matmul.Path, "read_text", lambda *_, **__: f"vendor_id\t: {vendor}\n")
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: True)
    monkeypatch.setattr(matmul, "_error", lambda precision: {"highest": 1e-5, "medium": error}[precision])
    assert set_matmul_precision("auto", accelerator) == torch.get_float32_matmul_precision() == chosen


def test_without_mkl_nothing_is_gained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mkl, "is_available", lambda: False)
    assert set_matmul_precision("auto", "cpu") == "highest"


def test_errors_are_measured_and_leave_the_precision_as_it_was() -> None:
    torch.set_float32_matmul_precision("high")
    assert 0 < matmul._error("highest") < 1e-3  # of sums of 512 products of normal numbers
    assert torch.get_float32_matmul_precision() == "high"
