// Loss-free balancing: lowers the selection bias of experts with more than the mean number of tokens, raises it for
// those with fewer.
import package::common::grid::workgroup_index;

struct Params {
    experts: u32,
    rate: f32,
}

@group(0) @binding(0) var<storage, read> counts: array<u32>;
@group(0) @binding(1) var<storage, read_write> bias: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let expert = workgroup_index(id, count) * 64u + local;
    if expert >= params.experts {
        return;
    }
    var sum = 0u;
    for (var i = 0u; i < params.experts; i++) {
        sum += counts[i];
    }
    // Mean as quotient and remainder: exact comparison in integers.
    let mean = sum / params.experts;
    let rest = sum % params.experts;
    let mine = counts[expert];
    if mine > mean {
        bias[expert] -= params.rate;
    } else if mine < mean || rest > 0u {
        bias[expert] += params.rate;
    }
}
