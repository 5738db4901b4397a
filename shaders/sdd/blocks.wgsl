// Slots of an SDD dispatch, and the stores of its variants.
@if(window || split)
import package::common::matmul::params;
import package::common::half::{Out4, stored4_of};
import package::common::topology::nnz;
import package::constants::BLOCK;

@group(0) @binding(2) var<storage, read_write> out: array<Out4>;
@if(mask) @group(0) @binding(5) var<storage, read> mask: array<u32>;

// Stores four consecutive elements of a block row; elements whose mask bit is 0 are stored as 0.
fn store_block4(slot: u32, row: u32, column: u32, sum: vec4<f32>) {
    let at = (slot * BLOCK + row) * BLOCK + column;
    @if(!mask) {
        out[at / 4u] = stored4_of(sum);
    }
    @if(mask) {
        let bits = (vec4<u32>(mask[at / 32u] >> (at % 32u)) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u);
        out[at / 4u] = stored4_of(select(vec4<f32>(), sum, bits == vec4<u32>(1u)));
    }
}

// Number of bound slots. Slot 0 of the dispatch is the first bound one.
fn slots() -> u32 {
    @if(window) {
        return min(params.slots, nnz() - min(nnz(), params.first_slot));
    }
    @if(!window) {
        return nnz();
    }
}

// Slot of the output of a slot of the dispatch: partial sums of each segment follow one another.
fn in_output(slot: u32, segment: u32) -> u32 {
    @if(split) {
        return segment * params.slots + slot;
    }
    @if(!split) {
        return slot;
    }
}

// Slot in the topology of a slot of the dispatch.
fn in_topology(slot: u32) -> u32 {
    @if(window) {
        return params.first_slot + slot;
    }
    @if(!window) {
        return slot;
    }
}

// Partial sums of four elements from an earlier window of the contraction.
@if(continued)
fn stored_block4(slot: u32, row: u32, column: u32) -> vec4<f32> {
    return vec4<f32>(out[((slot * BLOCK + row) * BLOCK + column) / 4u]);
}
