from __future__ import annotations

import pytest

from edge_compile.provider_options import check_caller_options, check_provider_options
from platform_lib.errors import ConfigError

OWN = {"backend_path": "/site-packages/onnxruntime_qnn/libQnnHtp.so", "soc_model": "52"}


def test_values_that_are_known_to_work_pass_in_name_order() -> None:
    given = {"vtcm_mb": "8", "htp_graph_finalization_optimization_mode": "3"}
    assert list(check_caller_options(given)) == sorted(given)
    check_provider_options({**OWN, **given})


@pytest.mark.parametrize("value", ["99", "-3", "abc", "", "8.0", "0"])
def test_an_absurd_value_is_refused(value: str) -> None:
    with pytest.raises(ConfigError, match="out of range; the compiler would ignore it silently"):
        check_caller_options({"vtcm_mb": value})


@pytest.mark.parametrize("name", ["vtcm", "VTCM_MB", "soc_model", "backend_path", "profiling_level"])
def test_an_unknown_or_internal_option_is_refused_from_a_caller(name: str) -> None:
    with pytest.raises(ConfigError, match="not on the allow-list"):
        check_caller_options({name: "1"})


@pytest.mark.parametrize("soc_model", ["SA8255P", "", "0", "-1", "52,", "52,SA8797P", "52,0"])
def test_only_numeric_chip_ids_reach_the_compiler(soc_model: str) -> None:
    with pytest.raises(ConfigError, match="soc_model"):
        check_provider_options({**OWN, "soc_model": soc_model})


def test_a_missing_chip_id_is_refused() -> None:
    with pytest.raises(ConfigError, match="no soc_model"):
        check_provider_options({"backend_path": OWN["backend_path"]})
