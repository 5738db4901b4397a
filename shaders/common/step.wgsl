// What changes from step to step. The host writes it before each step; nothing else in a plan changes.
struct Step {
    index: u32,
    learning_rate: f32,
    // 1 / the number of rows that count in this batch.
    row_scale: f32,
    // AdamW: 1 / (1 - beta^t) of the first and the second moment.
    correction_1: f32,
    correction_2: f32,
    // Steps in which the optimizer has moved weights once this one is over.
    moves: u32,
}

@group(0) @binding(8) var<uniform> now: Step;
