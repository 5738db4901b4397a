// Adds counts to running totals.
import package::common::grid::workgroup_index;

struct Params {
    experts: u32,
}

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> totals: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = workgroup_index(id, count) * 64u + local;
    if expert < params.experts {
        totals[expert] += counts[expert];
    }
}
