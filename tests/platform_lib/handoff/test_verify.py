from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from model_signing import hashing, signing

from platform_lib.errors import ConfigError, MissingPartError
from platform_lib.handoff import verify as verify_module
from platform_lib.handoff.contents import list_contents
from platform_lib.handoff.keys import SigningKey, ensure_signing_key, read_public_key
from platform_lib.handoff.signing import sign_folder
from platform_lib.handoff.verify import Verification, verify_bundle
from platform_lib.home import open_home


def _verify(signed: Any) -> Verification:
    return verify_bundle(signed.folder, (signed.key,))


def test_an_untouched_bundle_verifies(signed: Any) -> None:
    found = _verify(signed)
    assert (found.verdict, found.problems, found.trusted) == ("verified", (), signed.key)
    assert found.manifest is not None
    assert found.manifest.header.state == "candidate"
    assert found.files == sum(path.is_file() for path in signed.folder.rglob("*"))


def test_a_copy_elsewhere_and_under_another_name_verifies(signed: Any, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / "renamed"
    shutil.copytree(signed.folder, other)
    link = tmp_path / "latest"
    link.symlink_to(other)
    assert verify_bundle(other, (signed.key,)).verdict == "verified"
    assert verify_bundle(link, (signed.key,)).verdict == "verified"


def _change(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _rename(folder: Path) -> None:
    (folder / "compiled/w8a16.ctx.bin").rename(folder / "compiled/w8a16.ctx.bin.old")


def _link_out(folder: Path) -> None:
    inside = folder / "compiled/w8a16.ctx.bin"
    outside = folder.parent / "outside.bin"
    shutil.copyfile(inside, outside)  # the same bytes, so that only the link gives it away
    inside.unlink()
    inside.symlink_to(outside)


def _link_folder(folder: Path) -> None:
    shutil.move(folder / "compiled", folder.parent / "moved")
    (folder / "compiled").symlink_to(folder.parent / "moved")


def _pipe(folder: Path) -> None:
    (folder / "README.txt").unlink()
    os.mkfifo(folder / "README.txt")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(folder)  # the name of a socket may not be long
        try:
            server.bind("s")
        finally:
            os.chdir(here)


def _swap(folder: Path) -> None:
    one, other = folder / "evidence/evaluation.json", folder / "evidence/compressed_evaluation.json"
    first, second = one.read_bytes(), other.read_bytes()
    one.write_bytes(second)
    other.write_bytes(first)


HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "bit of the context binary": (lambda f: _change(f / "compiled/w8a16.ctx.bin"), "w8a16.ctx.bin was changed"),
    "bit of the manifest": (lambda f: _change(f / "manifest.json"), "manifest.json"),
    "bit of the evidence": (lambda f: _change(f / "evidence/evaluation.json"), "evaluation.json was changed"),
    "evidence swapped": (_swap, "evaluation.json was changed"),
    "added file": (lambda f: (f / "extra").write_text("x"), "extra was added"),
    "added hidden file": (lambda f: (f / "model/.hidden").write_text(""), ".hidden was added"),
    "added .gitignore": (lambda f: (f / ".gitignore").write_text("*"), ".gitignore was added"),
    "added .git": (lambda f: ((f / ".git").mkdir(), (f / ".git/hook").write_text("x")), ".git/hook was added"),
    "added .github": (lambda f: ((f / ".github").mkdir(), (f / ".github/x").write_text("x")), ".github/x was added"),
    "added empty folder": (lambda f: (f / "empty").mkdir(), "empty/ is an empty folder"),
    "nested empty folders": (lambda f: (f / "a/b").mkdir(parents=True), "a/b/ is an empty folder"),
    "missing file": (lambda f: (f / "compiled/w8a16.encodings").unlink(), "w8a16.encodings is missing"),
    "missing folder": (lambda f: shutil.rmtree(f / "inputs"), "frozen.npz is missing"),
    "missing manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json"),
    "missing key": (lambda f: (f / "public-key.pem").unlink(), "public-key.pem is missing"),
    "key not a key": (lambda f: (f / "public-key.pem").write_text("x"), "public-key.pem was changed"),
    "renamed file": (_rename, "w8a16.ctx.bin.old was added"),
    "emptied file": (lambda f: (f / "model/model.onnx").write_bytes(b""), "model.onnx is empty now"),
    "file becomes a link": (_link_out, "w8a16.ctx.bin is a link"),
    "folder becomes a link": (_link_folder, "compiled is a link"),
    "file becomes a pipe": (_pipe, "README.txt is a pipe"),
    "file becomes a folder": (lambda f: ((f / "README.txt").unlink(), (f / "README.txt").mkdir()), "README.txt"),
    "socket": (_socket, "s is a socket"),
    "link to nowhere": (lambda f: (f / "x").symlink_to("nowhere"), "x is a link"),
    "set-id bit": (lambda f: (f / "README.txt").chmod(0o4644), "set-id"),
    "signature stripped": (lambda f: (f / "bundle.sig").unlink(), "bundle.sig is missing"),
    "signature emptied": (lambda f: (f / "bundle.sig").write_bytes(b""), "bundle.sig is not a signature"),
    "signature not JSON": (lambda f: (f / "bundle.sig").write_bytes(b"\xff\x00"), "bundle.sig is not a signature"),
    "signature nested": (lambda f: (f / "bundle.sig").write_text("[" * 100_000), "bundle.sig is not a signature"),
    "signature linked": (lambda f: (shutil.move(f / "bundle.sig", f.parent), (f / "bundle.sig").symlink_to("../bundle.sig")),
                         "bundle.sig is a link"),
    "strange name": (lambda f: (f / "a\n[red]\x1b").write_text("x"), "a\\n[red]\\x1b was added"),
    "undecodable name": (lambda f: Path(os.fsdecode(os.fsencode(f) + b"/\xff")).write_text("x"), "was added"),
}  # fmt: skip


