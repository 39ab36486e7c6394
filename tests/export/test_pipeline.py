"""The folder is replaced as a whole or not at all."""

import copy
import hashlib
import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load, save

from fmnist_edge_export import api, manifest, pipeline
from fmnist_edge_export.card import PICTURES
from fmnist_edge_export.formats.registry import FORMATS, TORCHSCRIPT
from fmnist_edge_export.pipeline import export, formats_named
from fmnist_edge_export.source import Source
from fmnist_edge_export.verify import verify
from fmnist_edge_runtime.errors import ModelError, ParityError


def digest(path):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in path.iterdir() if p.is_file()}


def test_an_export_is_whole_and_verifies(sources, probes, tmp_path):
    report = export(sources["edge"], tmp_path / "new" / "edge", list(FORMATS.values()), probes)
    assert report.ok
    names = {path.name for path in (tmp_path / "new" / "edge").iterdir()}
    forms = {"edge.onnx", "edge.int8.onnx", "edge.torchscript.pt"}
    assert names == forms | {"edge.safetensors", "edge.json", "manifest.json", "README.md", *PICTURES}
    assert manifest.read(tmp_path / "new" / "edge").files.keys() == names - {"manifest.json"}
    assert verify(tmp_path / "new" / "edge").ok
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["edge"]
    assert export(sources["edge"], tmp_path / "new" / "edge", [FORMATS["onnx"]], probes).ok, "it may be replaced"


def test_what_an_export_killed_between_its_renames_left_is_put_right_before_weights_are_looked_for(target, monkeypatch):
    target.rename(target.with_name(".edge.fmnist-edge-old"))
    monkeypatch.setattr(api, "export", lambda source, *_, **__: source)
    exported = api.export_checkpoint(target / "edge.safetensors", target.parent, ["onnx"])
    assert exported.weights == (target / "edge.safetensors").read_bytes()


def test_forms_not_asked_for_are_proven_anew_and_carried_over(sources, probes, target):
    before = digest(target)
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    after = digest(target)
    assert after["edge.int8.onnx"] == before["edge.int8.onnx"]
    assert after["edge.torchscript.pt"] == before["edge.torchscript.pt"]
    forms = manifest.read(target).formats
    assert forms.keys() == FORMATS.keys()
    assert {form["measured"]["decided_on"] for form in forms.values()} == {probes.decided_on}
    assert verify(target).ok


def test_forms_of_other_weights_are_dropped_with_a_word(sources, probes, target, caplog):
    written = save(load(sources["edge"].weights), {"note": "the same numbers in another file"})
    record = replace(sources["edge"].record, weights_sha256=hashlib.sha256(written).hexdigest())
    export(replace(sources["edge"], record=record, weights=written), target, [FORMATS["onnx"]], probes)
    assert "edge.int8.onnx is dropped: it does not pass any more (contract: " in caplog.text
    assert not (target / "edge.int8.onnx").exists()
    assert not (target / "edge.torchscript.pt").exists()


def test_forms_of_another_contract_are_dropped_with_a_word(sources, probes, target, caplog):
    record = replace(sources["edge"].record, temperature=3.0)
    export(replace(sources["edge"], record=record), target, [FORMATS["onnx"]], probes)
    assert "edge.torchscript.pt is dropped: it does not pass any more (probabilities: " in caplog.text
    assert verify(target).ok


def test_so_are_forms_that_say_otherwise_where_they_come_from(sources, probes, target, caplog):
    record = replace(sources["edge"].record, licence="another")
    export(replace(sources["edge"], record=record), target, [FORMATS["onnx"]], probes)
    for file in ("edge.int8.onnx", "edge.torchscript.pt"):
        words = "contract: provenance.licence 'MIT', not 'another'"
        assert f"{file} is dropped: it does not pass any more ({words})" in caplog.text


def test_what_comes_into_the_folder_while_an_export_works_is_kept(sources, probes, target):
    def drop_a_note(step):
        if step == "replacing the folder":
            (target / "notes.txt").write_text("mine")

    export(sources["edge"], target, [FORMATS["onnx"]], probes, on_step=drop_a_note)
    assert (target / "notes.txt").read_text() == "mine"


