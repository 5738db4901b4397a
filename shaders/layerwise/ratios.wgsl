// Second pass of the norms: sums over the chunks of each parameter, and its trust ratio
//
//   trust * |w| / (|x| + decay * |w|)
//
// where x is the gradient (LARS), or the direction of Adam with its weight decay (LAMB, trust 1 and decay 0). The ratio is 1 where a
// norm is 0, and for parameters without weight decay.
import package::common::grid::workgroup_index;
import package::common::parameters::{table, sum_pairs};

struct Params {
    rows: u32,
    trust: f32,
    decay: f32,
}

// `table` has rows [first chunk, chunk behind the last, 1 where weight decay applies, 0], one for each parameter.
@group(0) @binding(4) var<storage, read> partials: array<vec2<f32>>;
@group(0) @binding(5) var<storage, read_write> ratios: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let parameter = workgroup_index(id, count);
    if parameter >= params.rows {
        return;
    }
    let row = table[parameter];
    var squares = vec2<f32>();
    for (var chunk = row.x + local; chunk < row.y; chunk += 64u) {
        squares += partials[chunk];
    }
    let norms = sqrt(sum_pairs(local, squares));
    if local == 0u {
        let is_scaled = row.z != 0u && norms.x > 0.0 && norms.y > 0.0;
        ratios[parameter] = select(1.0, params.trust * norms.x / (norms.y + params.decay * norms.x), is_scaled);
    }
}