@pytest.mark.parametrize("harm", HARM)
def test_harm_is_found_and_named(signed: Any, harm: str) -> None:
    plant, expected = HARM[harm]
    plant(signed.folder)
    found = _verify(signed)
    assert found.verdict == "failed"
    assert any(expected in problem for problem in found.problems), found.problems
    assert found.trusted is None
    json.dumps(found.problems).encode()  # fit for a terminal and for machines


def test_every_single_file_is_covered(signed: Any) -> None:
    for path in sorted(signed.folder.rglob("*")):
        if path.is_file():
            before = path.read_bytes()
            path.write_bytes(before + b" ")
            assert _verify(signed).verdict == "failed", path
            path.write_bytes(before)


def test_nothing_outside_is_ever_read(signed: Any) -> None:
    secret = signed.folder.parent / "secret"
    os.mkfifo(secret)  # reading it would hang
    (signed.folder / "evidence/evaluation.json").unlink()
    (signed.folder / "evidence/evaluation.json").symlink_to(secret)
    assert _verify(signed).problems == ("evidence/evaluation.json is a link, not a plain file",)


# --- keys -------------------------------------------------------------------------------------------------------


def test_another_key_does_not_verify(signed: Any, tmp_path: Path) -> None:
    stranger = ensure_signing_key(open_home(tmp_path / "stranger")).public
    assert verify_bundle(signed.folder, (stranger,), only_these=True).verdict == "failed"
    unasked = verify_bundle(signed.folder, (stranger,))
    assert (unasked.verdict, unasked.trusted) == ("unauthenticated", None)
    assert verify_bundle(signed.folder, (stranger, signed.key)).trusted == signed.key


