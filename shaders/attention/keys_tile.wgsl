// Causal attention, gradients of keys and values, through workgroup memory: dk = scale * sum of p * (grad * v - delta) *
// q and dv = sum of p * grad over the queries from the key's own position on, with p = exp(q * k * scale - lse). The loop
// over queries descends from the last one, as in `keys`, whose bits these are.
import package::attention::layout::{params, part_at, QUADS};
import package::attention::tiles::{
    owned_rows, lane_of, products, add_weighted, Columns, Span, ACROSS, EACH, KEYS, LANES, SPAN, QUERY, KEY, VALUE, GRAD,
};

@group(0) @binding(1) var<storage, read> lse: array<f32>;
@group(0) @binding(3) var<storage, read> delta: array<f32>;
@group(0) @binding(4) var<storage, read_write> dqkv: array<vec4<f32>>;

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
    let lane = lane_of(index);
    let row = own.start + 4u * lane.i;
    let rows = vec4<u32>(row, row + 1u, row + 2u, row + 3u);
    var dk: Columns;
    var dv: Columns;
    // Queries `left - 1` and below are still to come.
    for (var left = params.context; left > own.start; left -= min(left, KEYS)) {
        let queries = Span(own.first, own.head, left - 1u, true);
        var p = products(own, KEY, params.scale, queries, QUERY, lane);
        for (var s = 0u; s < EACH; s++) {
            let r = lane.j + ACROSS * s;
            let query = left - 1u - min(r, left - 1u);
            let counts = vec4<bool>(r < left) & (vec4<u32>(query) >= rows);
            let norm = lse[(own.first + query) * params.heads + own.head];
            p[s] = select(vec4<f32>(), exp(p[s] - norm), counts);
        }
        add_weighted(&dv, p, queries, GRAD, lane);
        var slope = products(own, VALUE, 1.0, queries, GRAD, lane);
        for (var s = 0u; s < EACH; s++) {
            let query = left - 1u - min(lane.j + ACROSS * s, left - 1u);
            let level = delta[(own.first + query) * params.heads + own.head];
            slope[s] = p[s] * (slope[s] - level);
        }
        add_weighted(&dk, slope, queries, QUERY, lane);
    }

    for (var i = 0u; i < 4u; i++) {
        if rows[i] < params.context {
            let token = own.first + rows[i];
            for (var c = 0u; c < SPAN; c++) {
                let column = lane.j + ACROSS * c;
                if column < QUADS {
                    dqkv[part_at(token, KEY, own.head) + column] = dk[i][c] * params.scale;
                    dqkv[part_at(token, VALUE, own.head) + column] = dv[i][c];
                }
            }
        }
    }
}
