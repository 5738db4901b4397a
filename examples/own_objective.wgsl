// Focal loss of each row, -(1 - p)^gamma * ln(p) of the label's softmax probability p, and its gradient by the logits. One
// invocation per row. Rows whose label is no class are padding: loss, hit and gradient are 0.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    rows: u32,
    classes: u32,
    gamma: f32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read_write> report: array<vec2<f32>>;
@group(0) @binding(3) var<storage, read_write> grad: array<f32>;
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
    let begin = row * params.classes;
    let end = begin + params.classes;
    let counts = labels[row] < params.classes;
    let label = begin + select(0u, labels[row], counts);

    var largest = begin;
    for (var i = begin; i < end; i++) {
        largest = select(largest, i, logits[i] > logits[largest]);
    }
    var sum = 0.0;
    for (var i = begin; i < end; i++) {
        sum += exp(logits[i] - logits[largest]);
    }
    let ln_p = logits[label] - logits[largest] - log(sum);
    let p = exp(ln_p);
    // A power of 0 is not defined everywhere.
    let rest = max(1.0 - p, 1e-7);
    let loss = -pow(rest, params.gamma) * ln_p;
    // Derivative of the loss by ln(p).
    let slope = params.gamma * p * ln_p * pow(rest, params.gamma - 1.0) - pow(rest, params.gamma);

    let factor = select(0.0, now.row_scale * slope, counts);
    for (var i = begin; i < end; i++) {
        let share = exp(logits[i] - logits[largest]) / sum;
        grad[i] = factor * (select(0.0, 1.0, i == label) - share);
    }
    report[row] = select(vec2<f32>(0.0), vec2<f32>(loss, select(0.0, 1.0, label == largest)), counts);
}
