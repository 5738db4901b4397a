//! Twin of `shaders/combine/`.

/// Weighted combine: `y[t] = sum_j weights[t, j] * x[places[t, j]]` over assignments whose place is a row of `x`; `n`
/// columns.
pub fn combine(
    x: &[f32],
    places: &[u32],
    weights: Option<&[f32]>,
    y: &mut [f32],
    [assignments, n]: [usize; 2],
    add: bool,
) {
    for (token, y) in y.chunks_mut(n).enumerate() {
        for (column, y) in y.iter_mut().enumerate() {
            let mut sum = if add { *y } else { 0.0 };
            for assignment in token * assignments..(token + 1) * assignments {
                let Some(&here) = x.get(places[assignment] as usize * n + column) else { continue };
                sum = weights.map_or(1.0, |weights| weights[assignment]).mul_add(here, sum);
            }
            *y = sum;
        }
    }
}
