"""Which options may reach the QNN compiler, and with which values.

The compiler ignores an unknown option and an absurd value (`vtcm_mb=99`, `-3`) without a word, so a typing mistake
would change nothing and be believed. Every option passes this list first, in the caller and again in the worker.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from platform_lib.errors import ConfigError

# Options a caller may set. Source: onnxruntime.ai QNN Execution Provider, "Configuration Options" (read 2026-11-20).
# vtcm_mb: 2, 4 and 8 each give a different binary on soc 52; 99 and -3 were accepted and did nothing useful.
CALLER_OPTIONS: dict[str, tuple[str, ...]] = {
    "vtcm_mb": ("2", "4", "8"),
    "htp_graph_finalization_optimization_mode": ("0", "1", "2", "3"),
}
# Options this package sets itself: a fixed pattern each.
_OWN_OPTIONS: dict[str, str] = {
    "backend_path": r"/.*libQnnHtp\.so",
    "soc_model": r"[1-9][0-9]{0,3}(,[1-9][0-9]{0,3}){0,7}",
    "enable_framework_op_trace": r"1",
    "dump_json_qnn_graph": r"1",
    "json_qnn_graph_dir": r"\.",
    "profiling_level": r"basic",
    "profiling_file_path": r"[a-z0-9_.]+\.csv",
}


def check_caller_options(options: Mapping[str, str]) -> dict[str, str]:
    """Return the caller's options as they will be passed, in name order.

    Raises:
        ConfigError: An option is not on the list, or its value is not one of the values that are known to work.
    """
    for name, value in options.items():
        if name not in CALLER_OPTIONS:
            raise ConfigError(
                f"the compiler option '{name}' is not on the allow-list; the compiler would ignore it silently",
                where="--option",
                remedy=f"use one of: {', '.join(CALLER_OPTIONS)}",
            )
        if value not in CALLER_OPTIONS[name]:
            raise ConfigError(
                f"the compiler option {name}={value!r} is out of range; the compiler would ignore it silently",
                where="--option",
                remedy=f"use one of: {', '.join(CALLER_OPTIONS[name])}",
            )
    return dict(sorted(options.items()))


def check_provider_options(options: Mapping[str, str]) -> None:
    """Check every option just before it reaches the compiler.

    Raises:
        ConfigError: An option or value that no list allows.
    """
    check_caller_options({name: value for name, value in options.items() if name not in _OWN_OPTIONS})
    for name, pattern in _OWN_OPTIONS.items():
        if name in options and not re.fullmatch(pattern, options[name]):
            raise ConfigError(f"the compiler option {name}={options[name]!r} is not allowed")
    if "soc_model" not in options:
        raise ConfigError("no soc_model: the compiler would silently build for its default chip")
