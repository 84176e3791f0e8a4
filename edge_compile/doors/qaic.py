"""What Cloud AI 100's compiler is asked. Pure.

Source: Qualcomm Cloud AI SDK documentation, "Compile the model" (`qaic-exec`, which newer SDKs call `qaic-compile`), read
2026-11-30. It needs no card; to run what it makes takes one.
"""

from __future__ import annotations

from platform_lib.errors import ConfigError

PROGRAM = "programqpc.bin"


def compile_arguments(precision: str, model: str, folder: str) -> tuple[str, ...]:
    """Return how a program container (QPC) is made.

    Raises:
        ConfigError: A precision it has not.
    """
    flags = {"fp16": ("-convert-to-fp16",), "int8": ()}.get(precision)
    if flags is None:
        raise ConfigError(f"Cloud AI 100 has no '{precision}' here", remedy="choose fp16 or int8")
    return (f"-m={model}", "-aic-hw", "-aic-hw-version=2.0", "-compile-only", f"-aic-binary-dir={folder}", *flags)