def test_a_bundle_signed_anew_by_a_stranger_is_not_authenticated(signed: Any, tmp_path: Path) -> None:
    stranger = ensure_signing_key(open_home(tmp_path / "stranger"))
    (signed.folder / "bundle.sig").unlink()
    shutil.copyfile(stranger.public.path, signed.folder / "public-key.pem")
    renamed = signed.folder.with_name(_bundle_id(signed.folder))
    signed.folder.rename(renamed)
    sign_folder(renamed, stranger)
    found = verify_bundle(renamed, (signed.key,))
    assert found.verdict == "failed"  # the manifest still names the first key
    text = (renamed / "manifest.json").read_text().replace(signed.key.key_id, stranger.public.key_id)
    entry = json.loads(text)
    key_file = next(item for item in entry["files"] if item["path"] == "public-key.pem")
    key_file |= {"sha256": stranger.public.key_id, "bytes": (renamed / "public-key.pem").stat().st_size}
    (renamed / "manifest.json").write_text(json.dumps(entry))
    (renamed / "bundle.sig").unlink()
    sign_folder(renamed, stranger)
    assert verify_bundle(renamed, (signed.key,)).verdict == "unauthenticated"
    assert verify_bundle(renamed, (signed.key,), only_these=True).verdict == "failed"
    assert verify_bundle(renamed, ()).verdict == "unauthenticated"
    assert verify_bundle(renamed, (stranger.public,)).verdict == "verified"


def test_a_key_that_lies_in_the_bundle_may_not_vouch_for_it(signed: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lies in the bundle"):
        verify_bundle(signed.folder, (read_public_key(signed.folder / "public-key.pem"),))
    (tmp_path / "key.pem").symlink_to(signed.folder / "public-key.pem")
    with pytest.raises(ConfigError, match="lies in the bundle"):
        verify_bundle(signed.folder, (read_public_key(tmp_path / "key.pem"),))


def test_a_signature_of_another_bundle_is_refused(signed: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(signed.folder, other)
    (other / "README.txt").write_text("other words")
    (other / "bundle.sig").unlink()
    renamed = other.with_name("other-bundle")
    other.rename(renamed)
    sign_folder(renamed, ensure_signing_key(signed.home))
    shutil.copyfile(renamed / "bundle.sig", signed.folder / "bundle.sig")
    found = _verify(signed)
    assert found.verdict == "failed"
    assert "README.txt was changed" in found.problems
    # The whole of it: the files fit their signature, and the manifest gives it away.
    told = verify_bundle(renamed, (signed.key,)).problems
    assert any("bundle other-bundle" in problem for problem in told)
    assert any("disagree about README.txt" in problem for problem in told)


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))


def test_every_bit_of_the_signature_file_counts(signed: Any) -> None:
    path = signed.folder / "bundle.sig"
    before = path.read_bytes()
    places = {*range(0, len(before), 211), *range(len(before) - 140, len(before), 3), len(before) - 18}
    for place in sorted(places):
        for bit in (0, 1):
            data = bytearray(before)
            data[place] ^= 1 << bit
            path.write_bytes(bytes(data))
            assert _verify(signed).verdict == "failed", (place, bit, before[place - 5 : place + 5])


def test_a_flipped_bit_of_the_signature_itself_is_found(signed: Any) -> None:
    document = json.loads((signed.folder / "bundle.sig").read_text())
    raw = bytearray(base64.b64decode(document["dsseEnvelope"]["signatures"][0]["sig"]))
    raw[-1] ^= 1
    document["dsseEnvelope"]["signatures"][0]["sig"] = base64.b64encode(bytes(raw)).decode()
    (signed.folder / "bundle.sig").write_text(_compact(document))
    assert any("was not made by key" in problem for problem in _verify(signed).problems)


