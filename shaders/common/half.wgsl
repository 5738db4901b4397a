// What results are stored as, and how f32 becomes f16.
//
// WGSL leaves to the driver which way a conversion rounds, and what becomes of numbers that f16 is too small for. So they
// are rounded here, to the nearest f16 or, halfway, to the even one; what the driver then converts is an f16 already. From
// 65,520 on that is an infinity, which a scan for what is not finite must see. Whether what is below 2^-14 is kept or
// flushed to 0 is still up to the driver.

@if(half_out) alias Out = f16;
@if(!half_out) alias Out = f32;
@if(half_out) alias Out4 = vec4<f16>;
@if(!half_out) alias Out4 = vec4<f32>;

@if(half_out)
fn stored(x: f32) -> Out {
    return f16(nearest4(vec4<f32>(x)).x);
}
@if(!half_out)
fn stored(x: f32) -> Out {
    return x;
}

@if(half_out)
fn stored4_of(x: vec4<f32>) -> Out4 {
    return vec4<f16>(nearest4(x));
}
@if(!half_out)
fn stored4_of(x: vec4<f32>) -> Out4 {
    return x;
}

const SIGN = 0x80000000u;
const INFINITY = 0x7F800000u;
// The first number of f32 that rounds to more than f16 has, once it is rounded; and the least of f16 that is normal.
const TOO_LARGE = 0x47800000u;
const NORMAL = 0x38800000u;
// Below it, f16 has multiples of 2^-24.
const STEP = 1.0 / 16777216.0;

@if(half_out)
fn nearest4(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4<u32>(~SIGN);
    // Thirteen bits of the mantissa go.
    let rounded = (magnitude + vec4<u32>(0xFFFu) + ((magnitude >> vec4<u32>(13u)) & vec4<u32>(1u))) & vec4<u32>(~0x1FFFu);
    // The last place of a sum with a half is such a multiple.
    let steps = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude) + 0.5) - vec4<u32>(0x3F000000u);
    return finished4(bits, magnitude, rounded, vec4<f32>(steps) * STEP);
}

// What was rounded as a normal number and as one that is not, put together, with what rounding must leave alone.
@if(half_out)
fn finished4(bits: vec4<u32>, magnitude: vec4<u32>, normal: vec4<u32>, small: vec4<f32>) -> vec4<f32> {
    var result = select(normal, vec4<u32>(INFINITY), normal >= vec4<u32>(TOO_LARGE));
    result = select(result, bitcast<vec4<u32>>(small), magnitude < vec4<u32>(NORMAL));
    result = select(result, magnitude, magnitude > vec4<u32>(INFINITY));
    return bitcast<vec4<f32>>(result | (bits & vec4<u32>(SIGN)));
}
