// Dropout without a stored mask: whether an element is kept is a function of the layer's key, the step and the
// element's index. The backward pass regenerates the mask of the forward pass.
import package::common::random::{threefry, unit};
import package::common::step::now;

// Dropout factor of an element: 0 if dropped, else 1 / (1 - rate).
fn kept(key: vec2<u32>, rate: f32, element: u32) -> f32 {
    let draw = unit(threefry(key, vec2<u32>(element, now.index)).x);
    return select(1.0 / (1.0 - rate), 0.0, draw < rate);
}
