// Cast to f16, four elements per invocation: round to nearest even, or stochastically, so that the expected result is
// x.
import package::common::grid::workgroup_index;
import package::common::half::{nearest4, finished4, SIGN, NORMAL, STEP};
@if(stochastic)
import package::common::random::{threefry, unit};
@if(stochastic)
import package::common::step::now;
@if(placed)
import package::common::topology::slot_place;
@if(placed)
import package::constants::BLOCK;

struct Params {
    n: u32,
    @if(stochastic) key_0: u32,
    @if(stochastic) key_1: u32,
    // Index of the window's first element in the whole tensor.
    @if(window) first: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f16>;
@group(0) @binding(7) var<uniform> params: Params;

@if(placed)
const AREA = BLOCK * BLOCK;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = (workgroup_index(id, count) * 64u + local) * 4u;
    if i >= params.n {
        return;
    }
    let last = params.n - 1u;
    let v = vec4<f32>(x[i], x[min(i + 1u, last)], x[min(i + 2u, last)], x[min(i + 3u, last)]);
    let halves = vec4<f16>(rounded4(v, i));
    let these = min(4u, params.n - i);
    for (var c = 0u; c < these; c++) {
        out[i + c] = halves[c];
    }
}

@if(!stochastic)
fn rounded4(v: vec4<f32>, i: u32) -> vec4<f32> {
    return nearest4(v);
}

// Stochastic rounding: rounds up with a probability equal to the discarded fraction, of 13 mantissa bits or of a
// multiple of 2^-24.
@if(stochastic)
fn rounded4(v: vec4<f32>, i: u32) -> vec4<f32> {
    let draw = vec4<u32>(bits_of(i), bits_of(i + 1u), bits_of(i + 2u), bits_of(i + 3u));
    let bits = bitcast<vec4<u32>>(v);
    let magnitude = bits & vec4<u32>(~SIGN);
    let normal = (magnitude + (draw & vec4<u32>(0x1FFFu))) & vec4<u32>(~0x1FFFu);
    let steps = bitcast<vec4<f32>>(min(magnitude, vec4<u32>(NORMAL))) / STEP;
    let whole = floor(steps);
    let share = vec4<f32>(unit(draw.x), unit(draw.y), unit(draw.z), unit(draw.w));
    let up = select(vec4<f32>(), vec4<f32>(1.0), share < steps - whole);
    return finished4(bits, magnitude, normal, (whole + up) * STEP);
}

@if(stochastic)
fn bits_of(i: u32) -> u32 {
    var element = i;
    @if(window) {
        element += params.first;
    }
    @if(placed) {
        element = slot_place(element / AREA) * AREA + element % AREA;
    }
    return threefry(vec2<u32>(params.key_0, params.key_1), vec2<u32>(element, now.index)).x;
}
