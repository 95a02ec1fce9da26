import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossagent.seeding import derive, rng

PARTS = st.lists(st.one_of(st.integers(-(2**40), 2**40), st.text(max_size=8)), max_size=5)


def test_known_values_never_change():
    assert derive(0) == 2631537505891389924
    assert derive(7, "sample", 3, 0, 1, 2) == 4507008956332807126


@given(st.integers(0, 2**63), PARTS, PARTS)
def test_seeds_are_63_bit_and_differ_where_the_place_differs(seed, a, b):
    assert 0 <= derive(seed, *a) < 2**63
    assert (derive(seed, *a) == derive(seed, *b)) == (a == b)


def test_another_process_with_another_hash_seed_agrees():
    code = "from crossagent.seeding import derive; print(derive(3, 'demo', 'mixed', 12))"
    env = {"PYTHONHASHSEED": "77", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    out = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert int(out.stdout) == derive(3, "demo", "mixed", 12)


def test_numpy_integers_count_as_integers_and_other_types_are_refused():
    assert derive(np.int64(3), np.int32(4)) == derive(3, 4)
    with pytest.raises(TypeError):
        derive(0, 1.5)  # type: ignore[arg-type]


def test_rng_is_a_function_of_its_place():
    assert rng(1, "a").random() == rng(1, "a").random() != rng(1, "b").random()
