"""Compiled models: a patch reaches them, comes off them, and does not make torch compile at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from tests.helpers.tiny_models import SMALL, generate, predict, sd15_pipeline, small_unet, unet_inputs
from todo_patch import ToDo, ToMe, apply_patch, begin_run, remove_patch


def compile_around(unet, backend) -> torch.nn.Module:
    return torch.compile(unet, backend=backend, fullgraph=True)


def compile_with_breaks(unet, backend) -> torch.nn.Module:
    return torch.compile(unet, backend=backend)


def compile_in_place(unet, backend) -> torch.nn.Module:
    unet.compile(backend=backend, fullgraph=True)
    return unet


def compile_blocks(unet, backend) -> torch.nn.Module:
    unet.compile_repeated_blocks(backend=backend, fullgraph=True)
    return unet


@pytest.fixture(autouse=True)
def _compile_from_scratch() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def patched_pair(method, compiled, backend) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Two UNets of the same weights: compiled, and not."""
    unet, eager = small_unet(), small_unet()
    apply_patch(unet, method)
    apply_patch(eager, method)
    return compiled(unet, backend), eager


# The two ways of compiling the whole model share their machinery; where that is enough, one of them is tried.
two_ways = pytest.mark.parametrize("compiled", [compile_around, compile_blocks])


@pytest.mark.compatibility(
    "`torch.compile`", methods=[ToDo(), ToDo(grid="rotating"), ToDo(pooling="average")]
)
@pytest.mark.parametrize("compiled", [compile_in_place, compile_blocks])
def test_patching_exchanging_and_removing_reach_compiled_code(compiled) -> None:
    model, eager = compiled(small_unet(), "eager"), small_unet()
    methods = (
        ToDo(factor=(3, 2), grid="rotating"),
        ToDo(factor=(3, 2), merge="all"),
        ToDo(pooling="average"),
        ToDo(pooling="average", merge="all"),
        ToDo(factor=(1, 2)),
    )
    for _ in range(2):
        torch.testing.assert_close(predict(model), predict(eager))
        for method in methods:
            apply_patch(model, method)
            apply_patch(eager, method)
            for _ in range(2):
                torch.testing.assert_close(predict(model), predict(eager))
        remove_patch(model)
        remove_patch(eager)
    torch.testing.assert_close(predict(model), predict(eager))


def test_tome_and_todo_may_be_exchanged_on_compiled_blocks() -> None:
    model, eager = small_unet(), small_unet()
    model.compile_repeated_blocks(backend="eager")
    for _ in range(2):
        for method in (ToDo(), ToMe(merge="keys-values"), ToDo(merge="all"), ToMe()):
            apply_patch(model, method)
            apply_patch(eager, method)
            torch.testing.assert_close(predict(model), predict(eager))


@pytest.mark.compatibility("`torch.compile`")
@pytest.mark.parametrize("method", [ToDo(), ToDo(merge="all"), ToMe(), ToMe(merge="keys-values")], ids=str)
def test_patching_and_removing_twelve_times_compiles_no_more_than_once(method) -> None:
    """Nor does compiled code of the one keep running for the other."""
    counter = CompileCounter()
    model = torch.compile(small_unet(), backend=counter, fullgraph=isinstance(method, ToDo))
    eager = small_unet()
    baseline = predict(eager)
    apply_patch(eager, method)
    patched = predict(eager)
    graphs = []
    for _ in range(12):
        torch.testing.assert_close(predict(model), baseline)
        apply_patch(model, method)
        torch.testing.assert_close(predict(model), patched)
        remove_patch(model)
        graphs.append(counter.frame_count)
    assert len(set(graphs[1:])) == 1  # what there is to compile has been by the second time


@pytest.mark.compatibility(
    "`torch.compile` with `fullgraph=True`",
    methods=[ToDo(grid="rotating"), ToDo(grid="rotating", merge="all")],
)
@two_ways
@pytest.mark.parametrize("merge", ["keys-values", "all"])
def test_twelve_steps_of_the_rotating_grid_compile_as_often_as_one(compiled, merge) -> None:
    counter = CompileCounter()
    model, eager = patched_pair(ToDo(factor=(2, 2), grid="rotating", merge=merge), compiled, counter)
    torch.testing.assert_close(predict(model), predict(eager))
    once = counter.frame_count
    for _ in range(11):
        torch.testing.assert_close(predict(model), predict(eager))
    assert counter.frame_count == once
    assert once == {compile_around: 1, compile_in_place: 1, compile_blocks: 2}[compiled]  # one per block


