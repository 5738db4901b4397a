// Assignments of expert choice and token rounding: slot e of a token holds expert e if that expert selected the
// token, else ABSENT.
import package::common::grid::workgroup_index;
import package::common::topology::ABSENT;

struct Params {
    tokens: u32,
    experts: u32,
}

// One bit per token for each expert, in whole words per expert.
@group(0) @binding(0) var<storage, read> selected: array<u32>;
@group(0) @binding(1) var<storage, read_write> experts: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.tokens * params.experts {
        return;
    }
    let token = i / params.experts;
    let expert = i % params.experts;
    let words = (params.tokens + 31u) / 32u;
    let bit = (selected[expert * words + token / 32u] >> (token % 32u)) & 1u;
    experts[i] = select(ABSENT, expert, bit == 1u);
}
