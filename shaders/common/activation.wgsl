// Activation functions and their derivatives; a conditional selects one.
//
// Sigmoid is the only transcendental: tanh-GELU is `x * sigmoid(2u)`, because `(1 + tanh u) / 2 = sigmoid(2u)`. Its
// exponent is clamped below overflow, because drivers may compile under the assumption that no value is infinite.

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x, 80.0)));
}

const GELU_1: f32 = 1.5957691216057308; // 2 sqrt(2 / pi)
const GELU_3: f32 = 0.07135481282805884; // GELU_1 * 0.044715

// ReLU. NaN and infinity pass through, for the scan of non-finite values to find. Bits are tested because a driver
// may compile max(NaN, 0) to 0.
@if(relu)
fn activate(x: f32, slope: f32) -> f32 {
    const EXPONENT = 0x7F800000u;
    return select(max(x, 0.0), x, (bitcast<u32>(x) & EXPONENT) == EXPONENT);
}
@if(relu)
fn derivative(x: f32, slope: f32) -> f32 {
    return select(0.0, 1.0, x > 0.0);
}

@if(all_relu)
fn activate(x: f32, slope: f32) -> f32 {
    return select(slope * x, x, x > 0.0);
}
@if(all_relu)
fn derivative(x: f32, slope: f32) -> f32 {
    return select(slope, 1.0, x > 0.0);
}

@if(silu)
fn activate(x: f32, slope: f32) -> f32 {
    return x * sigmoid(x);
}
@if(silu)
fn derivative(x: f32, slope: f32) -> f32 {
    let s = sigmoid(x);
    return s + x * s * (1.0 - s);
}

@if(gelu)
fn activate(x: f32, slope: f32) -> f32 {
    return x * sigmoid(x * (GELU_1 + GELU_3 * x * x));
}
@if(gelu)
fn derivative(x: f32, slope: f32) -> f32 {
    let s = sigmoid(x * (GELU_1 + GELU_3 * x * x));
    return s + x * s * (1.0 - s) * (GELU_1 + 3.0 * GELU_3 * x * x);
}

@if(!relu && !all_relu && !silu && !gelu)
fn activate(x: f32, slope: f32) -> f32 {
    return x;
}
@if(!relu && !all_relu && !silu && !gelu)
fn derivative(x: f32, slope: f32) -> f32 {
    return 1.0;
}
