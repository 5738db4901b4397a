// Softmax of the logits of networks side by side, in their place. One invocation per row and network.
//
// A network has `columns` columns, of which the first `classes` count; the others are left alone.
import package::common::grid::workgroup_index;

struct Params {
    // Rows times networks.
    rows: u32,
    classes: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read_write> logits: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = workgroup_index(id, count) * 64u + local;
    if row >= params.rows {
        return;
    }
    let first = row * params.columns;
    let end = first + params.classes;
    var largest = logits[first];
    for (var at = first + 1u; at < end; at++) {
        largest = max(largest, logits[at]);
    }
    var sum = 0.0;
    for (var at = first; at < end; at++) {
        let term = exp(logits[at] - largest);
        logits[at] = term;
        sum += term;
    }
    for (var at = first; at < end; at++) {
        logits[at] /= sum;
    }
}
