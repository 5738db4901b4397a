// Column sums of two to four matrices of at most CHUNK rows each, in one dispatch. Each sum has the order of `reduce/sum`.
import package::common::grid::workgroup_index;

struct Params {
    rows_0: u32,
    columns_0: u32,
    // The workgroup behind the last one of the matrix.
    end_0: u32,
    // 1 where the sums are added to a running total.
    add_0: u32,
    rows_1: u32,
    columns_1: u32,
    end_1: u32,
    add_1: u32,
    @if(third)
    rows_2: u32,
    @if(third)
    columns_2: u32,
    @if(third)
    end_2: u32,
    @if(third)
    add_2: u32,
    @if(fourth)
    rows_3: u32,
    @if(fourth)
    columns_3: u32,
    @if(fourth)
    end_3: u32,
    @if(fourth)
    add_3: u32,
}

@if(half) alias Stored = vec4<f16>;
@if(!half) alias Stored = vec4<f32>;
@if(mixed) alias First = vec4<f32>;
@if(!mixed) alias First = Stored;

@group(0) @binding(0) var<storage, read> x_0: array<First>;
@group(0) @binding(1) var<storage, read> x_1: array<Stored>;
@if(third) @group(0) @binding(2) var<storage, read> x_2: array<Stored>;
@if(fourth) @group(0) @binding(3) var<storage, read> x_3: array<Stored>;
@group(0) @binding(4) var<storage, read_write> out_0: array<f32>;
@group(0) @binding(8) var<storage, read_write> out_1: array<f32>;
@if(third) @group(0) @binding(9) var<storage, read_write> out_2: array<f32>;
@if(fourth) @group(0) @binding(10) var<storage, read_write> out_3: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;

// Columns of an invocation: four where four divides the columns, otherwise one.
fn across(columns: u32) -> u32 {
    return select(1u, 4u, columns % 4u == 0u);
}

fn sums_0(column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var row = 0u; row < params.rows_0; row++) {
        let i = row * params.columns_0 + column;
        let quad = vec4<f32>(x_0[i / 4u]);
        sum += select(vec4<f32>(quad[i % 4u]), quad, params.columns_0 % 4u == 0u);
    }
    return sum;
}

fn sums_1(column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var row = 0u; row < params.rows_1; row++) {
        let i = row * params.columns_1 + column;
        let quad = vec4<f32>(x_1[i / 4u]);
        sum += select(vec4<f32>(quad[i % 4u]), quad, params.columns_1 % 4u == 0u);
    }
    return sum;
}

@if(third)
fn sums_2(column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var row = 0u; row < params.rows_2; row++) {
        let i = row * params.columns_2 + column;
        let quad = vec4<f32>(x_2[i / 4u]);
        sum += select(vec4<f32>(quad[i % 4u]), quad, params.columns_2 % 4u == 0u);
    }
    return sum;
}

@if(fourth)
fn sums_3(column: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    for (var row = 0u; row < params.rows_3; row++) {
        let i = row * params.columns_3 + column;
        let quad = vec4<f32>(x_3[i / 4u]);
        sum += select(vec4<f32>(quad[i % 4u]), quad, params.columns_3 % 4u == 0u);
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) id: vec3<u32>,
    @builtin(num_workgroups) count: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = workgroup_index(id, count);
    if group < params.end_0 {
        let each = across(params.columns_0);
        let column = (group * 64u + local) * each;
        if column < params.columns_0 {
            let sum = sums_0(column);
            for (var c = 0u; c < each; c++) {
                out_0[column + c] = select(sum[c], out_0[column + c] + sum[c], params.add_0 != 0u);
            }
        }
        return;
    }
    if group < params.end_1 {
        let each = across(params.columns_1);
        let column = ((group - params.end_0) * 64u + local) * each;
        if column < params.columns_1 {
            let sum = sums_1(column);
            for (var c = 0u; c < each; c++) {
                out_1[column + c] = select(sum[c], out_1[column + c] + sum[c], params.add_1 != 0u);
            }
        }
        return;
    }
    @if(third) {
        if group < params.end_2 {
            let each = across(params.columns_2);
            let column = ((group - params.end_1) * 64u + local) * each;
            if column < params.columns_2 {
                let sum = sums_2(column);
                for (var c = 0u; c < each; c++) {
                    out_2[column + c] = select(sum[c], out_2[column + c] + sum[c], params.add_2 != 0u);
                }
            }
            return;
        }
    }
    @if(fourth) {
        if group < params.end_3 {
            let each = across(params.columns_3);
            let column = ((group - params.end_2) * 64u + local) * each;
            if column < params.columns_3 {
                let sum = sums_3(column);
                for (var c = 0u; c < each; c++) {
                    out_3[column + c] = select(sum[c], out_3[column + c] + sum[c], params.add_3 != 0u);
                }
            }
        }
    }
}