def test_a_list_edited_to_fit_changed_files_is_found(signed: Any) -> None:
    """The attacker changes a file and the signed list alike; only the signature's number is out of reach."""
    target = signed.folder / "README.txt"
    before = hashlib.sha256(target.read_bytes()).hexdigest()
    target.write_bytes(b"install me".ljust(target.stat().st_size))
    after = hashlib.sha256(target.read_bytes()).hexdigest()
    document = json.loads((signed.folder / "bundle.sig").read_text())
    payload = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    for item in payload["predicate"]["resources"]:
        item["digest"] = item["digest"].replace(before, after)
    root = hashlib.sha256()
    for item in payload["predicate"]["resources"]:
        root.update(bytes.fromhex(item["digest"]))
    payload["subject"][0]["digest"]["sha256"] = root.hexdigest()
    document["dsseEnvelope"]["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
    (signed.folder / "bundle.sig").write_text(_compact(document))
    found = _verify(signed)
    assert found.verdict == "failed"
    assert any("was not made by key" in problem for problem in found.problems)


def test_a_signature_that_ignores_paths_is_refused_even_by_the_right_key(signed: Any) -> None:
    key = ensure_signing_key(signed.home)
    (signed.folder / "bundle.sig").unlink()
    lax = hashing.Config().set_ignored_paths(paths=["compiled"], ignore_git_paths=True)
    config = signing.Config().use_elliptic_key_signer(private_key=key.private).set_hashing_config(lax)
    config.sign(signed.folder, signed.folder / "bundle.sig")
    assert any("ignore_paths" in problem for problem in _verify(signed).problems)


# --- the manifest against the files, signed by the right key ---------------------------------------------------------


def _bundle_id(folder: Path) -> str:
    return str(json.loads((folder / "manifest.json").read_text())["header"]["package_id"])


def _edited(signed: Any, edit: Callable[[dict[str, Any]], None]) -> Verification:
    """Edit the manifest and sign it properly: what a careless or dishonest signer could do."""
    path = signed.folder / "manifest.json"
    package_id = _bundle_id(signed.folder)
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    (signed.folder / "bundle.sig").unlink()
    named = signed.folder.with_name(package_id)
    signed.folder.rename(named)
    sign_folder(named, ensure_signing_key(signed.home))
    return verify_bundle(named, (signed.key,))


def _approve(document: dict[str, Any]) -> None:
    document["header"] |= {"state": "approved", "blocking": []}
    document["approvals"] = [
        {
            "person": name,
            "role": "r",
            "approved_utc": "2026-01-01T00:00:00Z",
            "package_id": document["header"]["package_id"],
        }
        for name in ("first", "second")
    ]


CONTRADICTIONS: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "nothing": (lambda _: None, ""),
    "claims approval": (_approve, "the state is the gates'"),
    "hides a blocking gate": (lambda d: d["header"].update(blocking=["G5 device"]), "what blocks approval"),
    "a gate passes": (lambda d: d["gates"][-1].update(status="pass"), "the gates' results"),
    "a better figure": (lambda d: d["evaluation"][0].update(value=0.01), "the evaluation's figures"),
    "a figure left out": (lambda d: d["evaluation"].pop(), "the evaluation's figures"),
    "a laxer threshold": (lambda d: d["evaluation"][0].update(threshold=99.0), "the evaluation's figures"),
    "a better rung": (lambda d: d["parity"][1].update(sqnr_db=120.0), "the parity ladder"),
    "a faster target": (lambda d: d["targets"][0]["latency"].update(estimate_us=1.0), "the target"),
    "measured on a device": (lambda d: d["targets"][0].update(measured_on="device"), "the target"),
    "other weights": (lambda d: d["model"].update(weights_sha256="0" * 64), "the model's weights"),
    "other model": (lambda d: d["model"].update(onnx_sha256="0" * 64), "the model compiled"),
    "other step": (lambda d: d["provenance"]["steps"][0].update(step_sha256="0" * 64), "dataset.json"),
    "a person hidden": (lambda d: d["data"].update(pii_states={"none_present": 61}), "samples by pii_state"),
    "states unknown": (
        lambda d: d["data"].update(pii_states={"value": None, "reason": "r"}),
        "samples by pii_state",
    ),
    "a drive moved": (lambda d: d["data"]["split_proof"].update(train=["d5"]), "which drives are in which split"),
    "other data": (lambda d: d["data"]["datasets"][0].update(step_sha256="0" * 64), "the dataset: its digests"),
    "other preprocessing": (lambda d: d["model"].update(preprocessing_sha256="0" * 64), "version or preprocessing"),
    "a step left out": (lambda d: d["provenance"]["steps"].pop(1), "no manifest of the step run"),
    "a file unlisted": (lambda d: d["files"].pop(-2), "disagree about README.txt"),
    "another bundle": (lambda d: d["header"].update(package_id="other"), "the signature is of bundle"),
    "another key": (lambda d: d["signature"].update(key_id="0" * 64), "names another signing key"),
    "a bare null": (lambda d: d["item"].update(asil=None), "is not a handoff manifest: item.asil"),
    "a misspelt key": (lambda d: d["header"].update(colour="red"), "header.colour"),
}  # fmt: skip


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_a_signed_manifest_that_says_other_than_its_files_fails(signed: Any, name: str) -> None:
    edit, expected = CONTRADICTIONS[name]
    found = _edited(signed, edit)
    assert found.verdict == ("failed" if expected else "verified"), found.problems
    assert not expected or any(expected in problem for problem in found.problems), found.problems


