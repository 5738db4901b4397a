// The gradients of one key and its value an invocation: dk = scale * sum of p * (grad * v - delta) * q and
// dv = sum of p * grad over the queries from its own on, where p = exp(q * k * scale - lse).
//
// Queries are walked from the last one back: so all invocations begin with the same, and each stops at its own.
import package::attention::rows::{params, place, part_at, row_at, load, scaled, total, product, add, Row, QUADS};

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
    let token = here.first + here.row;
    var k = scaled(load(part_at(token, 1u, here.head)));
    var v = load(part_at(token, 2u, here.head));
    var dk: Row;
    var dv: Row;
    for (var left = params.context; left > here.row; left--) {
        let query = here.first + left - 1u;
        let q = part_at(query, 0u, here.head);
        let g = row_at(query, here.head);
        let number = query * params.heads + here.head;
        let p = exp(product(&k, q) - lse[number]);
        var along = vec4<f32>();
        for (var c = 0u; c < QUADS; c++) {
            along = fma(v[c], grad[g + c], along);
            dv[c] = fma(vec4<f32>(p), grad[g + c], dv[c]);
        }
        add(&dk, p * (total(along) - delta[number]), q);
    }
    dk = scaled(dk);
    let k_at = part_at(token, 1u, here.head);
    let v_at = part_at(token, 2u, here.head);
    for (var c = 0u; c < QUADS; c++) {
        dqkv[k_at + c] = dk[c];
        dqkv[v_at + c] = dv[c];
    }
}
