// The gradient of one query an invocation: dq = scale * sum of p * (grad * v - delta) * k over the keys up to its own,
// where p = exp(q * k * scale - lse). delta = grad * out, which the gradients of the keys need too, is stored.
import package::attention::rows::{params, place, part_at, row_at, load, scaled, total, product, add, Row, QUADS};

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
    let token = here.first + here.row;
    let own = row_at(token, here.head);
    var q = scaled(load(part_at(token, 0u, here.head)));
    var g: Row;
    var along = vec4<f32>();
    for (var c = 0u; c < QUADS; c++) {
        g[c] = grad[own + c];
        along = fma(g[c], out[own + c], along);
    }
    let level = total(along);
    let norm = lse[token * params.heads + here.head];
    var dq: Row;
    for (var key = 0u; key <= here.row; key++) {
        let k = part_at(here.first + key, 1u, here.head);
        let v = part_at(here.first + key, 2u, here.head);
        let p = exp(product(&q, k) - norm);
        add(&dq, p * (product(&g, v) - level), k);
    }
    dq = scaled(dq);
    let at = part_at(token, 0u, here.head);
    for (var c = 0u; c < QUADS; c++) {
        dqkv[at + c] = dq[c];
    }
    delta[token * params.heads + here.head] = level;
}