def test_a_form_that_another_export_makes_meanwhile_is_not_lost(sources, probes, target):
    form = target / "edge.torchscript.pt"
    content = form.read_bytes()
    form.unlink()

    def make_it(step):
        if step == "replacing the folder":
            form.write_bytes(content)

    with pytest.raises(ModelError, match=r"edge\.torchscript\.pt: made by another export meanwhile; .* export again"):
        export(sources["edge"], target, [FORMATS["onnx"]], probes, on_step=make_it)
    assert form.read_bytes() == content
    assert os.listdir(target.parent) == ["edge"]


def test_forms_of_the_same_weights_in_another_network_are_dropped(sources, probes, target, caplog):
    negated = copy.deepcopy(sources["edge"].module)
    negated.register_forward_hook(lambda module, given, scores: -scores)
    source = Source(negated, sources["edge"].record, sources["edge"].weights)
    export(source, target, [FORMATS["torchscript"]], probes)
    assert "edge.onnx is dropped: it does not pass any more (logits: " in caplog.text
    assert manifest.read(target).formats.keys() == {"torchscript"}


def test_a_network_that_the_runtime_would_not_open_is_refused(sources, probes, target, monkeypatch):
    before = digest(target)
    monkeypatch.setattr(pipeline, "MOST_BYTES", 2**19)
    with pytest.raises(ModelError, match=r"edge: \d+ MiB as onnx, and the runtime opens 0 at most; export a smaller"):
        export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert digest(target) == before