# --- attacks ------------------------------------------------------------------------------------------------------


def _another(signed: Any, folder: Path, readme: str) -> Path:
    """Copy the bundle with another README, listed and signed as it has to be, under the same name and key."""
    shutil.copytree(signed.folder, folder)
    readme_path = folder / "README.txt"
    readme_path.write_text(readme)
    document = json.loads((folder / "manifest.json").read_text())
    entry = next(item for item in document["files"] if item["path"] == "README.txt")
    entry |= {"sha256": hashlib.sha256(readme.encode()).hexdigest(), "bytes": len(readme)}
    (folder / "manifest.json").write_text(json.dumps(document))
    _sign_again(folder, ensure_signing_key(signed.home))
    return folder


def _sign_again(folder: Path, key: SigningKey) -> None:
    """Sign under the name in the manifest, as `drivetrain bundle` does."""
    (folder / "bundle.sig").unlink(missing_ok=True)
    named = folder.with_name(_bundle_id(folder))
    folder.rename(named)
    sign_folder(named, key)
    named.rename(folder)


def test_signatures_swapped_between_two_bundles_of_one_name_and_key_are_refused(signed: Any, tmp_path: Path) -> None:
    """The other one is also what an older bundle of the same name is."""
    other = _another(signed, tmp_path / "older", "older words")
    assert verify_bundle(other, (signed.key,)).verdict == "verified"
    ours, theirs = (signed.folder / "bundle.sig").read_bytes(), (other / "bundle.sig").read_bytes()
    (signed.folder / "bundle.sig").write_bytes(theirs)
    (other / "bundle.sig").write_bytes(ours)
    for folder in (signed.folder, other):
        found = verify_bundle(folder, (signed.key,))
        assert found.verdict == "failed"
        assert any("manifest.json was changed" in problem for problem in found.problems)


def test_an_older_readme_under_the_newer_manifest_is_refused(signed: Any, tmp_path: Path) -> None:
    other = _another(signed, tmp_path / "older", "older words")
    shutil.copyfile(other / "README.txt", signed.folder / "README.txt")
    assert "README.txt was changed" in _verify(signed).problems


def test_a_signature_that_only_names_the_trusted_key_is_refused(signed: Any, tmp_path: Path) -> None:
    """Edited and signed by a stranger, whose signature then says that the trusted key made it."""
    stranger = ensure_signing_key(open_home(tmp_path / "stranger"))
    _sign_again(signed.folder, stranger)
    path = signed.folder / "bundle.sig"
    path.write_text(path.read_text().replace(stranger.public.key_id, signed.key.key_id))
    found = _verify(signed)
    assert found.verdict == "failed"
    assert any("was not made by key" in problem for problem in found.problems)


