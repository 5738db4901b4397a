// Linked list of the tokens of each id, ascending, per chunk of CHUNK tokens: heads[chunk, row] is the first token
// with ids[t] == row, next[t] the following one, both relative to the chunk's start; END terminates a list.
//
// One invocation per row and chunk walks the chunk backwards and links the tokens of its row.
import package::common::grid::workgroup_index;

struct Params {
    tokens: u32,
    vocabulary: u32,
}

@group(0) @binding(0) var<storage, read> ids: array<u32>;
@group(0) @binding(1) var<storage, read_write> heads: array<u32>;
@group(0) @binding(2) var<storage, read_write> next: array<u32>;
@group(0) @binding(7) var<uniform> params: Params;

const CHUNK = 1024u;
const END = 0xFFFFFFFFu;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = workgroup_index(id, count);
    // All rows of a workgroup are of one chunk, so that its invocations load the same token at a time.
    let strips = (params.vocabulary + 63u) / 64u;
    let row = index % strips * 64u + local;
    let chunk = index / strips;
    let begin = chunk * CHUNK;
    if begin >= params.tokens || row >= params.vocabulary {
        return;
    }
    var head = END;
    for (var left = min(CHUNK, params.tokens - begin); left > 0u; left--) {
        if ids[begin + left - 1u] == row {
            next[begin + left - 1u] = head;
            head = left - 1u;
        }
    }
    heads[chunk * params.vocabulary + row] = head;
}
