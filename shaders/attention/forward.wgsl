// Causal attention, forward: out = sum of p * v over keys up to the query's position, with p = softmax(q * k *
// scale).
//
// Online softmax: running sums are relative to the largest score so far and are rescaled when a larger one appears.
// lse, the log-sum-exp of the scores, lets the backward pass recompute p.
import package::attention::layout::{params, qkv, part_at, row_at, QUADS};
import package::attention::rows::{place, row_of, load, scale, products, Rows, Each, ROWS};

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
    var q: Rows;
    load(&q, here, 0u);
    scale(&q);
    var mean: Rows;
    var sum: Each;
    var largest: Each;
    for (var key = 0u; key <= here.last; key++) {
        var p = products(&q, part_at(here.first + key, 1u, here.head));
        var shrink: Each;
        for (var r = 0u; r < ROWS; r++) {
            // Rows of an invocation share the loop over keys; keys past an earlier row's own position are masked out.
            let counts = key <= row_of(here, r);
            let known = select(largest[r], p[r], key == 0u);
            let peak = select(known, max(known, p[r]), counts);
            shrink[r] = select(1.0, exp(known - peak), counts);
            p[r] = select(0.0, exp(p[r] - peak), counts);
            sum[r] = fma(sum[r], shrink[r], p[r]);
            largest[r] = peak;
        }
        let v = part_at(here.first + key, 2u, here.head);
        for (var c = 0u; c < QUADS; c++) {
            let x = qkv[v + c];
            for (var r = 0u; r < ROWS; r++) {
                mean[r][c] = fma(vec4<f32>(p[r]), x, mean[r][c] * shrink[r]);
            }
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        let token = here.first + row_of(here, r);
        let at = row_at(token, here.head);
        for (var c = 0u; c < QUADS; c++) {
            out[at + c] = mean[r][c] / sum[r];
        }
        lse[token * params.heads + here.head] = largest[r] + log(sum[r]);
    }
}