@pytest.mark.parametrize("name", ["README.TXT", "Manifest.json", "BUNDLE.SIG", "Evidence/gates.json"])
def test_a_name_in_another_case_is_another_name(signed: Any, name: str) -> None:
    old = {"README.TXT": "README.txt", "Manifest.json": "manifest.json", "BUNDLE.SIG": "bundle.sig"}
    (signed.folder / name).parent.mkdir(exist_ok=True)
    (signed.folder / old.get(name, "evidence/gates.json")).rename(signed.folder / name)
    assert _verify(signed).verdict == "failed"


def test_names_that_are_one_where_case_is_ignored_are_refused_though_signed(signed: Any) -> None:
    (signed.folder / "readme.TXT").write_text("which of the two is installed?")
    _sign_again(signed.folder, ensure_signing_key(signed.home))
    assert any("differ in case alone" in problem for problem in _verify(signed).problems)


def test_a_hard_link_is_as_good_as_its_bytes(signed: Any, tmp_path: Path) -> None:
    target = signed.folder / "compiled/w8a16.ctx.bin"
    outside = tmp_path / "outside.bin"
    shutil.copyfile(target, outside)
    target.unlink()
    target.hardlink_to(outside)
    assert _verify(signed).verdict == "verified"
    outside.write_bytes(b"evil")
    assert _verify(signed).problems == ("compiled/w8a16.ctx.bin was changed",)


def test_a_device_is_never_opened() -> None:
    assert "null is a device, not a plain file" in list_contents(Path("/dev"), limit=100_000).unsafe


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "a//b", "./a", "a\\b", "C:a", "nul\0"])
def test_a_signed_manifest_that_lists_a_path_outside_is_refused(signed: Any, path: str) -> None:
    def edit(document: dict[str, Any]) -> None:
        document["files"][0]["path"] = path

    found = _edited(signed, edit)
    assert any("not a plain relative path" in problem for problem in found.problems), found.problems


