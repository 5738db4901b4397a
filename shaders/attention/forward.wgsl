// Causal attention of one query an invocation: out = sum of p * v over the keys up to the query's own, where p is the
// softmax of q * k * scale.
//
// The softmax is taken on the way, four keys at a time: sums are of exponentials less the largest score so far, and are
// scaled down where a larger one comes. lse, the logarithm of the sum of all exponentials, is what the backward pass
// needs to have p again.
import package::attention::rows::{params, place, part_at, row_at, load, scaled, product, add, Row, QUADS};

@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;

@compute @workgroup_size(32)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let here = place(id, count, lane);
    if here.row >= params.context {
        return;
    }
    var q = scaled(load(part_at(here.first + here.row, 0u, here.head)));
    var mean: Row;
    var sum = 0.0;
    var largest = 0.0;
    let last = params.context - 1u;
    for (var key = 0u; key <= here.row; key += 4u) {
        // Keys past the end repeat the last; nobody counts them.
        let tokens = here.first + min(vec4<u32>(key, key + 1u, key + 2u, key + 3u), vec4<u32>(last));
        let scores = vec4<f32>(
            product(&q, part_at(tokens.x, 1u, here.head)),
            product(&q, part_at(tokens.y, 1u, here.head)),
            product(&q, part_at(tokens.z, 1u, here.head)),
            product(&q, part_at(tokens.w, 1u, here.head)),
        );
        // The first of the four is never later than the query.
        let past = vec4<u32>(key, key + 1u, key + 2u, key + 3u) <= vec4<u32>(here.row);
        let seen = select(vec4<f32>(scores.x), scores, past);
        let top = max(max(seen.x, seen.y), max(seen.z, seen.w));
        let peak = select(max(largest, top), top, key == 0u);
        let shrink = select(exp(largest - peak), 0.0, key == 0u);
        let p = select(vec4<f32>(), exp(seen - peak), past);
        sum = fma(sum, shrink, (p.x + p.y) + (p.z + p.w));
        for (var c = 0u; c < QUADS; c++) {
            mean[c] *= shrink;
        }
        add(&mean, p.x, part_at(tokens.x, 2u, here.head));
        add(&mean, p.y, part_at(tokens.y, 2u, here.head));
        add(&mean, p.z, part_at(tokens.z, 2u, here.head));
        add(&mean, p.w, part_at(tokens.w, 2u, here.head));
        largest = peak;
    }
    let token = here.first + here.row;
    let at = row_at(token, here.head);
    for (var c = 0u; c < QUADS; c++) {
        out[at + c] = mean[c] / sum;
    }
    lse[token * params.heads + here.head] = largest + log(sum);
}
