// Causal attention, gradient of the queries: dq = scale * sum of p * (grad * v - delta) * k over keys up to the
// query's position, with p = exp(q * k * scale - lse). Also stores delta = grad * out, which the key gradients need.
import package::attention::layout::{params, part_at, row_at, add_dot, QUADS};
import package::attention::rows::{place, row_of, load, scale, products, add, Rows, Each, ROWS};

@group(0) @binding(1) var<storage, read> out: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<f32>>;

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
    var g: Rows;
    var norm: Each;
    var level: Each;
    for (var r = 0u; r < ROWS; r++) {
        let token = here.first + row_of(here, r);
        let at = row_at(token, here.head);
        for (var c = 0u; c < QUADS; c++) {
            g[r][c] = grad[at + c];
            level[r] = add_dot(g[r][c], out[at + c], level[r]);
        }
        norm[r] = lse[token * params.heads + here.head];
    }
    var dq: Rows;
    for (var key = 0u; key <= here.last; key++) {
        let k = part_at(here.first + key, 1u, here.head);
        var slope = products(&g, part_at(here.first + key, 2u, here.head));
        let scores = products(&q, k);
        for (var r = 0u; r < ROWS; r++) {
            // Rows of an invocation share the loop over keys; keys past an earlier row's own position are masked out.
            let p = select(0.0, exp(scores[r] - norm[r]), key <= row_of(here, r));
            slope[r] = p * (slope[r] - level[r]);
        }
        add(&dq, &slope, k);
    }
    scale(&dq);
    for (var r = 0u; r < ROWS; r++) {
        let token = here.first + row_of(here, r);
        let at = part_at(token, 0u, here.head);
        for (var c = 0u; c < QUADS; c++) {
            dqkv[at + c] = dq[r][c];
        }
        delta[token * params.heads + here.head] = level[r];
    }
}
