//! The example of embedding is right.

#[path = "../examples/embed.rs"]
#[expect(dead_code, reason = "its main is the example's")]
mod embed;

#[test]
fn a_foreign_device_gets_the_references_numbers() {
    embed::run().unwrap();
}
