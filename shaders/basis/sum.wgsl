// Coordinates of a gradient in a random base: sums of the rows of `basis/dot`, in ascending order, scaled to directions of norm 1; and
// the step along each direction. One invocation per layer and direction.
//
// Sums and products are rounded one by one, so that the bits are those of the CPU: no product is added to anything.
import package::common::grid::workgroup_index;
import package::common::step::now;
@if(scaled)
import package::common::loss_scale::LossScale;

// Rows of the dot products of a layer.
struct Layer {
    first: u32,
    end: u32,
    // Bits of two numbers: 1 / sqrt(elements), the size of an entry; and the size of an entry times the layer's share of the step.
    entry: u32,
    reach: u32,
}

struct Params {
    layers: u32,
    // Directions, and the same rounded up to groups of eight.
    directions: u32,
    columns: u32,
}

@group(0) @binding(0) var<storage, read> partials: array<f32>;
// Coordinates of all layers, and behind them the steps.
@group(0) @binding(1) var<storage, read_write> coordinates: array<f32>;
@group(0) @binding(5) var<storage, read> layers: array<Layer>;
@if(scaled) @group(0) @binding(6) var<storage, read> loss_scale: LossScale;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let i = workgroup_index(id, count) * 64u + local;
    let all = params.layers * params.columns;
    if i >= all {
        return;
    }
    let layer = layers[i / params.columns];
    let direction = i % params.columns;
    var sum = 0.0;
    for (var row = layer.first; row < layer.end; row++) {
        sum += partials[row * params.columns + direction];
    }
    var counts = direction < params.directions;
    @if(scaled) {
        // A power of two: the product is exact.
        sum *= loss_scale.factor;
        counts = counts && loss_scale.factor != 0.0;
    }
    // Columns behind the last direction move nothing, and neither does a step that is skipped.
    let coordinate = select(0.0, sum * bitcast<f32>(layer.entry), counts);
    coordinates[i] = coordinate;
    coordinates[all + i] = coordinate * (now.learning_rate * bitcast<f32>(layer.reach));
}
