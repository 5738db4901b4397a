// Causal attention, forward, through workgroup memory: out = sum of p * v over keys up to the query's position, with p =
// softmax(q * k * scale). Online softmax as in `forward`, with running sums rescaled once per tile of KEYS keys.
import package::attention::layout::{params, row_at, QUADS};
import package::attention::tiles::{
    owned_rows, lane_of, products, add_weighted, Columns, Span, ACROSS, EACH, KEYS, LANES, SPAN, TALL, QUERY, KEY, VALUE,
};

@group(0) @binding(1) var<storage, read_write> out: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read_write> lse: array<f32>;

// Below every score that is finite.
const LOWEST = -3.4e38;

// Largest scores of each invocation's owned rows.
var<workgroup> peaks: array<vec4<f32>, ACROSS * TALL>;

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
    let end = min(own.start + 4u * TALL, params.context);
    var mean: Columns;
    var sum: vec4<f32>;
    var largest: vec4<f32>;
    for (var begin = 0u; begin < end; begin += KEYS) {
        let keys = Span(own.first, own.head, begin, false);
        var p = products(own, QUERY, params.scale, keys, KEY, lane);
        var peak = vec4<f32>(LOWEST);
        for (var s = 0u; s < EACH; s++) {
            let counts = vec4<u32>(begin + lane.j + ACROSS * s) <= rows;
            peak = select(peak, max(peak, p[s]), counts);
        }
        peaks[lane.j * TALL + lane.i] = peak;
        workgroupBarrier();
        for (var j = 0u; j < ACROSS; j++) {
            peak = max(peak, peaks[j * TALL + lane.i]);
        }
        let known = select(largest, peak, begin == 0u);
        largest = max(known, peak);
        let shrink = exp(known - largest);
        for (var i = 0u; i < 4u; i++) {
            for (var c = 0u; c < SPAN; c++) {
                mean[i][c] *= shrink[i];
            }
        }
        for (var s = 0u; s < EACH; s++) {
            let counts = vec4<u32>(begin + lane.j + ACROSS * s) <= rows;
            p[s] = select(vec4<f32>(), exp(p[s] - largest), counts);
        }
        sum = fma(sum, shrink, add_weighted(&mean, p, keys, VALUE, lane));
    }

    for (var i = 0u; i < 4u; i++) {
        if rows[i] < params.context {
            let token = own.first + rows[i];
            for (var c = 0u; c < SPAN; c++) {
                if lane.j + ACROSS * c < QUADS {
                    out[row_at(token, own.head) + lane.j + ACROSS * c] = mean[i][c] / sum[i];
                }
            }
            if lane.j == 0u {
                lse[token * params.heads + own.head] = largest[i] + log(sum[i]);
            }
        }
    }
}
