"""Rules on Dockerfiles: what makes an image large, moving, or more powerful than it need be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined.

    Attributes:
        line: Where it begins, from 1.
        word: `FROM`, `RUN` and so on, in capitals.
        text: What follows.
    """

    line: int
    word: str
    text: str


@dataclass(frozen=True)
class Finding:
    line: int
    rule: str
    what: str


@dataclass
class Dockerfile:
    """A parsed file.

    Attributes:
        instructions: In order.
        arguments: Defaults of arguments before the first stage.
    """

    instructions: list[Instruction]
    arguments: dict[str, str] = field(default_factory=dict)

    def of(self, *words: str) -> list[Instruction]:
        return [item for item in self.instructions if item.word in words]

    @property
    def last_stage(self) -> list[Instruction]:
        start = max((number for number, item in enumerate(self.instructions) if item.word == "FROM"), default=0)
        return self.instructions[start:]


def parse(text: str) -> Dockerfile:
    found: list[Instruction] = []
    pending, began = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue  # a comment may stand between continuation lines
        began = began or number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        word, _, rest = (pending + line).partition(" ")
        found.append(Instruction(began, word.upper(), rest.strip()))
        pending, began = "", 0
    arguments = {}
    for item in found:
        if item.word == "FROM":
            break
        if item.word == "ARG":
            name, _, value = item.text.partition("=")
            arguments[name] = value
    return Dockerfile(found, arguments)


def _expanded(text: str, arguments: dict[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: arguments.get(match.group(1), match.group(0)), text)


def _bases(file: Dockerfile) -> Iterator[Finding]:
    stages: set[str] = set()
    for item in file.of("FROM"):
        given, _, name = item.text.partition(" AS ")
        if given in stages:
            continue
        stages.add(name.strip())
        image = _expanded(given, file.arguments)
        tag = image.rpartition("/")[2].partition(":")[2].partition("@")[0]
        if "@sha256:" not in image and (not tag or not re.search(r"\d+\.\d+\.\d+", tag)):
            yield Finding(item.line, "pinned-base", f"{image} is no exact version")
        if "@sha256:" not in image and "DIGEST}" not in given:
            yield Finding(item.line, "pinned-base", "takes no digest")


def _stages(file: Dockerfile) -> Iterator[Finding]:
    if len(file.of("FROM")) < 2:
        yield Finding(1, "multi-stage", "what builds stays in what runs")


def _user(file: Dockerfile) -> Iterator[Finding]:
    users = [item for item in file.last_stage if item.word == "USER"]
    if not users:
        yield Finding(1, "non-root", "names no user")
    elif not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1].text):
        yield Finding(
            users[-1].line, "non-root", f"'{users[-1].text}' is no number above 0: Kubernetes cannot tell it from root"
        )


def _apt(file: Dockerfile) -> Iterator[Finding]:
    for item in file.of("RUN"):
        if "apt-get install" not in item.text:
            continue
        if "--no-install-recommends" not in item.text:
            yield Finding(item.line, "small", "apt-get installs what is only recommended")
        if "rm -rf /var/lib/apt/lists/*" not in item.text:
            yield Finding(item.line, "small", "apt's lists stay in the layer")
        if "apt-get update" not in item.text:
            yield Finding(item.line, "small", "apt-get update is in another layer, which is kept for ever")


def _pip(file: Dockerfile) -> Iterator[Finding]:
    uncached = any(item.word == "ENV" and "PIP_NO_CACHE_DIR=1" in item.text for item in file.instructions)
    last = {item.line for item in file.last_stage}
    for item in file.of("RUN"):
        for command in re.split(r"&&|;", item.text):
            if not re.search(r"\bpip3? install\b", command):
                continue
            if "--constraint" not in command:
                yield Finding(item.line, "pinned-packages", "pip installs whatever is newest")
            if not uncached and "--no-cache-dir" not in command:
                yield Finding(item.line, "small", "pip's cache stays in the layer")
            if item.line in last:
                yield Finding(item.line, "multi-stage", "pip installs into the last stage")


def _fetching(file: Dockerfile) -> Iterator[Finding]:
    for item in file.of("ADD"):
        yield Finding(item.line, "no-add", "ADD fetches and unpacks unseen: take COPY")
    for item in file.of("RUN"):
        if re.search(r"(curl|wget)[^|&;]*\|\s*(ba|z)?sh", item.text):
            yield Finding(item.line, "no-add", "a script of the network runs unread")
    for item in file.of("COPY"):
        words = [word for word in item.text.split() if not word.startswith("--")]
        if "." in words[:-1] or "./" in words[:-1]:
            yield Finding(item.line, "copies-named", "everything of the context is copied")


def _secrets(file: Dockerfile) -> Iterator[Finding]:
    for item in file.of("ARG", "ENV"):
        for name in re.findall(r"(\w+)(?==|$|\s)", item.text):
            if re.search(r"PASSWORD|SECRET|TOKEN|ACCESS_KEY|API_KEY", name, re.IGNORECASE):
                yield Finding(item.line, "no-secrets", f"{name} stays readable in the image's history")


def _vendor(file: Dockerfile) -> Iterator[Finding]:
    for item in file.of("RUN", "COPY", "ADD"):
        if re.search(r"onnxruntime[-_]qnn|libQnn|qairt|\[(?:[\w-]+,)*edge(?:,[\w-]+)*\]", item.text, re.IGNORECASE):
            yield Finding(item.line, "no-vendor-libraries", "the vendor's QNN libraries would lie in the image")


def _form(file: Dockerfile) -> Iterator[Finding]:
    for item in file.of("CMD", "ENTRYPOINT"):
        try:
            json.loads(item.text)
        except ValueError:
            yield Finding(
                item.line, "exec-form", "a shell stands between the container and its process, and eats SIGTERM"
            )
    for item in file.of("WORKDIR"):
        if not item.text.startswith("/"):
            yield Finding(item.line, "absolute-workdir", "is relative")
    if not file.of("CMD", "ENTRYPOINT"):
        yield Finding(1, "exec-form", "says not what runs")


RULES: tuple[Callable[[Dockerfile], Iterator[Finding]], ...] = (
    _bases, _stages, _user, _apt, _pip, _fetching, _secrets, _vendor, _form
)  # fmt: skip


def lint(text: str) -> list[Finding]:
    file = parse(text)
    return sorted((found for rule in RULES for found in rule(file)), key=lambda item: (item.line, item.rule))
