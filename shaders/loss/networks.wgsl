// Softmax cross-entropy of networks side by side in the columns of the logits: loss and hit of each network for each row, and the
// gradient of the logits. One invocation per row and network.
//
// A network has `columns` columns, of which the first `classes` count; the gradient of the others, which pad it to whole blocks, is
// 0. Rows whose label is no class are padding: losses, hits and gradients are 0.
import package::common::grid::workgroup_index;
import package::common::step::now;

struct Params {
    rows: u32,
    // Networks in these logits; number of the first in the report, and networks of the report.
    networks: u32,
    begin: u32,
    all: u32,
    classes: u32,
    columns: u32,
    // 1 where rows are shared out: row r counts for network r % all alone.
    shared_out: u32,
    // Factor of the gradient besides the step's `row_scale`.
    scale: f32,
    // Factor of the cross-entropy to the mean of the other networks' probabilities.
    @if(distilled)
    weight: f32,
    // Index of the window's first row.
    @if(window)
    first: u32,
}

@group(0) @binding(0) var<storage, read> logits: array<f32>;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
// Per row and network: the loss; 1 if the largest logit (the first of equals) is the label's, else 0.
@group(0) @binding(2) var<storage, read_write> report: array<f32>;
@group(0) @binding(3) var<storage, read_write> grad: array<f32>;
// Probabilities of all networks, in the layout of the logits.
@if(distilled)
@group(0) @binding(4) var<storage, read> teachers: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Mean probability in a column by the networks other than `network`, for a row whose first probability is at `begin`.
@if(distilled)
fn taught(begin: u32, network: u32, column: u32) -> f32 {
    var sum = 0.0;
    for (var other = 0u; other < params.networks; other++) {
        if other != network {
            sum += teachers[begin + other * params.columns + column];
        }
    }
    return sum / f32(params.networks - 1u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    if i >= params.rows * params.networks {
        return;
    }
    let row = i / params.networks;
    let network = i % params.networks;
    var place = row;
    @if(window) {
        place += params.first;
    }
    let number = params.begin + network;
    let label = labels[place];
    let first = i * params.columns;
    let end = first + params.classes;
    let reported = 2u * (place * params.all + number);

    let is_own = params.shared_out == 0u || place % params.all == number;
    if label >= params.classes || !is_own {
        report[reported] = 0.0;
        report[reported + 1u] = 0.0;
        for (var at = first; at < first + params.columns; at++) {
            grad[at] = 0.0;
        }
        return;
    }

    var largest = logits[first];
    var winner = first;
    for (var at = first + 1u; at < end; at++) {
        if logits[at] > largest {
            largest = logits[at];
            winner = at;
        }
    }
    var sum = 0.0;
    for (var at = first; at < end; at++) {
        sum += exp(logits[at] - largest);
    }
    let scale = now.row_scale * params.scale;
    for (var at = first; at < end; at++) {
        let probability = exp(logits[at] - largest) / sum;
        var slope = probability - select(0.0, 1.0, at == first + label);
        @if(distilled) {
            let wanted = taught(row * params.networks * params.columns, network, at - first);
            slope = fma(params.weight, probability - wanted, slope);
        }
        grad[at] = scale * slope;
    }
    for (var at = end; at < first + params.columns; at++) {
        grad[at] = 0.0;
    }
    report[reported] = log(sum) + largest - logits[first + label];
    report[reported + 1u] = select(0.0, 1.0, winner == first + label);
}
