// Dense matmul, tile variant: square workgroup tiles through workgroup memory, micro-tiles of 8 x 4, or 8 x 8.
import package::common::grid::workgroup_index;
import package::common::matmul::{params, segment_of, within_segment, Tile, HALVES};
import package::common::panel::{add_product, SIDE, ACROSS, INVOCATIONS};
import package::common::epilogue::{store4, bias4};
@if(split)
import package::common::epilogue::partial_row;
@if(continued)
import package::common::epilogue::stored4;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let across = (params.n + SIDE - 1u) / SIDE;
    let all = workgroup_index(id, count);
    let segment = segment_of(all);
    let index = within_segment(all);
    let i = index / across * SIDE;
    let j = index % across * SIDE;
    if i >= params.m {
        return;
    }
    @if(split) {
        partial_row = segment.number * params.m;
    }
    let quad = local % ACROSS;
    let octet = local / ACROSS;

    var tile: Tile;
    @if(continued) {
        for (var row = 0u; row < 8u * HALVES; row++) {
            tile[row] = stored4(i + 8u * octet + row % 8u, j + 4u * (quad + row / 8u * ACROSS));
        }
    }
    add_product(&tile, i, j, segment, local);

    for (var half = 0u; half < HALVES; half++) {
        let column = j + 4u * (quad + half * ACROSS);
        let shift = bias4(column);
        for (var row = 0u; row < 8u; row++) {
            store4(i + 8u * octet + row, column, tile[8u * half + row], shift);
        }
    }
}