@two_ways
@pytest.mark.parametrize("merge", ["keys-values", "all"])
def test_until_adds_one_graph_and_no_more(compiled, merge) -> None:
    counter = CompileCounter()
    model, _ = patched_pair(ToDo(until=0.5, grid="rotating", merge=merge), compiled, counter)
    baseline = predict(small_unet())
    graphs = set()
    for _ in range(3):
        begin_run(model, steps=4)
        same = [torch.allclose(predict(model), baseline, atol=1e-5) for _ in range(4)]
        assert same == [False, False, True, True]
        graphs.add(counter.frame_count)
    assert graphs == {{compile_around: 2, compile_in_place: 2, compile_blocks: 3}[compiled]}


@pytest.mark.compatibility("`torch.compile` with `fullgraph=True`", methods=[ToDo()])
@two_ways
@pytest.mark.parametrize("patch_first", [True, False])
def test_a_patch_on_one_model_does_not_reach_another_of_the_same_shape(compiled, patch_first) -> None:
    """Two models of one shape share their compiled code."""
    one, other = compiled(small_unet(0), "eager"), compiled(small_unet(1), "eager")
    baseline = predict(small_unet(0))
    if not patch_first:
        predict(one)
    apply_patch(other, ToDo())
    eager = small_unet(1)
    apply_patch(eager, ToDo())
    torch.testing.assert_close(predict(other), predict(eager))
    torch.testing.assert_close(predict(one), baseline)


def test_image_sizes_may_change_on_a_model_with_compiled_blocks() -> None:
    model, eager = patched_pair(ToDo(grid="rotating"), compile_blocks, "eager")
    for latent in ((12, 16), (9, 13), (12, 16)):
        torch.testing.assert_close(predict(model, *latent), predict(eager, *latent))


@pytest.mark.compatibility(
    "`torch.compile` with `fullgraph=True`", methods=[ToDo(grid="rotating"), ToDo(pooling="average")]
)
def test_many_image_sizes_need_no_graph_more_than_without_a_patch() -> None:
    graphs = []
    rotating = ToDo(grid="rotating")
    for method in (ToDo(factor=1), rotating, ToDo(pooling="average"), replace(rotating, merge="all")):
        torch._dynamo.reset()
        counter = CompileCounter()
        model, eager = patched_pair(method, compile_around, counter)
        for width in range(11, 21, 2):
            torch.testing.assert_close(predict(model, 9, width), predict(eager, 9, width))
        graphs.append(counter.frame_count)
    assert len(set(graphs)) == 1
    assert graphs[0] <= 3


@pytest.mark.parametrize("compiled", [compile_around, compile_in_place, compile_blocks])
def test_a_compiled_pipeline_sees_where_a_run_begins(compiled) -> None:
    pipe = sd15_pipeline(**SMALL)
    apply_patch(pipe, ToDo(grid="rotating"))
    expected = [generate(pipe, 3), generate(pipe, 5)]
    remove_patch(pipe)
    pipe.unet = compiled(pipe.unet, "eager")
    apply_patch(pipe, ToDo(grid="rotating"))
    for steps, image in zip((3, 5, 3), (*expected, expected[0]), strict=True):
        torch.testing.assert_close(generate(pipe, steps), image, rtol=1e-4, atol=1e-4)


@pytest.mark.compatibility("`torch.compile` in training, with gradient checkpointing")
@pytest.mark.parametrize(
    ("compiled", "method"),
    [
        (compile_around, ToDo()),
        (compile_around, ToDo(factor=(2, 2), grid="rotating")),
        (compile_blocks, ToDo(pooling="average")),
        (compile_blocks, ToDo(grid="rotating", merge="all")),
        (compile_with_breaks, ToMe()),
        (compile_with_breaks, ToMe(merge="keys-values")),
    ],
    ids=["around", "around-rotating", "blocks-average", "blocks-all-tokens", "tome", "tome-kv"],
)
def test_compiled_training_with_checkpointing_gives_the_gradients_of_eager(compiled, method) -> None:
    """Also if a picture of another shape is made between forward and backward."""
    models = patched_pair(method, compiled, "aot_eager")
    models[0].enable_gradient_checkpointing()
    for model in models:
        output = model.train()(**unet_inputs(model, 8, 12))[0]
        predict(model, 12, 8)
        output.square().mean().backward()
    for weight, expected in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(weight.grad, expected.grad)


@pytest.mark.compatibility(
    "`torch.compile` with `fullgraph=True`",
    result="refused: tomesd breaks the graph",
    methods=[ToMe(), ToMe(merge="keys-values")],
)
@two_ways
@pytest.mark.parametrize("merge", ["keys-values", "all"])
def test_tome_says_so_where_a_graph_of_the_whole_model_is_asked_for(compiled, merge) -> None:
    model = compiled(small_unet(), "eager")
    baseline = predict(model)
    apply_patch(model, ToMe(merge=merge))
    with pytest.raises(torch._dynamo.exc.Unsupported):
        predict(model)
    remove_patch(model)
    torch.testing.assert_close(predict(model), baseline)
