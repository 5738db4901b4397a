// What gradients are multiplied by on the way back, so that f16 does not lose the small ones. The device alone changes it.
struct LossScale {
    // A power of two, so that scaling rounds nothing.
    scale: f32,
    // 1 / the scale of this step's gradients; 0 where one of them is not finite, and the step is skipped.
    factor: f32,
    // Steps in which the optimizer moved weights.
    taken: u32,
    // Those among them since the scale last changed.
    calm: u32,
    skipped: u32,
    // Whether a gradient of this step is not finite.
    found: u32,
}
