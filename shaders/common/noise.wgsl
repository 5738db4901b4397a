// The noise of Shazeer's gate: a normal draw by element and step, and its spread as the gate learns it.
import package::common::normal::normal;
import package::common::random::threefry;
import package::common::step::now;

fn draw(key: vec2<u32>, element: u32) -> f32 {
    return normal(threefry(key, vec2<u32>(element, now.index)).x);
}

const LEAST = 0.01;

// softplus(x) + LEAST, without an exponential that overflows.
fn spread(x: f32) -> f32 {
    return max(x, 0.0) + log(1.0 + exp(max(-abs(x), -87.0))) + LEAST;
}
