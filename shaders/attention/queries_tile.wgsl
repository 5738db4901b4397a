// Causal attention, gradient of the queries, through workgroup memory: dq = scale * sum of p * (grad * v - delta) * k over
// keys up to the query's position, with p = exp(q * k * scale - lse). Also stores delta = grad * out. The bits are those
// of `queries`.
import package::attention::layout::{params, part_at, row_at, add_dot, QUADS};
import package::attention::tiles::{
    grad, owned_rows, lane_of, products, add_weighted, Columns, Span, ACROSS, EACH, KEYS, LANES, OWNED, SPAN, QUERY, KEY,
    VALUE, GRAD,
};

@group(0) @binding(1) var<storage, read> out: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> delta: array<f32>;
@group(0) @binding(5) var<storage, read_write> dqkv: array<vec4<f32>>;

// delta of each owned row.
var<workgroup> levels: array<f32, OWNED>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let own = owned_rows(id, count);
    if own.start >= params.context {
        return;
    }
    let end = min(own.start + OWNED, params.context);
    if own.start + index < end && index < OWNED {
        let token = own.first + own.start + index;
        var along = 0.0;
        for (var c = 0u; c < QUADS; c++) {
            let at = row_at(token, own.head) + c;
            along = add_dot(grad[at], out[at], along);
        }
        levels[index] = along;
        delta[token * params.heads + own.head] = along;
    }
    workgroupBarrier();

    let lane = lane_of(index);
    let row = own.start + 4u * lane.i;
    let rows = vec4<u32>(row, row + 1u, row + 2u, row + 3u);
    var level: vec4<f32>;
    var norm: vec4<f32>;
    for (var i = 0u; i < 4u; i++) {
        level[i] = levels[4u * lane.i + i];
        norm[i] = lse[(own.first + min(rows[i], end - 1u)) * params.heads + own.head];
    }
    var dq: Columns;
    for (var begin = 0u; begin < end; begin += KEYS) {
        let keys = Span(own.first, own.head, begin, false);
        let scores = products(own, QUERY, params.scale, keys, KEY, lane);
        var slope = products(own, GRAD, 1.0, keys, VALUE, lane);
        for (var s = 0u; s < EACH; s++) {
            let counts = vec4<u32>(begin + lane.j + ACROSS * s) <= rows;
            let p = select(vec4<f32>(), exp(scores[s] - norm), counts);
            slope[s] = select(vec4<f32>(), p * (slope[s] - level), counts);
        }
        add_weighted(&dq, slope, keys, KEY, lane);
    }

    for (var i = 0u; i < 4u; i++) {
        if rows[i] < params.context {
            let at = part_at(own.first + rows[i], QUERY, own.head);
            for (var c = 0u; c < SPAN; c++) {
                if lane.j + ACROSS * c < QUADS {
                    dqkv[at + lane.j + ACROSS * c] = dq[i][c] * params.scale;
                }
            }
        }
    }
}
