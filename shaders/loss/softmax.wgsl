// Softmax cross-entropy: loss and accuracy per row, and the gradient of the logits. One invocation per row.
//
// The largest logit is subtracted against overflow. Rows whose label is no class are padding: loss, hit and gradient
// are 0.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    rows: u32,
    classes: u32,
    // Index of the window's first row.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
// Per row: the loss; 1 if the largest logit (the first of equals) is the label's, else 0.
@group(0) @binding(2) var<storage, read_write> report: array<f32>;
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
    var place = row;
    @if(window) {
        place += params.first;
    }
    let label = labels[place];
    let first = row * params.classes;
    let end = first + params.classes;

    if label >= params.classes {
        report[2u * place] = 0.0;
        report[2u * place + 1u] = 0.0;
        for (var i = first; i < end; i++) {
            grad[i] = 0.0;
        }
        return;
    }

    var largest = logits[first];
    var winner = first;
    for (var i = first + 1u; i < end; i++) {
        if logits[i] > largest {
            largest = logits[i];
            winner = i;
        }
    }
    var sum = 0.0;
    for (var i = first; i < end; i++) {
        sum += exp(logits[i] - largest);
    }
    for (var i = first; i < end; i++) {
        let probability = exp(logits[i] - largest) / sum;
        grad[i] = now.row_scale * (probability - select(0.0, 1.0, i == first + label));
    }
    report[2u * place] = log(sum) + largest - logits[first + label];
    report[2u * place + 1u] = select(0.0, 1.0, winner == first + label);
}
