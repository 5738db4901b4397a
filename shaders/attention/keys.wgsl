// Causal attention, gradients of keys and values: dk = scale * sum of p * (grad * v - delta) * q and dv = sum of p *
// grad over the queries from the key's own position on, with p = exp(q * k * scale - lse).
//
// The loop over queries descends from the last one: all invocations start at the same query, which keeps loads
// uniform, and each stops at its own position.
import package::attention::layout::{params, qkv, part_at, row_at, add_dot, QUADS};
import package::attention::rows::{place, row_of, load, scale, products, add, Rows, Each, ROWS};

@group(0) @binding(1) var<storage, read> lse: array<f32>;
@group(0) @binding(2) var<storage, read> grad: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<vec4<f32>>;

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
    var k: Rows;
    load(&k, here, 1u);
    scale(&k);
    var v: Rows;
    load(&v, here, 2u);
    var dk: Rows;
    var dv: Rows;
    for (var left = params.context; left > here.row; left--) {
        let token = here.first + left - 1u;
        let q = part_at(token, 0u, here.head);
        let number = token * params.heads + here.head;
        var p = products(&k, q);
        for (var r = 0u; r < ROWS; r++) {
            // Rows of an invocation share the loop over queries; queries before a later row's own position are masked
            // out.
            p[r] = select(0.0, exp(p[r] - lse[number]), left > row_of(here, r));
        }
        let at = row_at(token, here.head);
        var along: Each;
        for (var c = 0u; c < QUADS; c++) {
            let g = grad[at + c];
            for (var r = 0u; r < ROWS; r++) {
                along[r] = add_dot(v[r][c], g, along[r]);
                dv[r][c] = fma(vec4<f32>(p[r]), g, dv[r][c]);
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            p[r] *= along[r] - delta[number];
        }
        add(&dk, &p, q);
    }
    scale(&dk);
    for (var r = 0u; r < ROWS; r++) {
        let token = here.first + row_of(here, r);
        let k_at = part_at(token, 1u, here.head);
        let v_at = part_at(token, 2u, here.head);
        for (var c = 0u; c < QUADS; c++) {
            dqkv[k_at + c] = dk[r][c];
            dqkv[v_at + c] = dv[r][c];
        }
    }
}
