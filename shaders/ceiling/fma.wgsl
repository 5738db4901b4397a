// Fused multiply-adds in registers: measures peak arithmetic throughput. Twelve independent accumulators per
// invocation hide the latency of one multiply-add and fit the sixteen vector registers of a CPU.
import package::common::grid::workgroup_index;

struct Params {
    // Number of invocations that store a result.
    n: u32,
    rounds: u32,
    factor: f32,
    addend: f32,
}

@group(0) @binding(0) var<storage, read_write> out: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Multiply-adds per accumulator and round.
const STEPS = 16u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    // Accumulators differ, so that the compiler cannot merge them. Invocations past the end compute too: CPU drivers
    // would otherwise check a lane mask at every step.
    var a = vec4<f32>(f32(i)) + vec4<f32>(0.0, 1.0, 2.0, 3.0);
    var b = a + 4.0;
    var c = a + 8.0;
    let factor = vec4<f32>(params.factor);
    let addend = vec4<f32>(params.addend);
    for (var round = 0u; round < params.rounds; round++) {
        for (var step = 0u; step < STEPS; step++) {
            a = fma(a, factor, addend);
            b = fma(b, factor, addend);
            c = fma(c, factor, addend);
        }
    }
    let sum = a + b + c;
    if i < params.n {
        out[i] = (sum.x + sum.y) + (sum.z + sum.w);
    }
}
