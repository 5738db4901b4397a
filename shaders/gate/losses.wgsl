// The losses that keep a gate balanced, and the slope of their sum at each statistic of an expert. One expert an invocation;
// each goes over all of them for what they have in common.
import package::common::grid::workgroup_index;

struct Params {
    experts: u32,
    aux: f32,
    importance: f32,
    load: f32,
    z: f32,
}

// As shaders/gate/statistics.wgsl has them, summed over all tokens.
@group(0) @binding(0) var<storage, read> statistics: array<f32>;
// The columns of tokens, likewise: the second is the sum of squares, the third the number of those that count.
@group(0) @binding(1) var<storage, read> sums: array<f32>;
// Auxiliary, importance, load, z, and the sum of all four by their coefficients.
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;
@group(0) @binding(3) var<storage, read_write> counts: array<u32>;
// By a token's share of probability, its weight for the expert, its load, and half the square of its logarithm of sums.
@group(0) @binding(4) var<storage, read_write> slopes: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// The square of the coefficient of variation of one row of statistics, and its slope at one number of the row.
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
    // One expert alone does not vary.
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
    // Without a token that counts, everything is 0.
    let tokens = max(sums[2], 1.0);
    // Of first choices there are as many as tokens; where every choice stands for one, there may be more or fewer.
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