DOCUMENTS: dict[str, tuple[Callable[[str], str], str]] = {
    "a key twice": (
        lambda text: text.replace('"state":', '"state": "approved", "state":', 1),
        "'state' is given twice",
    ),
    "not a number": (lambda text: text.replace('"soc_model": 52', '"soc_model": NaN'), "NaN is no number"),
    "deep": (lambda _: "[" * 5_000_000, "more than 250000 values"),
    "nested": (lambda _: "[" * 200_000, "nested too deep"),
    "crowded": (lambda _: "{" + ",".join(f'"{n}":[]' for n in range(300_000)) + "}", "more than 250000 values"),
    "wide": (lambda _: "{" + ",".join(f'"{n}":0' for n in range(50_000)) + "}", "not a handoff manifest"),
    "a long number": (lambda _: '{"header": ' + "9" * 1_000_000 + "}", "not a handoff manifest"),
    "huge": (lambda text: text + " " * (17 << 20), "manifest.json cannot be read"),
    "empty": (lambda _: "", "not a handoff manifest"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_signed_manifest_that_is_no_honest_json_is_refused_in_bounded_time(signed: Any, name: str) -> None:
    edit, expected = DOCUMENTS[name]
    path, package_id = signed.folder / "manifest.json", _bundle_id(signed.folder)
    path.write_text(edit(path.read_text()))
    (signed.folder / "bundle.sig").unlink()
    named = signed.folder.with_name(package_id)
    signed.folder.rename(named)
    sign_folder(named, ensure_signing_key(signed.home))
    before_s = time.process_time()
    found = verify_bundle(named, (signed.key,))
    assert time.process_time() - before_s < 15
    assert any(expected in problem for problem in found.problems), found.problems
    assert all(len(problem) < 1000 for problem in found.problems)


@pytest.mark.parametrize("name", ["manifest.json", "bundle.sig", "README.txt", "extra"])
def test_two_gibibytes_of_anything_are_refused_without_being_read(signed: Any, name: str) -> None:
    with (signed.folder / name).open("r+b" if name != "extra" else "wb") as stream:
        stream.truncate(1 << 40)  # a hole: it takes no room on the disk, and hours to read
    before_s = time.process_time()
    assert _verify(signed).verdict == "failed"
    assert time.process_time() - before_s < 10


def test_many_strangers_are_counted_and_not_all_named(signed: Any) -> None:
    for number in range(1200):
        (signed.folder / f"extra-{number:04}").touch()
    found = _verify(signed)
    assert any("more than" in problem for problem in found.problems)
    assert len(found.problems) <= 21
    for number in range(300, 1200):
        (signed.folder / f"extra-{number:04}").unlink()
    assert _verify(signed).problems[-1].startswith("and ")


def _while_verifying(signed: Any, monkeypatch: pytest.MonkeyPatch, act: Callable[[Path], object]) -> Verification:
    """Act at the last moment: when every digest and the signature were found good."""
    real = verify_module.contradictions

    def acting(*arguments: Any) -> list[str]:
        found = real(*arguments)
        act(signed.folder)
        return found

    monkeypatch.setattr(verify_module, "contradictions", acting)
    return _verify(signed)


def _change_and_restore(path: Path) -> None:
    before, stat = path.read_bytes(), path.stat()
    path.write_bytes(b"x" * len(before))
    path.write_bytes(before)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "a byte": lambda f: _change(f / "compiled/w8a16.ctx.bin"),
    "a byte and back": lambda f: _change_and_restore(f / "compiled/w8a16.ctx.bin"),
    "another file of the same bytes": lambda f: shutil.copyfile(f / "README.txt", f / "r") and (f / "r").replace(f / "README.txt"),
    "an added file": lambda f: (f / "extra").write_text("x"),
    "a link": _link_out,
    "an empty folder": lambda f: (f / "empty").mkdir(),
}  # fmt: skip


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_changes_while_it_is_verified_fails(signed: Any, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    found = _while_verifying(signed, monkeypatch, MOMENTS[moment])
    assert found.problems == ("the bundle was changed while it was verified",)


def test_evidence_changed_after_its_digest_was_taken_is_never_believed(
    signed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = verify_module._signer

    def acting(*arguments: Any, **named: Any) -> Any:
        _change(signed.folder / "evidence/gates.json")
        return real(*arguments, **named)

    monkeypatch.setattr(verify_module, "_signer", acting)
    assert any("gates.json" in problem for problem in _verify(signed).problems)


# --- what is no bundle --------------------------------------------------------------------------------------------


def test_no_bundle_is_said_plainly(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "folder").mkdir()
    expected = {
        "none": "no such bundle",
        "file": "not a folder",
        "file/below": "no such bundle",
        "loop": "cannot be read",
        "x" * 300: "cannot be read",
        "folder": "no manifest.json: not a bundle",
        "~nobody-of-that-name": "no such bundle|cannot be read",
    }
    for name, said in expected.items():
        place = Path(name) if name.startswith("~") else tmp_path / name
        with pytest.raises(MissingPartError, match=said) as caught:
            verify_bundle(place, ())
        assert "manifest.json and bundle.sig" in str(caught.value.remedy)


def test_a_huge_folder_that_is_no_bundle_is_refused_without_a_walk(tmp_path: Path) -> None:
    for number in range(2000):
        (tmp_path / f"{number}").touch()
    with pytest.raises(MissingPartError, match=r"no manifest\.json: not a bundle"):
        verify_bundle(tmp_path, ())
    (tmp_path / "manifest.json").write_text("{}")  # as every step's folder has one
    found = verify_bundle(tmp_path, ())
    assert (found.verdict, found.files) == ("failed", 0)
    assert found.problems == ("bundle.sig is missing: not a bundle, or one that is not signed",)


def test_a_folder_that_may_not_be_read_is_said(signed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, whom tests may run as, so the system's answer is the one part that is set."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(MissingPartError, match="may not read it"):
        _verify(signed)