def test_of_a_link_what_it_points_to_is_replaced(sources, probes, target, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(target)
    export(sources["edge"], link, [FORMATS["onnx"]], probes)
    assert link.is_symlink()
    assert verify(target).ok
    assert [path.name for path in target.parent.iterdir()] == ["edge"]


def test_a_damaged_form_is_dropped_with_a_word(sources, probes, target, caplog):
    content = bytearray((target / "edge.int8.onnx").read_bytes())
    content[5000] ^= 1
    (target / "edge.int8.onnx").write_bytes(content)
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert "edge.int8.onnx is dropped" in caplog.text
    assert verify(target).ok


def test_a_strangers_file_is_kept(sources, probes, target):
    (target / "notes.txt").write_text("mine")
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert (target / "notes.txt").read_text() == "mine"
    (target / "notes.txt").write_text("mine, and changed")
    assert verify(target).ok


def test_a_strangers_model_is_kept_too_and_not_taken_for_proven(sources, probes, target):
    shutil.copy(target / "edge.onnx", target / "other.onnx")
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert (target / "other.onnx").is_file()
    (failure,) = verify(target).failures
    assert (failure.subject, failure.seen) == (
        "other.onnx",
        "not in the manifest: no export has proven it; move it elsewhere",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_so_is_a_link_that_leads_to_nothing(sources, probes, target):
    (target / "link").symlink_to("nothing")
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert (target / "link").readlink() == Path("nothing")


@pytest.mark.parametrize("name", ["README.md", "edge.json", "confusion.png"])
def test_a_file_that_no_export_has_written_is_not_replaced(sources, probes, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(ModelError, match=f"holds a {name} that no export has written; name another folder"):
        export(sources["edge"], tmp_path, [FORMATS["onnx"]], probes)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "mine"}


def test_nor_is_a_readme_beside_a_record_unless_it_is_a_card(sources, probes, target):
    (target / "manifest.json").unlink()
    export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert verify(target).ok
    (target / "manifest.json").unlink()
    (target / "README.md").write_text("mine")
    with pytest.raises(ModelError, match=r"holds a README\.md that no export has written"):
        export(sources["edge"], target, [FORMATS["onnx"]], probes)
    assert (target / "README.md").read_text() == "mine"


def test_nor_is_one_beside_somebody_elses_manifest(sources, probes, tmp_path):
    (tmp_path / "manifest.json").write_text('{"name": "My web app"}')
    with pytest.raises(ModelError, match=r"holds a manifest\.json that no export has written"):
        export(sources["edge"], tmp_path, [FORMATS["onnx"]], probes)


def test_nor_is_one_that_the_manifest_does_not_know(sources, probes, target):
    before = json.loads((target / "manifest.json").read_text())
    del before["files"]["edge.int8.onnx"]
    (target / "manifest.json").write_text(json.dumps(before))
    with pytest.raises(ModelError, match=r"holds a edge\.int8\.onnx that no export has written"):
        export(sources["edge"], target, [FORMATS["onnx"]], probes)


@pytest.mark.skipif(sys.platform == "win32", reason="links are for administrators there")
def test_a_link_that_leads_to_itself_is_refused(sources, probes, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ModelError, match="is a link that leads to itself; name another folder"):
        export(sources["edge"], tmp_path / "loop", [FORMATS["onnx"]], probes)
    with pytest.raises(ModelError, match="no such file or folder"):
        verify(tmp_path / "loop")
    assert (tmp_path / "loop").is_symlink()


def test_an_empty_path_is_not_the_folder_one_stands_in(target, monkeypatch):
    monkeypatch.chdir(target)
    with pytest.raises(ModelError, match="an empty path"):
        verify("")


@pytest.mark.parametrize("path", [300 * "a", "a\0b"])
def test_what_cannot_be_looked_at_is_a_model_error(path):
    with pytest.raises(ModelError, match="cannot be read"):
        verify(path)


def test_a_folder_of_folders_or_a_file_is_not_replaced(sources, probes, tmp_path):
    (tmp_path / "home" / "photos").mkdir(parents=True)
    (tmp_path / "file").write_text("mine")
    for name in ("home", "file", "file/below", "file/further/below"):
        with pytest.raises(ModelError, match=r"(home: holds folders|file: is a file).*; name another folder"):
            export(sources["edge"], tmp_path / name, [FORMATS["onnx"]], probes)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_failed_proof_raises_with_its_report(sources, probes, target):
    wrong = replace(TORCHSCRIPT, seal=lambda graph, metadata: TORCHSCRIPT.seal(graph, metadata | {"temperature": 9.0}))
    before = digest(target)
    with pytest.raises(ParityError, match="closed by torchscript contract") as caught:
        export(sources["edge"], target, [wrong], probes)
    assert not caught.value.report.ok
    assert digest(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["edge"]


@pytest.mark.parametrize("step", ["building onnx", "proving onnx", "replacing the folder"])
def test_an_interruption_leaves_the_old_set(sources, probes, target, step):
    def interrupt(current):
        if current == step:
            raise KeyboardInterrupt

    before = digest(target)
    with pytest.raises(KeyboardInterrupt):
        export(sources["edge"], target, [FORMATS["onnx"]], probes, on_step=interrupt)
    assert digest(target) == before
    assert [path.name for path in target.parent.iterdir()] == ["edge"]


def test_a_folder_that_was_renamed_is_exported_again_without_its_former_name(sources, probes, target):
    (target / "notes.txt").write_text("mine")
    renamed = target.rename(target.with_name("other"))
    record = replace(sources["edge"].record, name="other")
    export(replace(sources["edge"], record=record), renamed, [FORMATS["onnx"]], probes)
    assert verify(renamed).ok
    assert {path.name for path in renamed.iterdir() if "edge" in path.name} == set()
    assert (renamed / "notes.txt").read_text() == "mine"


def test_a_format_that_is_none_is_refused_by_name():
    with pytest.raises(ModelError, match=r"onnx-int4: no such format; there are onnx, onnx-int8, torchscript"):
        formats_named(["onnx", "onnx-int4"])
    with pytest.raises(ModelError, match="nothing"):
        formats_named([])


def test_the_self_test_keeps_the_logits_of_the_record_where_this_machine_meets_them(sources, probes, truths):
    kept = sources["edge"].record.self_test
    near = {form: [[x + 2e-5 for x in row] for row in rows] for form, rows in kept.items()}
    shifted = replace(sources["edge"].record, self_test=near)
    source = replace(sources["edge"], record=shifted)
    content, logits = pipeline.sealed(FORMATS["onnx"], source, probes, truths["edge"])
    np.testing.assert_allclose(logits["onnx"], shifted.self_test["onnx"], atol=1e-6)
    far = replace(shifted, self_test={"onnx": [[x + 1 for x in row] for row in shifted.self_test["onnx"]]})
    _, measured = pipeline.sealed(FORMATS["onnx"], replace(source, record=far), probes, truths["edge"])
    assert measured["onnx"] != far.self_test["onnx"]
    assert content


def test_a_manifest_that_is_none_is_a_failed_check(target):
    (target / "manifest.json").write_text("[]")
    assert [check.name for check in verify(target).failures] == ["manifest"]
    (target / "manifest.json").unlink()
    assert "cannot be read (no such file)" in verify(target).failures[0].seen
    (target / "manifest.json").mkdir()
    assert "cannot be read (not a file)" in verify(target).failures[0].seen
