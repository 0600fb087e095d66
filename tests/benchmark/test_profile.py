"""Profiles: traces of three platforms, moments shared by operations under way, and the layer each belongs to."""

import jax
import pytest

from jaxstroke.benchmark import profile


def test_a_moment_is_shared_by_what_is_under_way():
    spans = [profile.Span("a", 0, 10), profile.Span("b", 5, 10), profile.Span("a", 20, 21), profile.Span("b", 20.5, 20.5)]
    assert profile.shared(spans) == {"a": 8.5, "b": 2.5}


PROGRAM = """HloModule jit_local, is_scheduled=true
  %dot.1 = f32[8,8]{1,0} dot(%a, %b), metadata={op_name="jit(local)/encoder/dot_general"}
  %copy.2 = f32[8,8]{0,1:T(8,128)} copy(%dot.1)
  %while.3 = (s32[], /*index=1*/f32[8,8]{1,0}) while(%tuple), body=%body, metadata={op_name="jit(local)/lstm/while"}
  ROOT %fusion.4 = f32[8]{0} fusion(%copy.2), kind=kLoop, metadata={op_name="jit(local)/heads/add"}
"""


def test_operations_are_told_by_their_layer():
    opcode, source = profile.described(PROGRAM)
    assert opcode == {"dot.1": "dot", "copy.2": "copy", "while.3": "while", "fusion.4": "fusion"}
    assert source["dot.1"] == "jit(local)/encoder/dot_general" and source["copy.2"] == "for jit(local)/heads/add"
    spans = [profile.Span("while.3", 0, 9e6), profile.Span("jit_local/dot.1", 0, 3e6), profile.Span("jit_take/dot.1", 3e6, 4e6)]
    found = {one.operation: one for one in profile.summarise(spans, PROGRAM)}
    assert set(found) == {"dot.1", "jit_take/dot.1"}
    assert found["dot.1"].milliseconds == pytest.approx(1) and found["dot.1"].share == pytest.approx(0.75)
    assert found["dot.1"].source and not found["jit_take/dot.1"].source


def plane(name: str, line: str, events: list[tuple[str, int, int, dict]]) -> str:
    """A plane of a trace as text: events (name, start, length in ns, stats)."""
    stats = sorted({key for *_, each in events for key in each})
    heads = [f'event_metadata {{ key: {i} value {{ id: {i} name: "{event[0]}" }} }}' for i, event in enumerate(events, 1)]
    heads += [f'stat_metadata {{ key: {i} value {{ id: {i} name: "{stat}" }} }}' for i, stat in enumerate(stats, 1)]
    lines = []
    for i, (_, start, length, each) in enumerate(events, 1):
        values = " ".join(
            f"stats {{ metadata_id: {stats.index(key) + 1} "
            + (f'str_value: "{value}"' if isinstance(value, str) else f"uint64_value: {value}")
            + " }"
            for key, value in each.items()
        )
        lines.append(f"events {{ metadata_id: {i} offset_ps: {start * 1000} duration_ps: {length * 1000} {values} }}")
    return f'planes {{ name: "{name}" {" ".join(heads)} lines {{ name: "{line}" timestamp_ns: 0 {" ".join(lines)} }} }}'


def read(*planes: str) -> list[tuple[str, float, float]]:
    data = jax.profiler.ProfileData.from_text_proto("\n".join(planes))
    return [(span.name, span.start, span.end) for span in profile.spans(data)]


def test_traces_of_three_platforms():
    host = plane(
        "/host:CPU", "pool", [("dot.1", 0, 5, {"hlo_op": "dot.1", "_p": 7}), ("end: dot.1", 40, 1, {"_c": 7}), ("idle", 0, 90, {})]
    )
    assert read(host) == [("dot.1", 0, 40)]  # handed over after 5 ns, done after 40
    gpu = plane(
        "/device:GPU:0", "Stream #13(Compute)", [("gemm", 10, 5, {"hlo_op": "dot.1", "hlo_module": "jit_local"}), ("memset", 20, 1, {})]
    )
    other = plane("/device:GPU:1", "Stream #13(Compute)", [("gemm", 10, 9, {"hlo_op": "dot.1"})])
    assert read(host, other, gpu) == [("jit_local/dot.1", 10, 15), ("memset", 20, 21)]
    tpu = plane("/device:TPU:0", "XLA Ops", [("%fusion.4 = f32[8]{0} fusion(%copy.2)", 3, 4, {})])
    assert read(tpu) == [("fusion.4", 3, 7)]
