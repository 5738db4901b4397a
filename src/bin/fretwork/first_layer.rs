//! The default of `--keep-dense`: a narrow first layer is dense.

use fretwork::train::StartFrom;

use crate::options::{Model, Train};

/// Columns of blocks of the inputs from which on the first layer is block-sparse by default. A row of a narrower grid would keep one
/// block or two, so that a unit would read a few features alone, and the layer has few parameters to save.
const FEWEST_COLUMNS: usize = 10;

/// First layer of a perceptron.
const FIRST: &str = "layers.0";

/// Layers of a new run that stay dense: those given, or the first one of a perceptron of this many inputs, where they have fewer than
/// [`FEWEST_COLUMNS`] columns of blocks. The second is a notice of the latter.
///
/// A single hidden layer stays sparse, since the network would have no sparse layer otherwise, and so does a first layer whose pattern a
/// file gives.
pub(crate) fn keep_dense(options: &Train, inputs: usize, files: &StartFrom) -> (Vec<String>, Option<String>) {
    if let Some(given) = &options.start.keep_dense {
        return (given.0.clone(), None);
    }
    let network = &options.network;
    let single = network.hidden.as_ref().is_some_and(|hidden| hidden.len() < 2);
    // A block of 0 is refused with the settings.
    let columns = inputs.div_ceil(network.block.max(1));
    let has_pattern = [&files.pattern, &files.weights]
        .into_iter()
        .flatten()
        .any(|file| file.has_pattern(&format!("{FIRST}.weight")));
    let sparse = network.dense || options.model() != Model::Mlp || single || has_pattern;
    if sparse || columns >= FEWEST_COLUMNS {
        return (Vec::new(), None);
    }
    let notice = format!(
        "the first layer, {FIRST}, is dense: the inputs have {columns} column{} of blocks, fewer than {FEWEST_COLUMNS}; \
         --keep-dense none makes it block-sparse",
        if columns == 1 { "" } else { "s" }
    );
    (vec![FIRST.to_owned()], Some(notice))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::options::{Command, Options};

    /// Layers that a run on so many inputs keeps dense, and whether a notice says so.
    fn kept(line: &str, inputs: usize) -> (String, bool) {
        let words = ["fretwork", "train"].into_iter().chain(line.split_whitespace());
        let Command::Train(train) = Options::parse_from(words).command else { panic!("not train") };
        let (layers, notice) = keep_dense(&train, inputs, &StartFrom::default());
        (layers.join(","), notice.is_some())
    }

    #[test]
    fn a_first_layer_of_fewer_than_ten_columns_of_blocks_is_dense() {
        let dense = ("layers.0".to_owned(), true);
        let sparse = (String::new(), false);
        for (line, inputs, wanted) in [
            ("", 64, &dense),
            ("", 144, &dense),
            ("", 145, &sparse),
            ("", 784, &sparse),
            ("--block 8", 64, &dense),
            ("--block 8", 73, &sparse),
            ("--block 64", 576, &dense),
            ("--block 64", 784, &sparse),
            ("--hidden 64,64,64", 4, &dense),
            // A network of one hidden layer keeps its sparse layer.
            ("--hidden 64", 4, &sparse),
            ("--dense", 4, &sparse),
            ("--model lm --data text:a", 64, &sparse),
            ("--keep-dense none", 4, &sparse),
            ("--keep-dense layers.1", 4, &("layers.1".to_owned(), false)),
        ] {
            assert_eq!(&kept(line, inputs), wanted, "{line} with {inputs} inputs");
        }
    }
}
