// Parameters one behind the other, in chunks of a workgroup each: the parts of a reduction per parameter.

// Rows [first cell, cell behind the last, first chunk, 2 * index + 1 where weight decay applies], in ascending order.
@group(0) @binding(10) var<storage, read> table: array<vec4<u32>>;

// Cells of each invocation of a chunk.
const EACH = 16u;
const CHUNK = 64u * EACH;

// Row of the parameter of a chunk: the last whose first chunk is not behind it.
fn row_of(chunk: u32, rows: u32) -> u32 {
    var low = 0u;
    var high = rows;
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if table[middle].z <= chunk {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

var<workgroup> pairs: array<vec2<f32>, 64>;

// Sum of a pair of numbers over the 64 invocations of a workgroup, in a tree; every invocation must call it.
fn sum_pairs(local: u32, mine: vec2<f32>) -> vec2<f32> {
    pairs[local] = mine;
    workgroupBarrier();
    for (var width = 32u; width > 0u; width /= 2u) {
        if local < width {
            pairs[local] += pairs[local + width];
        }
        workgroupBarrier();
    }
    return pairs[0];
}
