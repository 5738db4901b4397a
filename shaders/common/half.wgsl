// Storage type of results, and the conversion of f32 to f16.
//
// WGSL leaves the rounding of f32 to f16 conversions to the driver, and the treatment of f16 subnormals. These
// functions round in f32 first, to nearest with ties to even, so that the driver's conversion is exact. Values from
// 65,520 on become infinity, for the scan of non-finite values to find. Whether magnitudes below 2^-14 are kept or
// flushed to 0 remains up to the driver.

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
// Bits of 65,536, the first magnitude that overflows after rounding, and of 2^-14, the smallest normal f16.
const TOO_LARGE = 0x47800000u;
const NORMAL = 0x38800000u;
// Spacing of f16 below its smallest normal number: 2^-24.
const STEP = 1.0 / 16777216.0;

@if(half_out)
fn nearest4(x: vec4<f32>) -> vec4<f32> {
    let bits = bitcast<vec4<u32>>(x);
    let magnitude = bits & vec4<u32>(~SIGN);
    // Round to nearest even at the 13 mantissa bits that f16 lacks.
    let rounded = (magnitude + vec4<u32>(0xFFFu) + ((magnitude >> vec4<u32>(13u)) & vec4<u32>(1u))) & vec4<u32>(~0x1FFFu);
    // Adding 0.5 aligns the last mantissa bit to 2^-24 and rounds there: the count of subnormal steps.
    let steps = bitcast<vec4<u32>>(bitcast<vec4<f32>>(magnitude) + 0.5) - vec4<u32>(0x3F000000u);
    return finished4(bits, magnitude, rounded, vec4<f32>(steps) * STEP);
}

// Combines the normal and the subnormal result; restores overflow to infinity, NaN, infinities and the sign.
@if(half_out)
fn finished4(bits: vec4<u32>, magnitude: vec4<u32>, normal: vec4<u32>, small: vec4<f32>) -> vec4<f32> {
    var result = select(normal, vec4<u32>(INFINITY), normal >= vec4<u32>(TOO_LARGE));
    result = select(result, bitcast<vec4<u32>>(small), magnitude < vec4<u32>(NORMAL));
    result = select(result, magnitude, magnitude > vec4<u32>(INFINITY));
    return bitcast<vec4<f32>>(result | (bits & vec4<u32>(SIGN)));
}
