// Bias corrections of Adam's moments, where the device counts the updates.

// -expm1(x) = 1 - exp(x) for x <= 0. A series near 0, where the difference would cancel.
fn neg_expm1(x: f32) -> f32 {
    let series = -x * (1.0 + x * (1.0 / 2.0) * (1.0 + x * (1.0 / 3.0) * (1.0 + x * 0.25 * (1.0 + x * 0.2))));
    return select(1.0 - exp(max(x, -80.0)), series, x > -0.1);
}

// Bias corrections 1 / (1 - beta^age) of both moments after `age` updates, from the logarithms of the decays.
fn corrected(ln_betas: vec2<f32>, age: f32) -> vec2<f32> {
    return 1.0 / vec2<f32>(neg_expm1(ln_betas.x * age), neg_expm1(ln_betas.y * age));
}
