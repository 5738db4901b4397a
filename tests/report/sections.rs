//! Sections of the page: patterns over time, dead lines, steps, confusion, validation.

use fretwork::report::run as report;
use fretwork::train::{
    Confusion, EpochRecord, Evaluation, LayerRecord, LogRecord, RunFolder, StartRecord, StepsRecord,
};

use super::{epoch, folder, folder_of, layer, page, set};

/// A pattern that changes back is drawn again, with the epochs in which it stayed.
#[test]
fn a_pattern_is_drawn_for_as_long_as_it_stays() {
    let start = StartRecord { step: 0, layers: vec![layer("layers.0", [4, 4], &[1])] };
    let mut lines = vec![LogRecord::Start(start)];
    lines.extend(
        [1, 1, 5, 5, 1]
            .iter()
            .enumerate()
            .map(|(index, &place)| epoch(index as u64, 0.5, vec![layer("layers.0", [4, 4], &[place])])),
    );
    let page = page(&folder(&lines));
    for caption in ["<b>start to epoch 2</b>", "<b>epoch 3 to 4</b>", "<b>epoch 5</b>"] {
        assert!(page.contains(caption), "{caption}");
    }
    assert_eq!(page.matches("<figure>").count(), 3);
}

#[test]
fn dead_rows_and_columns_are_told_and_drawn() {
    // Of 4 x 3 blocks: rows 0 and 2 have blocks, one of them inactive, and so do columns 1 and 2.
    let resting = Some(set(&[7], 12));
    let layer = LayerRecord { resting, ..layer("layers.0", [4, 3], &[1, 7, 2]) };
    let page = page(&folder(&[epoch(0, 0.5, vec![layer])]));
    assert!(page.contains("3 of 4 rows of blocks (75.0\u{a0}% of the outputs"), "{page}");
    assert!(page.contains("1 of 3 columns of blocks (33.3\u{a0}% of the inputs"));
    let dead = page.split("<path class=\"dead\" d=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(dead, "M0 1h3v1h-3zM0 2h3v1h-3zM0 3h3v1h-3zM0 0h1v4h-1z");
    let full = page_of_full_layer();
    assert!(!full.contains("class=\"dead\"") && !full.contains("Without an active block"));
}

fn page_of_full_layer() -> String {
    page(&folder(&[epoch(0, 0.5, vec![layer("layers.0", [1, 2], &[0, 1])])]))
}

/// Reports of steps, of which those of a step that is done again replace the earlier ones.
#[test]
fn steps_are_drawn() {
    let steps = |epoch, steps: &[u64], loss: f32| {
        LogRecord::Steps(StepsRecord {
            epoch,
            steps: steps.to_vec(),
            loss: vec![Some(loss); steps.len()],
            learning_rate: vec![Some(0.004); steps.len()],
            step_ms: vec![None; steps.len()],
        })
    };
    let lines =
        [steps(0, &[10, 20], 2.5), epoch(0, 0.5, vec![]), steps(1, &[30], 7.0), steps(1, &[30, 40], 1.25)];
    let page = page(&folder(&lines));
    assert!(page.contains("Training loss over steps: Training loss from 2.500 to 1.250"), "{page}");
    assert!(page.contains("Training loss, step 40: 1.250") && !page.contains("7.000"));
    assert!(page.contains("Learning rate, step 10: 0.004000"));
    assert!(page.contains("Time per step without a number"));
    assert!(page.contains("<tr><th scope=\"row\">20</th><td>2.500</td><td>0.004000</td><td>NaN</td></tr>"));

    let mut text = serde_json::to_string(&steps(0, &[1, 2], 1.0)).unwrap();
    text = text.replace("\"steps\":[1,2]", "\"steps\":[1]");
    let folder = folder_of(&format!("{text}\n{text}\n"));
    let error = report::render(&RunFolder::inspect(folder.path()).unwrap()).unwrap_err().to_string();
    assert!(error.contains("line 1: has 1 steps, but 2 losses"), "{error}");
}

#[test]
fn confusion_of_classes_is_a_table() {
    let LogRecord::Epoch(record) = epoch(2, 0.5, vec![]) else { unreachable!() };
    let confusion = |names: &[&str], counts: &[&[u64]]| {
        let names = names.iter().map(|&name| name.to_owned()).collect();
        let counts = counts.iter().map(|row| row.to_vec()).collect();
        let confusion = Some(Box::new(Confusion { names, counts }));
        page(&folder(&[LogRecord::Epoch(EpochRecord { confusion, ..record.clone() })]))
    };
    let drawn = confusion(&["<cat>", "dog"], &[&[8, 2], &[0, 1200]]);
    assert!(drawn.contains("test rows after epoch 3"));
    assert!(drawn.contains(
        "<th scope=\"row\">&lt;cat&gt;</th><td class=\"hit strong\" style=\"--shade:80%\">8</td><td class=\"miss strong\" \
         style=\"--shade:100%\">2</td><td>80.0\u{a0}%</td>"
    ));
    assert!(drawn.contains("<td class=\"miss\" style=\"--shade:0%\"></td>") && drawn.contains(">1,200</td>"));
    // A class that is not tested on has no share, and whatever stands in a log makes a page.
    assert!(confusion(&["0", "1"], &[&[0, 0], &[1, 1]]).contains("<td>–</td>"));
    confusion(&[], &[&[1], &[], &[u64::MAX, u64::MAX, 3, 4]]);
    confusion(&["a"], &[]);
    assert!(!page(&folder(&[epoch(0, 0.5, vec![])])).contains("<h2>Confusion"));
}

/// With validation the epoch of the tiles is the one that validation chooses, and there are two columns and two curves more.
#[test]
fn validation_chooses_the_epoch() {
    let lines: Vec<_> = [(0.5, 0.9), (0.25, 0.7), (0.25, 0.8)]
        .into_iter()
        .enumerate()
        .map(|(index, (loss, test))| {
            let LogRecord::Epoch(record) = epoch(index as u64, test, vec![]) else { unreachable!() };
            let validation = Some(Evaluation { loss, accuracy: 0.6, ..Evaluation::NONE });
            LogRecord::Epoch(EpochRecord { validation, ..record })
        })
        .collect();
    let drawn = page(&folder(&lines));
    assert!(
        drawn.contains("<dt>Smallest validation loss</dt><dd><b>0.2500</b> <span>epoch 2</span>"),
        "{drawn}"
    );
    assert!(
        drawn.contains("<dt>Test accuracy</dt><dd><b>0.7000</b> <span>epoch 2, chosen by validation</span>")
    );
    assert!(!drawn.contains("Best test accuracy"));
    assert!(
        drawn.contains("valid., epoch 3: 0.2500")
            && drawn.contains("<th scope=\"col\">validation accuracy</th>")
    );
    assert!(!page(&folder(&[epoch(0, 0.5, vec![])])).contains("valid"));
}
