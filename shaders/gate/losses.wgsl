// Balance losses of a gate and the slopes of their weighted sum with respect to each expert's statistics. One
// invocation per expert; each recomputes the sums over all experts.
import package::common::grid::workgroup_index;

struct Params {
    experts: u32,
    aux: f32,
    importance: f32,
    load: f32,
    z: f32,
}

// Five rows of expert statistics, summed over all tokens: see gate/statistics.wgsl.
@group(0) @binding(0) var<storage, read> statistics: array<f32>;
// Sums of the per-token columns: [1] is the sum of squared log-sum-exps, [2] the number of tokens that count.
@group(0) @binding(1) var<storage, read> sums: array<f32>;
// Auxiliary, importance, load and z loss, and their sum weighted by the coefficients.
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
// Slopes with respect to a token's probability share, weight, load, and half its squared log-sum-exp: one row of
// experts each.
@group(0) @binding(4) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Squared coefficient of variation of one row of statistics, and its slope with respect to one entry.
struct Variation {
    value: f32,
    slope: f32,
}

fn variation(row: u32, expert: u32) -> Variation {
    let n = f32(params.experts);
    let first = row * params.experts;
    var sum = 0.0;
    for (var e = 0u; e < params.experts; e++) {
        sum += statistics[first + e];
    }
    let mean = sum / n;
    var squares = 0.0;
    for (var e = 0u; e < params.experts; e++) {
        let off = statistics[first + e] - mean;
        squares += off * off;
    }
    // With a single expert the variance is 0, not 0 / 0.
    let freedom = max(n - 1.0, 1.0);
    let variance = squares / freedom;
    let scale = mean * mean + 1e-10;
    let off = statistics[first + expert] - mean;
    return Variation(variance / scale, 2.0 / scale * (off / freedom - variance / scale * mean / n));
}

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
    let n = params.experts;
    // Guards the divisions where no token counts; all results are then 0.
    let tokens = max(sums[2], 1.0);
    // First assignments: one per token, or, where experts choose, every assignment.
    var firsts = 0.0;
    var together = 0.0;
    for (var e = 0u; e < n; e++) {
        firsts += statistics[n + e];
        together += statistics[e] * statistics[n + e];
    }
    firsts = max(firsts, 1.0);
    let importance = variation(2u, expert);
    let load = variation(3u, expert);
    slopes[expert] = params.aux * f32(n) * statistics[n + expert] / firsts / tokens;
    slopes[n + expert] = params.importance * importance.slope;
    slopes[2u * n + expert] = params.load * load.slope;
    slopes[3u * n + expert] = params.z * 2.0 / tokens;
    counts[expert] = u32(statistics[4u * n + expert]);
    if expert == 0u {
        let aux = f32(n) * together / firsts / tokens;
        let z = sums[1] / tokens;
        losses[0] = aux;
        losses[1] = importance.value;
        losses[2] = load.value;
        losses[3] = z;
        losses[4] = params.aux * aux + params.importance * importance.value + params.load * load.value + params.z * z;
    }
}
